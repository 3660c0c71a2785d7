package web

import (
	"fmt"
	"time"
)

// What Change.Kind may be.
const (
	AddUser     = "add-user"     // User, Password, Storage
	RemoveUser  = "remove-user"  // User
	SetPassword = "set-password" // User, Password
	SetQuota    = "set-quota"    // User, Storage
	AddFolder   = "add-folder"   // User, Folder
)

// Change is a change that can be proposed. It is values alone: what the description
// becomes of it, root's process decides.
type Change struct {
	Kind     string `json:"kind"`
	User     string `json:"user"`
	Password string `json:"password,omitempty"`
	Storage  string `json:"storage,omitempty"` // such as 5GB; "": as the host says
	Folder   string `json:"folder,omitempty"`
}

// String says what it does, without the password.
func (c Change) String() string {
	switch c.Kind {
	case AddUser:
		return "Add the user " + c.User
	case RemoveUser:
		return "Remove the user " + c.User
	case SetPassword:
		return "Give " + c.User + " another password"
	case SetQuota:
		if c.Storage == "" {
			return "Give " + c.User + " the quota of the host"
		}
		return fmt.Sprintf("Give %s a quota of %s", c.User, c.Storage)
	case AddFolder:
		return fmt.Sprintf("Add the folder %s of %s", c.Folder, c.User)
	}
	return c.Kind
}

// Proposal is a change with its plan, as it waits for an admin's code.
type Proposal struct {
	ID      string    `json:"id"`
	By      string    `json:"by"`
	At      time.Time `json:"at"`
	Title   string    `json:"title"`
	Diff    string    `json:"diff"`      // of the description, hashes masked
	Text    string    `json:"plan_text"` // the plan, as "mailstead plan" prints it
	Changes int       `json:"changes"`
}

// Outcome is what came of a proposal that was applied.
type Outcome struct {
	Title string `json:"title"`
	Text  string `json:"text"` // as "mailstead apply" prints it
	Fault string `json:"fault,omitempty"`
	Done  bool   `json:"done"`
	Kept  bool   `json:"kept,omitempty"` // not done, but something of it is on the host
}

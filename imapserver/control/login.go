package control

// LoginQuestion is a login that is to be explained and not made.
type LoginQuestion struct {
	Listener string `json:"listener,omitempty"`
	Address  string `json:"address,omitempty"` // that it comes from; "": nobody's in particular
	// Password has the backends asked as a login would. Without one they are asked as
	// far as they know users without. It is kept nowhere.
	Password string `json:"password,omitempty"`
}

// What has come of a step on the way of a login.
const (
	StepOK     = "ok"     // the way goes on
	StepPassed = "passed" // whoever was asked does not know the user: the next is asked
	StepEnds   = "ends"   // the way ends here
	StepUntold = "untold" // it could not be said, or only by a password
)

// LoginStep is one step on the way of a login.
type LoginStep struct {
	Step string `json:"step"`         // "name", "limits", "users", "pam", "app password", "directory"
	Of   string `json:"of,omitempty"` // name of the directory
	Came string `json:"came"`         // one of the words above
	Seen string `json:"seen"`
	Down bool   `json:"down,omitempty"` // whoever was asked could not answer
}

// LoginExplained is the way of a login from a name to a user.
type LoginExplained struct {
	Steps      []LoginStep `json:"steps"`
	User       *LoginUser  `json:"user,omitempty"`       // nil: nobody, as far as is known
	Mechanisms []string    `json:"mechanisms,omitempty"` // that the listener has beside passwords
}

// LoginUser is whose mail it is.
type LoginUser struct {
	Name      string `json:"name"`
	UID       int    `json:"uid"`
	GID       int    `json:"gid"`
	Home      string `json:"home"`
	Maildir   string `json:"maildir"`
	Directory string `json:"directory,omitempty"` // that knows them; "": the description
	Elsewhere string `json:"elsewhere,omitempty"` // IMAP URL of the server that has the mail
	Session   bool   `json:"session"`             // there may be a session without a login before
}

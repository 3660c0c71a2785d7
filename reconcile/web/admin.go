package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"mailstead/imapserver/control"
)

// What AdminRequest.Do may be. Login begins with the password and a code, or with a
// certificate; the others have the token that it gave.
const (
	AdminLogin      = "login"
	AdminStatus     = "status"
	AdminSessions   = "sessions"    // of the user Find, if one is named
	AdminEndSession = "end-session" // Session
	AdminUsers      = "users"       // with Find in their name
	AdminUsage      = "usage"       // of the user Find
	AdminDrift      = "drift"
	AdminHistory    = "history"
	AdminHosts      = "hosts"
	AdminPropose    = "propose" // Change
	AdminApply      = "apply"   // Proposal, and a Code that was not used before
)

// MaxAdminRequest bounds a request, in octets.
const MaxAdminRequest = 64 << 10

// maxAdminAnswer bounds an answer: the users of a large host.
const maxAdminAnswer = 32 << 20

// adminTimeout bounds a question: an apply that has to return waits for its probes.
const adminTimeout = 8 * time.Minute

// AdminRequest is a question of the page to what needs root.
type AdminRequest struct {
	Do          string     `json:"do"`
	Token       string     `json:"token,omitempty"`
	Remote      netip.Addr `json:"remote,omitzero"` // of the browser, for the log
	Name        string     `json:"name,omitempty"`
	Password    string     `json:"password,omitempty"`
	Code        string     `json:"code,omitempty"`        // TOTP
	Certificate []byte     `json:"certificate,omitempty"` // DER of the one that the client has shown
	Find        string     `json:"find,omitempty"`
	Session     string     `json:"session,omitempty"`
	Change      *Change    `json:"change,omitempty"`
	Proposal    string     `json:"proposal,omitempty"`
}

// AdminAnswer is the answer to an AdminRequest, or what is told ahead of it.
type AdminAnswer struct {
	Said     string         `json:"said,omitempty"` // what is being done; the answer is still to come
	Token    string         `json:"token,omitempty"`
	Name     string         `json:"name,omitempty"`
	Error    string         `json:"error,omitempty"` // for people; the request was refused
	Wrong    bool           `json:"wrong,omitempty"` // what was given to log in with
	Over     bool           `json:"over,omitempty"`  // the token is not good any more
	Status   *Status        `json:"status,omitempty"`
	Sessions *Sessions      `json:"sessions,omitempty"`
	Users    *Users         `json:"users,omitempty"`
	Usage    *control.Usage `json:"usage,omitempty"`
	Drift    *Drift         `json:"drift,omitempty"`
	History  []Past         `json:"history,omitempty"`
	Hosts    []Host         `json:"hosts,omitempty"`
	Proposal *Proposal      `json:"proposal,omitempty"` // also where it was not applied, and can be tried again
	Outcome  *Outcome       `json:"outcome,omitempty"`
}

// Status is a host as it is wanted, applied, on disk and served.
type Status struct {
	Host         string        `json:"host"`
	Version      string        `json:"version"`
	Problem      string        `json:"problem,omitempty"` // why the daemon could not be asked
	Sessions     int           `json:"sessions"`
	Listeners    []Listener    `json:"listeners"`
	Certificates []Certificate `json:"certificates"`
	Notes        []string      `json:"notes,omitempty"`
}

// Listener is one address being served.
type Listener struct {
	Name     string `json:"name"`
	Address  string `json:"address"`
	TLS      string `json:"tls"`
	Sessions int    `json:"sessions"`
}

// Certificate is one as it is served.
type Certificate struct {
	Name        string    `json:"name"`
	Names       []string  `json:"names"`
	Fingerprint string    `json:"fingerprint"`
	NotAfter    time.Time `json:"not_after"`
	Days        int       `json:"days"` // left
}

// Sessions is some of the connections that are logged in.
type Sessions struct {
	All  int       `json:"all"`  // how many there are, of all users or of the one who is asked for
	List []Session `json:"list"` // the first of them
}

// Session is a connection that is logged in at the mail server.
type Session struct {
	ID       string    `json:"id"`
	User     string    `json:"user"`
	Listener string    `json:"listener,omitempty"`
	Address  string    `json:"address,omitempty"`
	Client   string    `json:"client,omitempty"` // as it has said itself
	Began    time.Time `json:"began"`
}

// Drift is what differs between the description and the host.
type Drift struct {
	Plan    string `json:"plan"` // as "mailstead plan" prints it
	Changes int    `json:"changes"`
	Waiting int    `json:"waiting"`
}

// Past is a generation.
type Past struct {
	Number  int       `json:"number"`
	At      time.Time `json:"at"`
	By      string    `json:"by"`
	Fate    string    `json:"fate"`
	Changes string    `json:"changes"`
	Current bool      `json:"current"`
}

// Host is one of the description, as that has it: it may be another machine.
type Host struct {
	Name      string     `json:"name"`
	Here      bool       `json:"here,omitempty"`
	Listeners []Listener `json:"listeners"`
	All       int        `json:"all"`   // how many users there are
	Users     []string   `json:"users"` // the first of them
}

// Users is some of the users of a host.
type Users struct {
	Find  string `json:"find,omitempty"`
	All   int    `json:"all"`             // how many there are
	Found int    `json:"found"`           // how many of them have Find in their name
	List  []User `json:"list"`            // the first of those
	Apart bool   `json:"apart,omitempty"` // they are described on another machine, and none can be proposed
}

// User is a user as the description has them.
type User struct {
	Name     string   `json:"name"`
	Sort     string   `json:"sort"` // virtual, system or Elsewhere
	Storage  int64    `json:"storage"`
	Messages int64    `json:"messages"`
	Folders  []string `json:"folders"`
	Ours     bool     `json:"ours,omitempty"` // made at the page
}

// Elsewhere is the sort of a user whose mail is on another server.
const Elsewhere = "elsewhere"

// AskAdmin asks what is behind the socket at path. What was refused is in the answer.
// What is said ahead of it goes to say, unless that is nil.
func AskAdmin(ctx context.Context, path string, r AdminRequest, say func(string)) (AdminAnswer, error) {
	var a AdminAnswer
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return a, fmt.Errorf("ask for what needs root: %w", err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	if err := json.NewEncoder(c).Encode(r); err != nil {
		return a, fmt.Errorf("ask for what needs root: %w", err)
	}
	for d := json.NewDecoder(io.LimitReader(c, maxAdminAnswer)); ; {
		a = AdminAnswer{}
		if err := d.Decode(&a); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("there was no answer")
			}
			return a, fmt.Errorf("ask for what needs root: %w", err)
		}
		if a.Said == "" {
			return a, nil
		}
		if say != nil {
			say(a.Said)
		}
	}
}

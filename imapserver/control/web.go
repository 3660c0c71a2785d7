package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// What WebRequest.Do may be. Login begins with a password; the others have the token
// that it gave, so that who has taken over the page is nobody but those who log in at it.
const (
	WebLogin       = "login"
	WebLogout      = "logout"
	WebUser        = "user"        // answers with Apps and Logins
	WebUsage       = "usage"       // answers with Usage, where there is a quota
	WebPassword    = "password"    // makes New the password; Password is the old one
	WebAddApp      = "add-app"     // Name; Password again
	WebRevokeApp   = "revoke-app"  // Name
	WebCertificate = "certificate" // no token: the page is given the key that it serves by
)

// WebRequest is a question of the web page to auth.
type WebRequest struct {
	Do       string     `json:"do"`
	Token    string     `json:"token,omitempty"`
	Remote   netip.Addr `json:"remote,omitzero"` // of the browser
	TLS      bool       `json:"tls,omitempty"`
	User     string     `json:"user,omitempty"`
	Password string     `json:"password,omitempty"`
	New      string     `json:"new,omitempty"`
	Name     string     `json:"name,omitempty"`
}

// WebAnswer is the answer to a WebRequest.
type WebAnswer struct {
	Token  string        `json:"token,omitempty"`
	User   string        `json:"user,omitempty"`
	App    string        `json:"app,omitempty"` // the app password that was made, this once
	Apps   []AppPassword `json:"apps,omitempty"`
	Logins []Login       `json:"logins,omitempty"`
	Usage  *Usage        `json:"usage,omitempty"`
	Own    bool          `json:"own,omitempty"` // the password is one that can be changed here
	PEM    []byte        `json:"pem,omitempty"`
	Error  string        `json:"error,omitempty"` // for people; the request was refused
	Over   bool          `json:"over,omitempty"`  // the token is not good any more
}

// Usage is how much mail a user has and may have. A limit of 0 is none.
type Usage struct {
	Storage, StorageLimit   int64 // octets
	Messages, MessagesLimit int64
}

// Login is a user's login, or several alike.
type Login struct {
	Listener  string     `json:"listener"`
	Remote    netip.Addr `json:"remote"`
	Mechanism string     `json:"mechanism,omitempty"` // "": LOGIN
	By        string     `json:"by,omitempty"`        // what it was by, where not by the user's own password
	Last      time.Time  `json:"last"`
	Count     int        `json:"count"`
}

// AskWeb asks auth behind the socket at path, as the page does. The errors are those
// of Ask; what auth refused is in the answer.
func AskWeb(ctx context.Context, path string, r WebRequest) (WebAnswer, error) {
	return exchange[WebAnswer](ctx, path, r)
}

// exchange asks one question at a socket, and takes the answer.
func exchange[A any](ctx context.Context, path string, question any) (a A, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c, err := dial(ctx, path, question)
	if err != nil {
		return a, fmt.Errorf("ask %s: %w", path, err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	if err := json.NewDecoder(io.LimitReader(c, maxAnswer)).Decode(&a); err != nil {
		return a, fmt.Errorf("ask %s: %w", path, cause(ctx, err))
	}
	return a, nil
}

// WebServer answers requests of the page. Its functions are called from many goroutines.
type WebServer struct {
	Allow  func(uid int) bool // who may ask
	Answer func(context.Context, WebRequest) WebAnswer
}

// The bounds of the page's requests: a login waits for its hash, and in JSON a character
// of a password may take six octets.
const (
	maxWebAsking  = 256
	maxWebRequest = 32 << 10
)

// Serve answers requests until ctx ends or l fails, and has closed l when it returns.
func (s WebServer) Serve(ctx context.Context, l net.Listener) error {
	return each(ctx, l, maxWebAsking, func(c net.Conn) {
		if who, err := peer(c); err != nil || !s.Allow(int(who.Uid)) {
			return
		}
		c.SetDeadline(time.Now().Add(requestTimeout))
		var r WebRequest
		if err := json.NewDecoder(io.LimitReader(c, maxWebRequest)).Decode(&r); err != nil {
			return
		}
		a := s.Answer(ctx, r)
		c.SetDeadline(time.Now().Add(requestTimeout))
		json.NewEncoder(c).Encode(a) // the asker may be gone
	})
}

// peer gives who is at the other end.
func peer(c net.Conn) (*unix.Ucred, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.New("no connection of a unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var fault error
	if err := raw.Control(func(fd uintptr) { cred, fault = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || fault != nil {
		return nil, errors.Join(err, fault)
	}
	return cred, nil
}

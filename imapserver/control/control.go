// Package control is what is said over the daemon's control socket: one JSON
// request a connection, one JSON answer, and after VerbSession IMAP. The daemon
// serves it (Serve);
// `mailstead-imapd ctl`, the reconciler and `mailstead status` ask (Ask). It
// imports nothing of the project.
package control

import (
	"encoding/json"
	"time"
)

// The verbs of a Request.
const (
	VerbStatus = "status" // answered at once
	VerbReload = "reload" // answered once the new configuration is in force, or has been refused
	// VerbSession makes the connection an IMAP session of Request.User, as if that
	// user had logged in: behind the answer comes the greeting.
	VerbSession = "session"
	// VerbVisit makes the connection one of a client of the listener Request.Listener, who
	// has come from this host: behind the answer comes what that listener says first.
	VerbVisit = "visit"
	// VerbAppPassword does Request.AppPassword for Request.User.
	VerbAppPassword = "app-password"
	// VerbSessions asks which connections are logged in: Status.Connected, of all, or
	// of Request.User, or the one that Request.ID names. For a user or one connection,
	// Request.Explain has each say what it does.
	VerbSessions = "sessions"
	// VerbTrace sends, behind the answer, TraceLines of what the connections of
	// Request.User say, one JSON value a line, until the asker closes the connection.
	VerbTrace = "trace"
	// VerbEndSession ends the connection that Request.ID names.
	VerbEndSession = "end-session"
	// VerbMetrics asks for Status.Metrics.
	VerbMetrics = "metrics"
	// VerbExplainLogin says in Status.Login how a login of Request.User goes, by
	// Request.Login.
	VerbExplainLogin = "explain-login"
)

// What AppPasswordRequest.Do may be.
const (
	AddAppPassword    = "add"
	ListAppPasswords  = "list" // of Request.User, or of all with ""
	RevokeAppPassword = "revoke"
)

// AppPasswordRequest is what is to be done about app passwords.
type AppPasswordRequest struct {
	Do        string   `json:"do"`
	Name      string   `json:"name,omitempty"`
	Listeners []string `json:"listeners,omitempty"` // on which it is good; none: on all
}

// AppPassword is what may be told of an app password.
type AppPassword struct {
	User      string    `json:"user"`
	Name      string    `json:"name"`
	Listeners []string  `json:"listeners,omitempty"`
	Made      time.Time `json:"made"`
	Used      time.Time `json:"used,omitzero"` // to the minute; zero: never
}

// Request is one question to the daemon.
type Request struct {
	Verb string `json:"verb"`           // one of the verbs
	User string `json:"user,omitempty"` // for VerbSession, VerbAppPassword and VerbSessions
	ID   string `json:"id,omitempty"`   // of a connection, for VerbSessions and VerbEndSession

	Listener string `json:"listener,omitempty"` // for VerbVisit

	Explain bool `json:"explain,omitempty"` // for VerbSessions
	Bodies  bool `json:"bodies,omitempty"`  // for VerbTrace: with messages

	AppPassword *AppPasswordRequest `json:"app_password,omitempty"`
	Login       *LoginQuestion      `json:"login,omitempty"` // for VerbExplainLogin
}

// Status is what the daemon serves at this moment, not what is on disk.
type Status struct {
	Version    string     `json:"version"`
	PID        int        `json:"pid"`
	Generation string     `json:"generation"` // of the configuration in force, as it says itself
	Config     string     `json:"config"`     // SHA-256 of the configuration that was read, lower-case hex
	Users      Users      `json:"users"`
	Listeners  []Listener `json:"listeners"`
	Bundles    []Bundle   `json:"bundles"`
	Sessions   int        `json:"sessions"` // authenticated connections
	// On is how many of the sessions there are on each listener that has any, by name;
	// a listener that is no longer bound may still have some.
	On map[string]int `json:"sessions_on,omitempty"`
	// Password is the app password that was added, this once; AppPasswords is those that there are.
	Password     string          `json:"password,omitempty"`
	AppPasswords []AppPassword   `json:"app_passwords,omitempty"`
	Proxies      []Proxy         `json:"proxies,omitempty"`
	Connected    []Connection    `json:"connected,omitempty"` // for VerbSessions, by the time at which they began
	Login        *LoginExplained `json:"login,omitempty"`     // for VerbExplainLogin
	Metrics      json.RawMessage `json:"metrics,omitempty"`   // for VerbMetrics: series, as package metrics has them
	Error        string          `json:"error,omitempty"`     // why the request failed; the rest is still true
}

// Proxy is how a listener does that stands in front of other servers. The
// others than Known and Idle count since its process has begun.
type Proxy struct {
	Listener string `json:"listener"`
	Known    bool   `json:"known"`   // every server has said what it offers, once
	Idle     int    `json:"idle"`    // connections to servers that are kept for the next login, now
	Logins   uint64 `json:"logins"`  // tried by clients
	Reused   uint64 `json:"reused"`  // of them: got a connection that was kept
	Refused  uint64 `json:"refused"` // of them: by the server
	Failed   uint64 `json:"failed"`  // of them: the server could not be asked
	Stale    uint64 `json:"stale"`   // connections that were kept and found dead at a login, which then got another one
	Kept     uint64 `json:"kept"`    // connections that a session has left behind as it found them
}

// Users says who may log in.
type Users struct {
	Count  int    `json:"count"`
	Digest string `json:"digest"` // SHA-256 of the list that was read, lower-case hex
}

// Listener is one address being served.
type Listener struct {
	Name    string `json:"name"`
	Address string `json:"address"` // host:port as bound
	TLS     string `json:"tls"`
}

// Bundle is a certificate being served.
type Bundle struct {
	Name        string   `json:"name"`
	Names       []string `json:"names"`       // the SNI names for which it is served
	Fingerprint string   `json:"fingerprint"` // SHA-256 of the leaf's DER, lower-case hex
	NotAfter    string   `json:"not_after"`   // RFC 3339
	// Chain is the SHA-256 of the DER of all that a client is sent, lower-case hex;
	// "" from a daemon that does not tell.
	Chain string `json:"chain,omitempty"`
}

package handoff

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"time"
)

// Message is a pointer to one of the types of this file.
type Message interface {
	// files gives the message's descriptors in order.
	files() []*os.File
	// setFiles takes descriptors that were received.
	setFiles(fs []*os.File) error
	// payload is the part that may be large, or nil. An empty one is not sent.
	payload() *[]byte
}

// kind is a row of the table of messages.
type kind struct {
	name string
	make func() Message
}

// kinds is every message that travels between processes.
var kinds = []kind{
	{"hello", func() Message { return &Hello{} }},
	{"board", func() Message { return &Board{} }},
	{"boards", func() Message { return &Boards{} }},
	{"visit", func() Message { return &Visit{} }},
	{"settings", func() Message { return &Settings{} }},
	{"ready", func() Message { return &Ready{} }},
	{"commit", func() Message { return &Commit{} }},
	{"mechanisms", func() Message { return &Mechanisms{} }},
	{"ask", func() Message { return &Ask{} }},
	{"answer", func() Message { return &Answer{} }},
	{"claim", func() Message { return &Claim{} }},
	{"opened", func() Message { return &Opened{} }},
	{"connect", func() Message { return &Connect{} }},
	{"connected", func() Message { return &Connected{} }},
	{"abort", func() Message { return &Abort{} }},
	{"hangs", func() Message { return &Hangs{} }},
	{"query", func() Message { return &Query{} }},
	{"state", func() Message { return &State{} }},
	{"end", func() Message { return &End{} }},
	{"session", func() Message { return &Session{} }},
	{"look", func() Message { return &Look{} }},
	{"doing", func() Message { return &Doing{} }},
	{"scrape", func() Message { return &Scrape{} }},
	{"watch", func() Message { return &Watch{} }},
	{"traced", func() Message { return &Traced{} }},
	{"told", func() Message { return &Told{} }},
	{"retire", func() Message { return &Retire{} }},
	{"idle", func() Message { return &Idle{} }},
	{"stop", func() Message { return &Stop{} }},
	{"reach", func() Message { return &Reach{} }},
}

var byName, byType = index(kinds)

func index(kinds []kind) (byName map[string]func() Message, byType map[reflect.Type]string) {
	byName, byType = map[string]func() Message{}, map[reflect.Type]string{}
	for _, k := range kinds {
		byName[k.name], byType[reflect.TypeOf(k.make())] = k.make, k.name
	}
	return byName, byType
}

func newMessage(name string) Message {
	if make := byName[name]; make != nil {
		return make()
	}
	return nil
}

func kindOf(m Message) (string, error) {
	if name := byType[reflect.TypeOf(m)]; name != "" {
		return name, nil
	}
	return "", fmt.Errorf("send %T: not in the table of messages", m)
}

// Open asks for a session of a user who has logged in. Stream is the worker's
// end of the connection without TLS; the worker answers the login, whose tag
// is Tag, on it. Between a login and auth it travels as a Claim.
type Open struct {
	ID       string     `json:"id"` // of the connection, as the log has it
	User     string     `json:"user"`
	Tag      string     `json:"tag"`
	Listener string     `json:"listener"`
	Remote   netip.Addr `json:"remote"`
	TLS      bool       `json:"tls"`
	Client   string     `json:"client,omitempty"` // name and version, as it has said
	Token    []byte     `json:"token,omitempty"`  // for GiveBack
	Brief    bool       `json:"brief,omitempty"`  // nobody will come back soon: the account need not stay open
	Ticket   string     `json:"-"`                // of the Verdict
	Stream   *os.File   `json:"-"`
}

// Session is what spawn, and then a worker, is told of a session: what a login
// has claimed and what auth knows of the user. Spawn looks at no more than the
// uid, the gid and the serial number.
type Session struct {
	Open
	Serial    uint64   `json:"serial"`
	UID       int      `json:"uid"`
	GID       int      `json:"gid"`
	Roots     []string `json:"roots,omitempty"` // directories below which the mail of that uid is; of many, Beside has them
	Maildir   string   `json:"maildir"`
	Quota     *Quota   `json:"quota,omitempty"`
	Discard   bool     `json:"discard,omitempty"` // what is expunged goes into the trash
	First     *First   `json:"first,omitempty"`   // what is made where there is no Maildir; nil: nothing
	Keep      int64    `json:"keep,omitempty"`    // seconds for which what is expunged is kept aside
	Relaxed   bool     `json:"relaxed,omitempty"` // flags and removals need not be on disk when they are acknowledged
	Namespace string   `json:"namespace,omitempty"`
	Admin     string   `json:"admin,omitempty"`   // of the server, as are
	Comment   string   `json:"comment,omitempty"` // its annotations
	Without   []string `json:"without,omitempty"` // capabilities that are switched off
	Outbox    *Outbox  `json:"outbox,omitempty"`
	// PerUser is how many sessions the user may have, and PerUserSource how many from
	// one source; both 0 for one that does not count.
	PerUser       int      `json:"per_user,omitempty"`
	PerUserSource int      `json:"per_user_source,omitempty"`
	Mailbox       string   `json:"mailbox,omitempty"` // of a delivery: where it goes; "": INBOX
	Bodies        bool     `json:"bodies,omitempty"`
	Traces        []uint64 `json:"traces,omitempty"` // which traces that is for, as Look.Tracing
	Trace         *os.File `json:"-"`                // over which the session sends what it says, as after Look.Trace; nil: nobody listens
	// Beside has what is the same for all sessions of a uid, and may be much: the JSON of
	// Beside, by Seal. The same file comes with each of them, to be read once. May be nil.
	Beside *os.File `json:"-"`
}

// Beside is what a worker is told beside a session.
type Beside struct {
	Neighbours map[string]string `json:"neighbours,omitempty"` // the Maildirs, by user, of all who may share mail with the user
	Roots      []string          `json:"roots,omitempty"`      // as Session has them
}

// Told reads what is told beside a session, with the roots wherever they are.
func (s *Session) Told() (Beside, error) {
	b := Beside{Roots: s.Roots}
	if s.Beside == nil {
		return b, nil
	}
	data, err := unseal(s.Beside, MaxPayload)
	if err == nil {
		err = json.Unmarshal(data, &b)
	}
	if err != nil {
		return Beside{}, fmt.Errorf("what is told beside a session: %w", err)
	}
	return b, nil
}

// AllRoots gives the roots of Told; no file is below those of what cannot be read.
func (s *Session) AllRoots() []string {
	b, _ := s.Told()
	return b.Roots
}

// Opened is the answer to a session: a worker of that number has it, or nobody.
func (s *Session) Opened(worker uint64, err error) *Opened {
	o := &Opened{Serial: s.Serial, Worker: worker}
	if err != nil {
		o.Error = err.Error()
	}
	return o
}

// First is what a Maildir gets that is made at the first login.
type First struct {
	Folders []Folder `json:"folders,omitempty"`
}

// Folder is config.Folder.
type Folder struct {
	Name       string `json:"name"`
	Use        string `json:"use,omitempty"`
	Subscribed bool   `json:"subscribed,omitempty"`
}

// Quota is config.Quota.
type Quota struct {
	Storage  int64 `json:"storage,omitempty"`
	Messages int64 `json:"messages,omitempty"`
	Set      bool  `json:"set,omitempty"`
}

// Outbox is config.Outbox, and whose name the user sends under.
type Outbox struct {
	Mailbox  string `json:"mailbox"`
	Socket   string `json:"socket"`
	Sender   string `json:"sender,omitempty"`
	Header   string `json:"header,omitempty"`
	Multiple bool   `json:"multiple,omitempty"`
}

// Idle says that a worker has had no session for a while, and how many it has
// been sent. If that is all, it is told to stop; a Session on its way to it
// makes the numbers differ.
type Idle struct {
	noFiles
	Sessions uint64 `json:"sessions"`
}

// Retire has the worker of a uid end its sessions and exit: the next session
// gets another one, with other roots.
type Retire struct {
	noFiles
	UID int `json:"uid"`
	GID int `json:"gid"`
}

// Look has the worker of a uid, if there is one, say what its sessions do. It
// answers with Doing over Answer, one end of a channel of which auth has the other:
// spawn passes that on, and what a worker says does not come past it.
type Look struct {
	UID     int      `json:"uid"`
	GID     int      `json:"gid"`
	User    string   `json:"user,omitempty"`    // whose sessions; "": everybody's
	ID      string   `json:"session,omitempty"` // which one; "": all
	Trace   bool     `json:"trace,omitempty"`   // from now on it sends over the channel what these sessions say, by Traced
	Tracing uint64   `json:"tracing,omitempty"` // which trace: sessions that began with it need not hear of it again
	Bodies  bool     `json:"bodies,omitempty"`  // with messages
	Follow  bool     `json:"follow,omitempty"`  // from now on it tells by Told, over the same channel, what it counts
	Answer  *os.File `json:"-"`
}

// Doing is the answer to Look, one for each session; the end of the channel follows
// the last. Like Told it is a packet and nothing besides: a worker may make no file
// to put more into.
type Doing struct {
	noFiles
	Session json.RawMessage `json:"doing"` // as control has it
}

// Watch has a login send over Sink what those say, before they are logged in, who log in
// or try to as User.
type Watch struct {
	User string   `json:"user"`
	Sink *os.File `json:"-"`
}

// Traced is a line of what a connection says.
type Traced struct {
	noFiles
	Session string    `json:"session"`
	At      time.Time `json:"at"`
	Server  bool      `json:"server,omitempty"` // it is what the server says
	Text    string    `json:"text"`
	Lost    int64     `json:"lost,omitempty"` // lines before it that there was no time to send
}

// Told is some of what a worker or a login has counted and removed since it said so
// last.
type Told struct {
	noFiles
	Data json.RawMessage `json:"told"` // of the root package
}

// Stop asks a worker to end its sessions with BYE and to exit.
type Stop struct{ noFiles }

// Credentials is what a client has presented: a name with a password, or one
// response of an exchange that auth takes part in.
type Credentials struct {
	ID        string     `json:"id"` // of the connection, as the log has it
	Listener  string     `json:"listener"`
	User      string     `json:"user,omitempty"`
	Password  string     `json:"password,omitempty"`
	For       string     `json:"for,omitempty"`       // whom the user acts for; "": nobody else
	Mechanism string     `json:"mechanism,omitempty"` // of AUTHENTICATE, "" by LOGIN
	Remote    netip.Addr `json:"remote"`
	TLS       bool       `json:"tls,omitempty"`
	AtOnce    bool       `json:"atOnce,omitempty"`   // a refusal need not take its time: a proxy sees to that
	Shared    bool       `json:"shared,omitempty"`   // many users come from there, as a proxy says
	Exchange  *Exchange  `json:"exchange,omitempty"` // nil for a name with a password
}

// Exchange is a client's response in a mechanism that auth drives, since it takes
// what login shall not have. The first one begins it; a Verdict that goes on names
// the exchange, and the next response has that name.
type Exchange struct {
	ID        string `json:"id,omitempty"`        // "": the first
	Response  []byte `json:"response"`            // nil: the client has sent no initial response
	Cancelled bool   `json:"cancelled,omitempty"` // the client has given up: auth forgets it
	// Of the TLS connection, in the first one: what may be bound to it, by the names
	// of RFC 5929 and RFC 9266, and for EXTERNAL the client's certificate with its chain.
	Bindings     map[string][]byte `json:"bindings,omitempty"`
	Certificates [][]byte          `json:"certificates,omitempty"`
}

// Verdict is what auth says to Credentials. Code and Text are for the client
// and tell nothing of whether the user exists, unless the password was right.
type Verdict struct {
	User string `json:"user,omitempty"` // whose mail it is; "" for a refusal, or if the exchange goes on
	By   string `json:"by,omitempty"`   // for the log: who has come in as User, or by which of their passwords
	// Tried is whom the client of an exchange wants to be who is not let in, or not yet,
	// for those who look on (Watch). It says nothing of whether there is such a user.
	Tried string `json:"tried,omitempty"`
	// Ticket is what a session is opened with where auth is another process: the
	// name alone would let a login choose.
	Ticket string `json:"ticket,omitempty"`
	// Elsewhere is the IMAP URL of the server that has the user's mail, for a refusal
	// after the right password: nobody else is told (RFC 2221 §6).
	Elsewhere string `json:"elsewhere,omitempty"`
	Code      string `json:"code,omitempty"` // of a refusal, as RFC 5530 has it
	Text      string `json:"text,omitempty"`
	// Exchange, if it is not "", goes on with the client's response to Challenge.
	Exchange  string `json:"exchange,omitempty"`
	Challenge string `json:"challenge,omitempty"`
	Syntax    bool   `json:"syntax,omitempty"` // of a refusal: the response was not in the form of the mechanism
}

// Offer is what a server behind a proxy says of itself before a login.
type Offer struct {
	Text         string   // of its greeting
	Capabilities []string // those that a client of the proxy gets to see
}

// Authenticator is auth as login sees it. Authenticate takes its time over a
// refusal; it is called from many goroutines.
type Authenticator interface {
	Authenticate(ctx context.Context, c *Credentials) Verdict
	// Mechanisms gives those that auth drives, in which all who may log in on a
	// listener can, at this moment. It waits for nobody, since every greeting asks:
	// an auth in another process sends them whenever they may have changed.
	Mechanisms(listener string) []string
}

// Opener is the way to a worker as login sees it, over a Conn to auth. On return, o.Stream
// is the Opener's, also after an error. Without one, hangs is for the caller to
// say that the worker does not answer. It is called from many goroutines.
type Opener interface {
	Open(ctx context.Context, o *Open) (hangs func(), err error)
}

// Source is what counts as one client in limits: an IPv4 address, or the /64
// that an IPv6 host has for itself.
func Source(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address at all: a connection that has none
	}
	return p
}

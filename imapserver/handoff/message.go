package handoff

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"reflect"
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
	{"settings", func() Message { return &Settings{} }},
	{"ready", func() Message { return &Ready{} }},
	{"open", func() Message { return &Open{} }},
	{"opened", func() Message { return &Opened{} }},
	{"hangs", func() Message { return &Hangs{} }},
	{"session", func() Message { return &Session{} }},
	{"idle", func() Message { return &Idle{} }},
	{"stop", func() Message { return &Stop{} }},
	{"query", func() Message { return &Query{} }},
	{"state", func() Message { return &State{} }},
	{"need-helper", func() Message { return &NeedHelper{} }},
	{"helper", func() Message { return &Helper{} }},
	{"end-helper", func() Message { return &EndHelper{} }},
}

func newMessage(name string) Message {
	for _, k := range kinds {
		if k.name == name {
			return k.make()
		}
	}
	return nil
}

func kindOf(m Message) (string, error) {
	for _, k := range kinds {
		if reflect.TypeOf(k.make()) == reflect.TypeOf(m) {
			return k.name, nil
		}
	}
	return "", fmt.Errorf("send %T: not in the table of messages", m)
}

// Settings gives the front everything that it may not read itself. It answers
// with Ready once all of it is in force, or nothing of it.
type Settings struct {
	Serial    uint64     `json:"serial"`
	Listeners []string   `json:"listeners,omitempty"` // the name of each of Sockets
	Sockets   []*os.File `json:"-"`                   // listening sockets; only in the first Settings
	Data      []byte     `json:"-"`                   // JSON of the root package's settings: configuration, users, bundles
}

// Ready is the front's answer to Settings.
type Ready struct {
	noFiles
	Serial uint64 `json:"serial"`
	Error  string `json:"error,omitempty"`
}

// Open asks for a session of a user who has logged in. Stream is the worker's
// end of the connection without TLS; the worker answers the login, whose tag
// is Tag, on it.
type Open struct {
	Serial   uint64     `json:"serial"`
	ID       string     `json:"id"` // of the connection, as the log has it
	User     string     `json:"user"`
	Tag      string     `json:"tag"`
	Listener string     `json:"listener"`
	Remote   netip.Addr `json:"remote"`
	TLS      bool       `json:"tls"`
	Token    []byte     `json:"token,omitempty"` // for GiveBack
	Brief    bool       `json:"brief,omitempty"` // nobody will come back soon: the account need not stay open
	// Row is the user as a directory knows them, in JSON as config.User; empty where
	// the table of users does. It is auth that says it, never login.
	Row    json.RawMessage `json:"row,omitempty"`
	Stream *os.File        `json:"-"`
}

// Opened is the answer to Open: a worker has the stream, or nobody has. Worker
// is that worker's number, which no other has.
type Opened struct {
	noFiles
	Serial uint64 `json:"serial"`
	Worker uint64 `json:"worker,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Hangs says that a worker has not answered a login for so long that it never
// will. It is killed, so that the next session of its uid gets another one.
type Hangs struct {
	noFiles
	Worker uint64 `json:"worker"`
}

// Session is what a worker is told of a session: what the front has asked for
// and what the supervisor's own table says of that user.
type Session struct {
	Open
	Maildir    string   `json:"maildir"`
	Quota      *Quota   `json:"quota,omitempty"`
	Discard    bool     `json:"discard,omitempty"` // what is expunged goes into the trash
	First      *First   `json:"first,omitempty"`   // what is made where there is no Maildir; nil: nothing
	Namespace  string   `json:"namespace,omitempty"`
	Admin      string   `json:"admin,omitempty"`   // of the server, as are
	Comment    string   `json:"comment,omitempty"` // its annotations
	Without    []string `json:"without,omitempty"` // capabilities that are switched off
	Outbox     *Outbox  `json:"outbox,omitempty"`
	Neighbours []byte   `json:"-"` // JSON: the Maildirs, by user, of all who may share mail with the user; may be empty
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

// Stop asks a front or a worker to end its sessions with BYE and to exit.
type Stop struct{ noFiles }

// Query asks the front how it does. SelfTest has it go through its own accept
// path, greeting and parser first.
type Query struct {
	noFiles
	Serial   uint64 `json:"serial"`
	SelfTest bool   `json:"selftest,omitempty"`
}

// State answers Query.
type State struct {
	Serial   uint64         `json:"serial"`
	Error    string         `json:"error,omitempty"` // of the self-test
	Sessions map[string]int `json:"sessions"`        // by listener
	Data     []byte         `json:"-"`               // JSON: the bundles as served, as control has them
}

// NeedHelper asks for a new mailstead-pam.
type NeedHelper struct {
	noFiles
	Serial uint64 `json:"serial"`
}

// Helper answers NeedHelper.
type Helper struct {
	Serial uint64   `json:"serial"`
	Error  string   `json:"error,omitempty"`
	ID     int      `json:"id"`
	Pipe   *os.File `json:"-"` // a stream socket to its stdin and stdout; nil after an Error
}

// EndHelper has a helper killed. Those that exit by themselves are reaped
// without it.
type EndHelper struct {
	noFiles
	ID int `json:"id"`
}

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
	// of RFC 5929 and RFC 9266, and the client's certificate with its chain.
	Bindings     map[string][]byte `json:"bindings,omitempty"`
	Certificates [][]byte          `json:"certificates,omitempty"`
}

// Verdict is what auth says to Credentials. Code and Text are for the client
// and tell nothing of whether the user exists, unless the password was right.
type Verdict struct {
	User string `json:"user,omitempty"` // whose mail it is; "" for a refusal, or if the exchange goes on
	By   string `json:"by,omitempty"`   // for the log: who has come in as User, or by which of their passwords
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

// Authenticator is auth as login sees it. Authenticate takes its time over a
// refusal; it is called from many goroutines.
type Authenticator interface {
	Authenticate(ctx context.Context, c *Credentials) Verdict
	// Mechanisms gives those that auth drives, in which all who may log in on a
	// listener can, at this moment. It waits for nobody, since every greeting asks:
	// an auth in another process sends them whenever they may have changed.
	Mechanisms(listener string) []string
}

// Opener is the way to a worker as login sees it: over a Conn to the
// supervisor, or straight to the worker in the same process. On return, o.Stream
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

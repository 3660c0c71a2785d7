package handoff

import (
	"net/netip"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// Hello is the first message of a login process to auth: which listener it
// serves, and where.
type Hello struct {
	Metrics  bool       `json:"metrics,omitempty"` // it is no login, but serves the metrics: see Scrape
	Listener string     `json:"listener"`
	Sockets  []*os.File `json:"-"` // at which it listens: see Listening
	Board    *os.File   `json:"-"` // of Share: what it counts, for the other logins; nil: they do not hear of that
}

// Listening gives where a socket listens, and closes it; ok is false for what is none, or
// not the network's. Whoever was given its sockets, and can make none, proves by them
// which listener it is.
func Listening(f *os.File) (at netip.AddrPort, ok bool) {
	defer f.Close()
	n, err := fd(f)
	if err != nil {
		return at, false
	}
	if accepts, err := unix.GetsockoptInt(n, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || accepts == 0 {
		return at, false
	}
	name, err := unix.Getsockname(n)
	if err != nil {
		return at, false
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port)), true
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(name.Addr).Unmap(), uint16(name.Port)), true
	}
	return at, false
}

// Board gives a login the board of another one, in place of what it had for that
// listener.
type Board struct {
	Listener string   `json:"listener"`
	Memory   *os.File `json:"-"`
}

// Boards has a login forget the boards of all listeners but these.
type Boards struct {
	noFiles
	Listeners []string `json:"listeners"`
}

// Visit gives a login a client of this host's, who has the other end of Stream.
type Visit struct {
	Stream *os.File `json:"-"`
}

// Settings gives a login everything that it may not read itself. It answers with
// Ready once it could go over to it, and does so at Commit.
type Settings struct {
	Serial uint64 `json:"serial"`
	Data   []byte `json:"-"` // JSON of the root package's settings of one listener
}

// Ready is the answer to Settings and to Commit.
type Ready struct {
	noFiles
	Serial uint64 `json:"serial"`
	Error  string `json:"error,omitempty"`
}

// Commit puts the last Settings in force, or has them forgotten where another
// login has refused its own: all go over or none does.
type Commit struct {
	noFiles
	Serial uint64 `json:"serial"`
	Drop   bool   `json:"drop,omitempty"`
}

// Mechanisms has a login offer others of those that auth drives than its Settings said.
type Mechanisms struct {
	noFiles
	Names []string `json:"names"`
}

// Ask has auth look at credentials.
type Ask struct {
	noFiles
	Serial      uint64      `json:"serial"`
	Credentials Credentials `json:"credentials"`
}

// Answer answers Ask. Ticket is what a good login may be turned into a session
// with, once, soon, and over the same channel: see Claim.
type Answer struct {
	noFiles
	Serial  uint64  `json:"serial"`
	Verdict Verdict `json:"verdict"`
}

// Claim turns a ticket into a session. It names no user: whose session it is
// auth knows, and a login that was taken over cannot choose. Stream is the
// worker's end of the connection without TLS; the worker answers the login,
// whose tag is Tag, on it.
type Claim struct {
	Serial uint64   `json:"serial"`
	Ticket string   `json:"ticket"`
	Tag    string   `json:"tag"`
	Client string   `json:"client,omitempty"`
	Token  []byte   `json:"token,omitempty"` // for GiveBack
	Stream *os.File `json:"-"`
}

// Opened is the answer to Claim, and to the Session that auth makes of it: a
// worker has the stream, or nobody has. Worker is that worker's number, which no
// other has.
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

// Connect has auth connect to a server that the login's listener stands in front of, by
// its address as the Settings have it: a login has no network.
type Connect struct {
	noFiles
	Serial uint64 `json:"serial"`
	Server string `json:"server"` // host:port
}

// Connected answers Connect, by the connection or by an Error.
type Connected struct {
	Serial     uint64   `json:"serial"`
	Error      string   `json:"error,omitempty"`
	Connection *os.File `json:"-"` // nil with an Error
}

// Abort says that nobody waits for the answer to a Connect any more.
type Abort struct {
	noFiles
	Serial uint64 `json:"serial"`
}

// Query asks a login how it does. SelfTest has it go through its own accept
// path, greeting and parser first.
type Query struct {
	noFiles
	Serial   uint64 `json:"serial"`
	SelfTest bool   `json:"selftest,omitempty"`
	Users    bool   `json:"users,omitempty"`    // and for the users who have sessions
	Sessions bool   `json:"sessions,omitempty"` // and for the sessions, one by one:
	User     string `json:"user,omitempty"`     // of a user, if it is not "",
	ID       string `json:"id,omitempty"`       // and the one that this names, if that is not
}

// Scrape asks auth for the metrics. The answer is State, with them in Data.
type Scrape struct {
	noFiles
	Serial uint64 `json:"serial"`
}

// State answers Query and Scrape.
type State struct {
	Serial   uint64         `json:"serial"`
	Error    string         `json:"error,omitempty"` // of the self-test
	Sessions map[string]int `json:"sessions"`        // by listener
	Data     []byte         `json:"-"`               // JSON: the bundles as served, and what else was asked for
}

// End has a login end the sessions of users who may not have any more, or one
// session.
type End struct {
	Session string `json:"session,omitempty"`
	Data    []byte `json:"-"` // JSON: the users' names
}

func (h *Hello) payload() *[]byte { return nil }

func (h *Hello) files() []*os.File {
	if h.Board == nil {
		return h.Sockets
	}
	return append(slices.Clip(h.Sockets), h.Board)
}

// setFiles knows Board, which is sealed, from a socket.
func (h *Hello) setFiles(fs []*os.File) error {
	if n := len(fs); n > 0 && sealed(fs[n-1], shared) {
		h.Board, fs = fs[n-1], fs[:n-1]
	}
	h.Sockets = fs
	return nil
}

func (b *Board) files() []*os.File { return []*os.File{b.Memory} }
func (b *Board) payload() *[]byte  { return nil }

func (b *Board) setFiles(fs []*os.File) error {
	if err := wantFiles(fs, 1); err != nil {
		return err
	}
	b.Memory = fs[0]
	return nil
}

func (v *Visit) files() []*os.File { return []*os.File{v.Stream} }
func (v *Visit) payload() *[]byte  { return nil }

func (v *Visit) setFiles(fs []*os.File) error {
	if err := wantFiles(fs, 1); err != nil {
		return err
	}
	v.Stream = fs[0]
	return nil
}

func (c *Connected) payload() *[]byte { return nil }

func (c *Connected) files() []*os.File {
	if c.Connection == nil {
		return nil
	}
	return []*os.File{c.Connection}
}

func (c *Connected) setFiles(fs []*os.File) error {
	if c.Error != "" {
		return wantFiles(fs, 0)
	}
	if err := wantFiles(fs, 1); err != nil {
		return err
	}
	c.Connection = fs[0]
	return nil
}

func (s *Settings) files() []*os.File            { return nil }
func (s *Settings) setFiles(fs []*os.File) error { return wantFiles(fs, 0) }
func (s *Settings) payload() *[]byte             { return &s.Data }

func (s *State) files() []*os.File            { return nil }
func (s *State) setFiles(fs []*os.File) error { return wantFiles(fs, 0) }
func (s *State) payload() *[]byte             { return &s.Data }

func (e *End) files() []*os.File            { return nil }
func (e *End) setFiles(fs []*os.File) error { return wantFiles(fs, 0) }
func (e *End) payload() *[]byte             { return &e.Data }

func (c *Claim) files() []*os.File { return []*os.File{c.Stream} }
func (c *Claim) payload() *[]byte  { return nil }

func (c *Claim) setFiles(fs []*os.File) error {
	if err := wantFiles(fs, 1); err != nil {
		return err
	}
	c.Stream = fs[0]
	return nil
}

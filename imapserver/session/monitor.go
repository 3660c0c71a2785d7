package session

import (
	"bytes"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Monitor is what others may see of a session while it runs. Its zero value is
// for one session, which Params names; its methods may be called from any
// goroutine.
type Monitor struct {
	mu        sync.Mutex
	now       Activity
	conn      *conn
	goroutine uint64
}

// Activity is what a session does at a moment.
type Activity struct {
	Selected string // the mailbox that is selected, without the namespace prefix; of another user with that name before it
	ReadOnly bool
	Command  string    // in progress; "": it waits for the next
	Since    time.Time // when that began
	Commands int       // so far
	Client   string    // name and version, as the client has said
	Enabled  []string  // extensions that the client has enabled
	In, Out  int64     // octets
}

// Activity gives what the session does; the zero Activity before it has begun.
func (m *Monitor) Activity() Activity {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.now
	if m.conn != nil {
		a.In, a.Out = m.conn.octets()
	}
	return a
}

// begin takes note of the session's goroutine, which calls it.
func (m *Monitor) begin(c *conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conn, m.goroutine, m.now.Since = c, goroutine(), time.Now()
}

// note takes note of what the session does from now on: command is "" where that
// is to wait for the client.
func (s *session) note(command string) {
	m := s.Monitor
	if m == nil {
		return
	}
	selected, readOnly := "", false
	if v := s.selected; v != nil {
		selected, readOnly = v.view.Name(), v.view.ReadOnly()
		if !v.own {
			selected = v.owner + ": " + selected
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Selected, m.now.ReadOnly = selected, readOnly
	m.now.Command, m.now.Since, m.now.Commands = command, time.Now(), s.commands
	if len(m.now.Enabled) != len(s.enabled) {
		m.now.Enabled = nil
		for _, c := range s.enabled {
			m.now.Enabled = append(m.now.Enabled, string(c))
		}
	}
}

// identified takes note of what the client says of itself.
func (s *session) identified(client string) {
	if m := s.Monitor; m != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.now.Client = client
	}
}

// goroutine is the number of the calling goroutine, as stack traces have it; 0 if
// they have come to look otherwise.
func goroutine() uint64 {
	var buf [64]byte
	text := string(buf[:runtime.Stack(buf[:], false)])
	number, _, _ := strings.Cut(strings.TrimPrefix(text, "goroutine "), " ")
	n, _ := strconv.ParseUint(number, 10, 64)
	return n
}

// maxStacks bounds the traces of a process that are looked at.
const maxStacks = 64 << 20

// Stacks is the stack traces of all goroutines.
type Stacks []byte

// LookAtStacks stops the process while it looks, for some microseconds a session:
// only somebody who asks pays.
func LookAtStacks() Stacks {
	buf := make([]byte, 256<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) || n >= maxStacks {
			return buf[:n]
		}
		buf = make([]byte, 4*len(buf))
	}
}

// Wait tells by its stack what the session waits for, and in which function; ""
// where all has none of it.
func (m *Monitor) Wait(all Stacks) (what, where string) {
	m.mu.Lock()
	number := m.goroutine
	m.mu.Unlock()
	return waitOf(all, number)
}

// ours begins the names of functions of the daemon.
const ours = "mailstead/imapserver/"

// waitOf finds a goroutine among stack traces.
func waitOf(stacks []byte, number uint64) (what, where string) {
	head := "goroutine " + strconv.FormatUint(number, 10) + " "
	for trace := range bytes.SplitSeq(stacks, []byte("\n\n")) {
		if !bytes.HasPrefix(trace, []byte(head)) {
			continue
		}
		first, frames, _ := strings.Cut(string(trace), "\n")
		_, state, _ := strings.Cut(first, "[")
		state, _, _ = strings.Cut(state, "]")
		state, _, _ = strings.Cut(state, ",") // how long follows, in minutes
		where = frame(frames)
		return waitFor(state, where), where
	}
	return "", ""
}

// frame is the innermost function of the daemon in a trace, but for those that the
// connection is made of.
func frame(frames string) string {
	for line := range strings.Lines(frames) {
		name, ok := strings.CutPrefix(line, ours)
		if ok && !strings.HasPrefix(name, "handoff.") && !strings.HasPrefix(name, "login.") {
			if i := strings.LastIndexByte(name, '('); i > 0 {
				name = name[:i]
			}
			return name
		}
	}
	return ""
}

// waits says what it means that a session waits in a function; the first that fits
// counts. state begins how the runtime calls the wait, and "" is any.
var waits = []struct{ state, where, what string }{
	{"IO wait", "session.(*conn).Read", "the client to say something"},
	{"IO wait", "session.(*conn).Write", "the client to read"},
	{"select", "session.(*session).push", "the client, or news to tell it"},
	{"chan receive", "session.(*session).abandon", "the client, to end the session"},
	{"", "store.(*group)", "the disk, to write"},
	{"", "maildir.(*Folder).LockCourier", "Courier's lock on the mailbox"},
	{"sync.Mutex.Lock", "store.(*index)", "the lock of the account's index"},
	{"sync.Mutex.Lock", "store.(*mailbox)", "the lock of the mailbox"},
	{"sync.Mutex.Lock", "store.(*View)", "the lock of the mailbox"},
	{"sync.Mutex.Lock", "store.(*Account)", "the lock of the account"},
	{"sync.RWMutex", "", "a lock"},
	{"sync.Mutex.Lock", "", "a lock"},
	{"semacquire", "", "a lock"},
	{"sync.WaitGroup.Wait", "", "other work of this session"},
	{"sync.Cond.Wait", "", "another session's work"},
	{"syscall", "", "the operating system"},
	{"sleep", "", "some time to pass"},
	{"chan receive", "", "another session's work"},
	{"chan send", "", "another session's work"},
	{"select", "", "another session's work"},
}

func waitFor(state, where string) string {
	if state == "running" || state == "runnable" {
		return ""
	}
	for _, w := range waits {
		if strings.HasPrefix(state, w.state) && strings.HasPrefix(where, w.where) {
			return w.what
		}
	}
	return state
}

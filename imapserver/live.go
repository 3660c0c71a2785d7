package imapserver

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/session"
)

// live is the sessions of a process that has mail, for those who ask what they do.
type live struct {
	mu  sync.Mutex
	all map[*liveSession]bool
}

type liveSession struct {
	*handoff.Session
	session.Monitor
	session.Tap
	began time.Time
}

// enter takes note of a session until leave is called.
func (l *live) enter(s *handoff.Session) (entry *liveSession, leave func()) {
	entry = &liveSession{Session: s, began: time.Now()}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[*liveSession]bool{}
	}
	l.all[entry] = true
	return entry, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.all, entry)
	}
}

// of gives the sessions of a user, of which id, if it is not "", names one.
func (l *live) of(user, id string) []*liveSession {
	l.mu.Lock()
	defer l.mu.Unlock()
	var some []*liveSession
	for s := range l.all {
		if (user == "" || s.User == user) && (id == "" || s.ID == id) {
			some = append(some, s)
		}
	}
	return some
}

// maxExplained is of how many sessions at once it is told what they wait for.
const maxExplained = 20

// doing tells what sessions do.
func (l *live) doing(user, id string) []control.Connection {
	some := l.of(user, id)
	var all []control.Connection
	var stacks session.Stacks
	if len(some) > 0 && len(some) <= maxExplained {
		stacks = session.LookAtStacks()
	}
	for _, s := range some {
		a := s.Activity()
		doing := &control.Activity{
			State: "authenticated", Mailbox: a.Selected, ReadOnly: a.ReadOnly, Command: a.Command, Since: a.Since,
			Client: a.Client, Commands: a.Commands, In: a.In, Out: a.Out, Enabled: a.Enabled,
		}
		if a.Selected != "" {
			doing.State = "selected"
		}
		doing.Waits, doing.Where = s.Wait(stacks)
		all = append(all, control.Connection{ID: s.ID, User: s.User, Listener: s.Listener, Began: s.began, Doing: doing})
	}
	return all
}

// client is what a session's client has said of itself.
func (s *liveSession) client() string {
	return cmp.Or(s.Activity().Client, s.Client)
}

// explain adds to connections, as logins have them, what their sessions do. Those
// that no login has came over the control socket.
func explain(connected, doing []control.Connection) []control.Connection {
	for _, d := range doing {
		i := slices.IndexFunc(connected, func(c control.Connection) bool { return c.ID == d.ID && c.User == d.User })
		if i < 0 {
			connected = append(connected, d)
			continue
		}
		connected[i].Doing = d.Doing
	}
	sortConnections(connected)
	return connected
}

// sortConnections orders connections by the time at which they began.
func sortConnections(all []control.Connection) {
	slices.SortFunc(all, func(a, b control.Connection) int {
		return cmp.Or(a.Began.Compare(b.Began), strings.Compare(a.ID, b.ID))
	})
}

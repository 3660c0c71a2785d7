package imapserver

import (
	"net/netip"
	"sync"

	"mailstead/imapserver/handoff"
)

// seats counts the sessions of each user, whichever listener they came in by: a
// login knows those of its own alone, and all of them are in the process that has
// the user's mail.
type seats struct {
	mu      sync.Mutex
	users   map[string]int
	sources map[seat]int
}

type seat struct {
	user   string
	source netip.Prefix
}

// take counts a session, unless there are as many as may be. Those that were asked
// for over the control socket are not counted.
func (s *seats) take(o *handoff.Session) bool {
	if o.PerUser == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	here := seat{o.User, handoff.Source(o.Remote)}
	if s.users[o.User] >= o.PerUser || s.sources[here] >= o.PerUserSource {
		return false
	}
	if s.users == nil {
		s.users, s.sources = map[string]int{}, map[seat]int{}
	}
	s.users[o.User]++
	s.sources[here]++
	return true
}

// leave takes back what take has counted.
func (s *seats) leave(o *handoff.Session) {
	if o.PerUser == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	here := seat{o.User, handoff.Source(o.Remote)}
	if s.users[o.User]--; s.users[o.User] == 0 {
		delete(s.users, o.User)
	}
	if s.sources[here]--; s.sources[here] == 0 {
		delete(s.sources, here)
	}
}

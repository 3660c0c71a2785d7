package login

import (
	"net/netip"
	"sync"
)

// sessions is the connections that are logged in.
type sessions struct {
	limits Limits

	mu      sync.Mutex
	all     map[*relay]bool
	users   map[string]int
	sources map[userSource]int
}

type userSource struct {
	user   string
	source netip.Prefix
}

func newSessions(l Limits) *sessions {
	return &sessions{limits: l, all: map[*relay]bool{}, users: map[string]int{}, sources: map[userSource]int{}}
}

// add counts a session; it is false where its user has as many as may be.
func (s *sessions) add(r *relay) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	us := userSource{r.user, r.source}
	if s.users[r.user] >= s.limits.PerUser || s.sources[us] >= s.limits.PerUserSource {
		return false
	}
	s.all[r] = true
	s.users[r.user]++
	s.sources[us]++
	return true
}

func (s *sessions) remove(r *relay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.all[r] {
		return
	}
	delete(s.all, r)
	us := userSource{r.user, r.source}
	if s.users[r.user]--; s.users[r.user] == 0 {
		delete(s.users, r.user)
	}
	if s.sources[us]--; s.sources[us] == 0 {
		delete(s.sources, us)
	}
}

func (s *sessions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// on counts the sessions of each listener.
func (s *sessions) on() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := map[string]int{}
	for r := range s.all {
		n[r.listener]++
	}
	return n
}

func (s *sessions) closeUsers(keep func(user string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.all {
		if !keep(r.user) {
			r.cut()
		}
	}
}

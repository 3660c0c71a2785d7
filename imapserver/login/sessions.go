package login

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Session is a connection that is logged in, as it may be shown.
type Session struct {
	ID, User, Listener string
	Address            netip.Addr
	TLS                string // version; "" none
	Client             string // as it has said itself by ID
	Began              time.Time
}

// about is what is known of a connection only for those who ask.
type about struct {
	id          string
	address     netip.Addr
	tls, client string
	began       time.Time
}

// sessions is the connections that are logged in.
type sessions struct {
	limits Limits

	mu      sync.Mutex
	all     map[*relay]bool
	users   map[string]int
	on      map[string]int       // by listener
	nets    map[netip.Prefix]int // by source
	sources map[userSource]int
}

type userSource struct {
	user   string
	source netip.Prefix
}

func newSessions(l Limits) *sessions {
	return &sessions{limits: l, all: map[*relay]bool{}, users: map[string]int{}, on: map[string]int{}, nets: map[netip.Prefix]int{}, sources: map[userSource]int{}}
}

// limit replaces the limits, for sessions to come.
func (s *sessions) limit(l Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = l
}

// add counts a session, or says of whom there are as many as may be.
func (s *sessions) add(r *relay) (full string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	us := userSource{r.user, r.source}
	switch {
	case s.users[r.user] >= s.limits.PerUser || s.sources[us] >= s.limits.PerUserSource:
		return "of this user"
	case s.nets[r.source] >= s.limits.SourceSessions:
		return "of this address"
	case len(s.all) >= s.limits.Sessions:
		return "in all"
	}
	s.all[r] = true
	s.users[r.user]++
	s.on[r.listener]++
	s.nets[r.source]++
	s.sources[us]++
	return ""
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
	if s.on[r.listener]--; s.on[r.listener] == 0 {
		delete(s.on, r.listener)
	}
	if s.nets[r.source]--; s.nets[r.source] == 0 {
		delete(s.nets, r.source)
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

// listeners gives the number on each listener that has any.
func (s *sessions) listeners() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.on)
}

// names lists the users who have sessions.
func (s *sessions) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.users))
}

// list gives those of a user, or with "" of all, in the order in which they began.
func (s *sessions) list(user string) []Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Session
	for r := range s.all {
		if a := r.about; a != nil && (user == "" || user == r.user) {
			all = append(all, Session{ID: a.id, User: r.user, Listener: r.listener, Address: a.address, TLS: a.tls, Client: a.client, Began: a.began})
		}
	}
	slices.SortFunc(all, func(a, b Session) int {
		return cmp.Or(a.Began.Compare(b.Began), strings.Compare(a.ID, b.ID))
	})
	return all
}

// leave ends what clients can say.
func (s *sessions) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.all {
		r.client.SetReadDeadline(time.Unix(1, 0))
	}
}

func (s *sessions) closeUsers(keep func(listener, user string) bool) {
	s.end(func(r *relay) bool { return !keep(r.listener, r.user) })
}

// end cuts some sessions, and says how many.
func (s *sessions) end(which func(r *relay) bool) (ended int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.all {
		if which(r) {
			r.cut()
			ended++
		}
	}
	return ended
}

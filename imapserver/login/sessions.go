package login

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"mailstead/imapserver/metrics"
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
	board  *Board

	mu      sync.Mutex
	leaving bool
	all     map[*relay]bool
	users   map[string]int
	on      map[string]int           // by listener
	nets    map[netip.Prefix]*guests // by source
	sources map[userSource]int
}

type userSource struct {
	user   string
	source netip.Prefix
}

// guests is the sessions of a source.
type guests struct {
	n    int
	spot spot // on the board
}

func newSessions(l Limits, b *Board) *sessions {
	return &sessions{limits: l, board: b, all: map[*relay]bool{}, users: map[string]int{}, on: map[string]int{}, nets: map[netip.Prefix]*guests{}, sources: map[userSource]int{}}
}

// limit replaces the limits, for sessions to come.
func (s *sessions) limit(l Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = l
}

// Of whom there are too many sessions, for client and log, and as it is counted.
const (
	fullAll     = "in all"
	fullAddress = "of this address"
	fullUser    = "of this user"
)

var fullness = map[string]string{fullAll: metrics.Full, fullAddress: metrics.FullAddress, fullUser: metrics.FullUser}

// add counts a session, or says of whom there are as many as may be. Like those who
// wait, it is counted before it is looked whether it may be.
func (s *sessions) add(r *relay) (full string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count(r, 1)
	own, kept := len(s.all), s.board.kept(s.limits.Sessions)
	at := s.nets[r.source]
	switch {
	case s.users[r.user] > s.limits.PerUser || s.sources[userSource{r.user, r.source}] > s.limits.PerUserSource:
		full = fullUser
	case over(at.n, s.board.has(logged, at.spot, 0), s.limits.SourceSessions):
		full = fullAddress
	case own > kept && own+s.board.elsewhere(logged, kept) > s.limits.Sessions:
		full = fullAll
	default:
		if s.leaving {
			r.leave()
		}
		return ""
	}
	s.count(r, -1)
	return full
}

func (s *sessions) remove(r *relay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[r] {
		s.count(r, -1)
	}
}

// count takes a session in, or out.
func (s *sessions) count(r *relay, n int) {
	if n > 0 {
		s.all[r] = true
	} else {
		delete(s.all, r)
	}
	us := userSource{r.user, r.source}
	if s.users[r.user] += n; s.users[r.user] == 0 {
		delete(s.users, r.user)
	}
	if s.sources[us] += n; s.sources[us] == 0 {
		delete(s.sources, us)
	}
	if s.on[r.listener] += n; s.on[r.listener] == 0 {
		delete(s.on, r.listener)
	}
	at := s.nets[r.source]
	if at == nil {
		at = &guests{spot: s.board.spot(r.source)}
		s.nets[r.source] = at
	}
	if at.n += n; at.n == 0 {
		delete(s.nets, r.source)
	}
	s.board.add(logged, at.spot, n)
	s.board.say(logged, len(s.all))
}

func (s *sessions) total() int {
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

// leave ends what clients can say, and those of sessions that are about to begin.
func (s *sessions) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = true
	for r := range s.all {
		r.leave()
	}
}

// cut cuts all sessions off.
func (s *sessions) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.all {
		r.cut()
	}
}

// end ends some sessions, and says how many. They are none any more from then on,
// though some may still be taking leave.
func (s *sessions) end(which func(r *relay) bool) (ended int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.all {
		if which(r) {
			r.end()
			s.count(r, -1)
			ended++
		}
	}
	return ended
}

package web

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// sort is what somebody has logged in as.
type sort string

const (
	asUser  sort = "user"
	asAdmin sort = "admin"
)

// session is a browser in which somebody has logged in. It does not change but for
// what is under sessions.mu.
type session struct {
	sort  sort
	name  string
	token string // of auth, or of what needs root
	form  string // what the forms of its pages have in them

	begun  time.Time
	seen   time.Time
	notice string // for the next page
	work   *work  // what was begun last; nil: nothing
}

// sessions are those that there are, by the digest of their cookie: what is looked up
// is not what a client could guess octet by octet.
type sessions struct {
	key  [32]byte // of forms
	life time.Duration
	idle time.Duration
	most int
	mu   sync.Mutex
	of   map[[sha256.Size]byte]*session
}

func newSessions(life, idle time.Duration, most int) *sessions {
	s := &sessions{life: life, idle: idle, most: most, of: map[[sha256.Size]byte]*session{}}
	rand.Read(s.key[:])
	return s
}

// formOf is what the forms of a page have in them that a cookie was sent with.
func (s *sessions) formOf(cookie string) string {
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write([]byte(cookie))
	return hex.EncodeToString(mac.Sum(nil))
}

// begin makes a session, always with a cookie of its own: one that was there before
// the login may be somebody else's.
func (s *sessions) begin(as sort, name, token string, now time.Time) (cookie string) {
	cookie = rand.Text() + rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.of) >= s.most {
		s.sweep(now)
	}
	s.of[sha256.Sum256([]byte(cookie))] = &session{sort: as, name: name, token: token, form: s.formOf(cookie), begun: now, seen: now}
	return cookie
}

// sweep forgets what is over, and a quarter of what there may be if that is not
// enough: those that were not seen for longest. The caller holds mu.
func (s *sessions) sweep(now time.Time) {
	maps.DeleteFunc(s.of, func(_ [sha256.Size]byte, e *session) bool { return s.over(e, now) })
	if len(s.of) < s.most {
		return
	}
	keys := slices.SortedFunc(maps.Keys(s.of), func(a, b [sha256.Size]byte) int {
		return cmp.Compare(s.of[a].seen.UnixNano(), s.of[b].seen.UnixNano())
	})
	for _, k := range keys[:s.most/4+1] {
		delete(s.of, k)
	}
}

func (s *sessions) over(e *session, now time.Time) bool {
	return now.Sub(e.begun) > s.life || now.Sub(e.seen) > s.idle
}

// get gives the session of a cookie, and the notice that waited for it. A page that
// refreshes itself shows no notice and does not count as being used: nobody may be there.
func (s *sessions) get(cookie string, now time.Time, refresh bool) (e *session, notice string) {
	key := sha256.Sum256([]byte(cookie))
	s.mu.Lock()
	defer s.mu.Unlock()
	e = s.of[key]
	if e == nil {
		return nil, ""
	}
	if s.over(e, now) {
		delete(s.of, key)
		return nil, ""
	}
	if refresh {
		return e, ""
	}
	e.seen = now
	notice, e.notice = e.notice, ""
	return e, notice
}

// tell has the next page of a session say something.
func (s *sessions) tell(e *session, notice string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.notice = notice
}

// end ends a session.
func (s *sessions) end(e *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.of, func(_ [sha256.Size]byte, o *session) bool { return o == e })
}

// The names of cookies. With TLS they have the prefix by which a browser keeps other
// hosts of the domain, and pages without TLS, from setting them; without TLS, on
// loopback, it would refuse that prefix.
const (
	sessionCookie = "mailstead"
	formCookie    = "mailstead-form" // before a login
)

func (s *Server) cookieName(name string) string {
	if s.settings.TLS {
		return "__Host-" + name
	}
	return name
}

func (s *Server) setCookie(w http.ResponseWriter, name, value string) {
	c := &http.Cookie{Name: s.cookieName(name), Value: value, Path: "/", Secure: s.settings.TLS, HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

func (s *Server) cookie(r *http.Request, name string) string {
	c, err := r.Cookie(s.cookieName(name))
	if err != nil {
		return ""
	}
	return c.Value
}

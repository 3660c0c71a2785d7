package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"mailstead/imapserver/control"
	"mailstead/imapserver/limit"
	"mailstead/render"
)

// Server is the page. Its methods may be called from many goroutines.
type Server struct {
	settings render.WebSettings
	log      *slog.Logger
	limits   limit.Web
	now      func() time.Time

	auth  func(context.Context, control.WebRequest) (control.WebAnswer, error)
	admin func(context.Context, AdminRequest, func(string)) (AdminAnswer, error)

	sessions *sessions
	requests *guard
	logins   *guard
	handler  http.Handler

	keyMu   sync.Mutex
	key     *tls.Certificate
	keyTime time.Time // when it was asked for
}

// New makes the page of a host.
func New(settings render.WebSettings, log *slog.Logger) *Server {
	l := limit.Default().Web
	s := &Server{
		settings: settings, log: log, limits: l, now: time.Now,
		auth: func(ctx context.Context, r control.WebRequest) (control.WebAnswer, error) {
			return control.AskWeb(ctx, settings.Auth, r)
		},
		admin: func(ctx context.Context, r AdminRequest, say func(string)) (AdminAnswer, error) {
			return AskAdmin(ctx, settings.AdminSocket, r, say)
		},
		sessions: newSessions(l.Life, l.Idle, l.Sessions),
		requests: newGuard(l.Requests, l.Sources),
		logins:   newGuard(l.Logins, l.Sources),
	}
	s.handler = s.guarded(s.routes())
	return s
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Serve serves the page on l until ctx ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	l = newPlaces(l, s.limits.Connections, s.limits.PerSource)
	h := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: s.limits.Header,
		ReadTimeout:       2 * s.limits.Header,
		WriteTimeout:      writeTimes * s.limits.Header,
		IdleTimeout:       4 * s.limits.Header,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		// HTTP/1.1 alone: what a connection can ask at once is one page.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	if s.settings.TLS {
		if _, err := s.certificate(nil); err != nil {
			s.log.Warn("no certificate yet", "err", err)
		}
		l = tls.NewListener(l, s.tlsConfig())
	}
	stopped := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(stopped)
		end, cancel := context.WithTimeout(context.Background(), s.limits.Header)
		defer cancel()
		h.Shutdown(end)
		h.Close()
	})()
	if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve page: %w", err)
	}
	<-stopped
	return nil
}

// writeTimes is how many times as long as its header a request may take until it is
// answered: a login waits for the delay of a refusal. What admins ask may take longer.
const writeTimes = 4

func (s *Server) tlsConfig() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.certificate, NextProtos: []string{"http/1.1"}}
	if s.settings.Ask {
		c.ClientAuth = tls.RequestClientCert // which of them are admins', root's process says
	}
	return c
}

// keyAge is how old a certificate may be that is served: auth has a renewed one at once.
const keyAge = time.Minute

// certificate gives the one that auth has.
func (s *Server) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.keyMu.Lock()
	defer s.keyMu.Unlock()
	if s.now().Sub(s.keyTime) < keyAge && s.key != nil {
		return s.key, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.limits.Header)
	defer cancel()
	a, err := s.auth(ctx, control.WebRequest{Do: control.WebCertificate})
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.X509KeyPair(a.PEM, a.PEM)
	}
	switch {
	case err == nil:
		s.key, s.keyTime = &pair, s.now()
	case s.key == nil:
		return nil, fmt.Errorf("ask for the certificate: %w", err)
	default:
		s.keyTime = s.now() // the old one, until auth is there again
	}
	return s.key, nil
}

// contentPolicy lets a page have its own style sheet and send its own forms, and nothing
// else. Who has logged in has a script besides, which asks this host alone; a stranger
// has none.
const (
	contentPolicy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	scriptPolicy  = contentPolicy + "; script-src 'self'; connect-src 'self'"
)

// guarded has every request bounded, and every answer with the headers that keep a
// browser from doing more with a page than showing it. Strict-Transport-Security
// (RFC 6797) is not among them: it would hold for every port of the host's name.
func (s *Server) guarded(next http.Handler) http.Handler {
	foreign := http.NewCrossOriginProtection()
	foreign.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, r, http.StatusForbidden, "This came from another site, and was not done.")
	}))
	next = foreign.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer s.caught(w, r)
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		h.Set("Cache-Control", "no-store")
		if !s.requests.allow(remote(r.RemoteAddr), s.now()) {
			h.Set("Retry-After", "60")
			s.refuse(w, r, http.StatusTooManyRequests, "Too many requests from your address. Try again in a minute.")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, s.limits.Form)
		next.ServeHTTP(w, r)
	})
}

// caught has a fault of ours heard, which http.Server would tell like a client's.
func (s *Server) caught(w http.ResponseWriter, r *http.Request) {
	if fault := recover(); fault != nil {
		s.log.Error("page failed", "path", r.URL.Path, "err", fault, "stack", string(debug.Stack()))
		s.refuse(w, r, http.StatusInternalServerError, "This page could not be made.")
	}
}

// routes are the pages.
func (s *Server) routes() http.Handler {
	m := http.NewServeMux()
	for _, a := range assets {
		m.Handle("GET "+a.path, a)
	}
	m.HandleFunc("GET /{$}", s.start)
	m.HandleFunc("GET /login", s.loginPage(asUser))
	m.HandleFunc("POST /login", s.posted(asUser, s.userLogin))
	m.HandleFunc("POST /logout", s.logout)
	m.Handle("GET /logout", http.RedirectHandler("/", http.StatusSeeOther)) // of a refused one
	m.HandleFunc("GET /account", s.of(asUser, s.account))
	s.routeForm(m, asUser, "/account/password", "/account", s.setPassword)
	s.routeForm(m, asUser, "/account/app", "/account", s.addApp)
	s.routeForm(m, asUser, "/account/app/revoke", "/account", s.revokeApp)
	m.HandleFunc("GET /account/settings", s.of(asUser, s.mailSettings))
	m.HandleFunc("GET /account/apple", s.of(asUser, s.appleProfile))
	s.routeDiscovery(m)
	if s.settings.Admins {
		m.HandleFunc("GET /admin/login", s.loginPage(asAdmin))
		m.HandleFunc("POST /admin/login", s.posted(asAdmin, s.adminLogin))
		for path, page := range map[string]func(http.ResponseWriter, *request){
			"/admin": s.status, "/admin/sessions": s.listSessions, "/admin/users": s.users, "/admin/users/{name}": s.user,
			"/admin/hosts": s.hosts, "/admin/drift": s.drift, "/admin/history": s.history, workPath: s.showWork,
		} {
			m.HandleFunc("GET "+path, s.of(asAdmin, page))
		}
		s.routeForm(m, asAdmin, "/admin/sessions/end", "/admin/sessions", s.endSession)
		s.routeForm(m, asAdmin, "/admin/propose", "/admin/users", s.propose)
		s.routeForm(m, asAdmin, "/admin/apply", workPath, s.apply)
	}
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.refuse(w, r, http.StatusNotFound, "There is no such page.")
	})
	return m
}

// routeForm has a form of those taken at path who have logged in as that. What answers it
// may be shown there: a browser that comes to it anew is led to the page that has the form.
func (s *Server) routeForm(m *http.ServeMux, as sort, path, page string, do func(http.ResponseWriter, *request)) {
	m.HandleFunc("POST "+path, s.postedBy(as, do))
	m.Handle("GET "+path, http.RedirectHandler(page, http.StatusSeeOther))
}

// start leads to the first page of whoever has logged in.
func (s *Server) start(w http.ResponseWriter, r *http.Request) {
	to := "/account"
	if q := s.looked(r); q.is(asAdmin) {
		to = "/admin"
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// request is a request with who has sent it.
type request struct {
	*http.Request
	session *session // nil before a login
	notice  string
	form    string // what the forms of the page are to have in them
}

// remote is the address of the browser.
func (r *request) remote() netip.Addr { return remote(r.RemoteAddr) }

// value is a field of a form, without blanks around it.
func (r *request) value(name string) string { return strings.TrimSpace(r.PostFormValue(name)) }

// query is what a page is asked for, without blanks around it.
func (r *request) query(name string) string {
	v := strings.TrimSpace(r.URL.Query().Get(name))
	if len(v) > maxField {
		return ""
	}
	return v
}

// who finds the session of a request, which is used by it.
func (s *Server) who(r *http.Request) *request {
	return s.sentBy(r, r.Header.Get("HX-Trigger") == "live") // the id of what refreshes itself, in the templates
}

// looked is who, of what neither uses the session nor shows what waits for its next page.
func (s *Server) looked(r *http.Request) *request { return s.sentBy(r, true) }

func (s *Server) sentBy(r *http.Request, refresh bool) *request {
	q := &request{Request: r}
	if q.session, q.notice = s.sessions.get(s.cookie(r, sessionCookie), s.now(), refresh); q.session != nil {
		q.form = q.session.form
	}
	return q
}

// of is a page for those who have logged in as that; others are sent to do so.
func (s *Server) of(as sort, page func(http.ResponseWriter, *request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if q := s.who(r); q.is(as) {
			page(w, q)
		} else {
			toLogin(w, r, as)
		}
	}
}

// is says whether somebody has logged in as that.
func (r *request) is(as sort) bool { return r.session != nil && r.session.sort == as }

// toLogin sends a browser to log in. A script would follow a redirection by itself, and
// put the form of the login into the middle of the page: it is told to leave the page.
func toLogin(w http.ResponseWriter, r *http.Request, as sort) {
	if r.Header.Get("HX-Request") != "" {
		w.Header().Set("HX-Redirect", loginPath(as))
		w.WriteHeader(http.StatusNoContent)
		return
	}
	http.Redirect(w, r, loginPath(as), http.StatusSeeOther)
}

func loginPath(as sort) string {
	if as == asAdmin {
		return "/admin/login"
	}
	return "/login"
}

// maxField bounds a field of a form, in octets: what asks others takes no more.
const maxField = 2048

// posted is what the form of a login does. One that is none of ours, such as one that was
// there before the page was started again, is answered with one that is.
func (s *Server) posted(as sort, do func(http.ResponseWriter, *request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch q := s.who(r); {
		case !s.readForm(w, q):
		case !s.ours(q):
			s.showLogin(w, q, as, q.value("name"), "This page was out of date. Log in once more.")
		default:
			do(w, q)
		}
	}
}

// postedBy is what a form of those does who have logged in as that.
func (s *Server) postedBy(as sort, do func(http.ResponseWriter, *request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if q := s.who(r); !q.is(as) {
			toLogin(w, r, as)
		} else if s.sentByUs(w, q) {
			do(w, q)
		}
	}
}

// sentByUs reads a form, and answers one that is none of ours.
func (s *Server) sentByUs(w http.ResponseWriter, q *request) bool {
	if !s.readForm(w, q) {
		return false
	}
	if !s.ours(q) {
		s.refuse(w, q.Request, http.StatusForbidden, "This form is out of date. Go back, load the page again, and send it once more.")
		return false
	}
	return true
}

// ours tells whether it is one of our own pages that was sent: the field "form" is what
// the page was given for the cookie that comes with it.
func (s *Server) ours(q *request) bool {
	if q.session == nil {
		q.form = s.sessions.formOf(s.cookie(q.Request, formCookie))
	}
	return same(q.PostForm.Get("form"), q.form) && (q.session != nil || s.cookie(q.Request, formCookie) != "")
}

// readForm reads a form, and answers one that is too large.
func (s *Server) readForm(w http.ResponseWriter, q *request) bool {
	if err := q.ParseForm(); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			s.refuse(w, q.Request, http.StatusRequestEntityTooLarge, "This form is too large.")
			return false
		}
		s.refuse(w, q.Request, http.StatusBadRequest, "This form cannot be read.")
		return false
	}
	for _, values := range q.PostForm {
		if slices.ContainsFunc(values, func(v string) bool { return len(v) > maxField }) {
			s.refuse(w, q.Request, http.StatusBadRequest, "What you have typed is too long.")
			return false
		}
	}
	return true
}

// done says in the next page that something was done.
func (s *Server) done(w http.ResponseWriter, q *request, to, notice string) {
	s.sessions.tell(q.session, notice)
	http.Redirect(w, q.Request, to, http.StatusSeeOther)
}

// asUserOf asks auth in the name of who has logged in. ok is false where the page
// has been answered: auth is not there, or does not know the session any more.
func (s *Server) asUserOf(w http.ResponseWriter, q *request, r control.WebRequest) (a control.WebAnswer, ok bool) {
	r.Token, r.Remote, r.TLS = q.session.token, q.remote(), s.settings.TLS
	a, err := s.auth(q.Context(), r)
	return a, s.answered(w, q, a.Over, err)
}

// asAdminOf asks what needs root, likewise.
func (s *Server) asAdminOf(w http.ResponseWriter, q *request, r AdminRequest) (a AdminAnswer, ok bool) {
	r.Token, r.Remote = q.session.token, q.remote()
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(adminTimeout + s.limits.Header)) // or the usual time holds
	a, err := s.admin(q.Context(), r, nil)
	return a, s.answered(w, q, a.Over, err)
}

func (s *Server) answered(w http.ResponseWriter, q *request, over bool, err error) bool {
	switch {
	case err != nil:
		s.log.Error("page not answered", "path", q.URL.Path, "err", err)
		s.refuse(w, q.Request, http.StatusServiceUnavailable, "The mail server does not answer. Try again in a moment.")
	case over:
		s.sessions.end(q.session)
		toLogin(w, q.Request, q.session.sort)
	default:
		return true
	}
	return false
}

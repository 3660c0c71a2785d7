package web

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"net/http"

	"mailstead/imapserver/control"
)

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// loginView is the page at which somebody logs in.
type loginView struct {
	Name        string
	Certificate bool // the browser has shown one
	Admins      bool
}

// loginPage shows the form, with a cookie of its own: a form that was made for one
// browser is refused from another, before a login too.
func (s *Server) loginPage(as sort) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := s.who(r)
		s.showLogin(w, q, as, "", "")
	}
}

func (s *Server) showLogin(w http.ResponseWriter, q *request, as sort, name, fault string) {
	if q.session == nil { // who has logged in sends their session's cookie, and its form belongs to that
		cookie := s.cookie(q.Request, formCookie)
		if len(cookie) != len(rand.Text()) {
			cookie = rand.Text()
			s.setCookie(w, formCookie, cookie)
		}
		q.form = s.sessions.formOf(cookie)
	}
	q.session = nil // what is shown is the page of nobody
	status := http.StatusOK
	if fault != "" {
		status = http.StatusForbidden
	}
	title, page := "Log in", "login"
	if as == asAdmin {
		title, page = "Log in as an admin", "adminlogin"
	}
	s.show(w, q, status, page, view{Title: title, Fault: fault, Body: loginView{Name: name, Certificate: shown(q.Request) != nil, Admins: s.settings.Admins}})
}

// shown is the certificate that a client has shown, which it has the key of; nil for none.
func shown(r *http.Request) []byte {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0].Raw
}

// mayTry counts what could be guesses of a source, beside what auth counts: one costs us a hash.
func (s *Server) mayTry(w http.ResponseWriter, q *request) bool {
	if s.logins.allow(q.remote(), s.now()) {
		return true
	}
	w.Header().Set("Retry-After", "60")
	s.refuse(w, q.Request, http.StatusTooManyRequests, "Too many passwords and codes from your address. Try again in a minute.")
	return false
}

func (s *Server) userLogin(w http.ResponseWriter, q *request) {
	if !s.mayTry(w, q) {
		return
	}
	name := q.value("name")
	a, err := s.auth(q.Context(), control.WebRequest{
		Do: control.WebLogin, User: name, Password: q.PostFormValue("password"), Remote: q.remote(), TLS: s.settings.TLS,
	})
	if !s.answered(w, q, false, err) {
		return
	}
	if a.Token == "" {
		s.showLogin(w, q, asUser, name, cmp.Or(a.Error, "Authentication failed."))
		return
	}
	s.begin(w, q, asUser, a.User, a.Token, "/account")
}

func (s *Server) adminLogin(w http.ResponseWriter, q *request) {
	if !s.mayTry(w, q) {
		return
	}
	r := AdminRequest{Do: AdminLogin, Remote: q.remote(), Name: q.value("name"), Password: q.PostFormValue("password"), Code: q.value("code")}
	if q.value("by") == "certificate" {
		r.Name, r.Password, r.Code, r.Certificate = "", "", "", shown(q.Request)
	}
	a, err := s.admin(q.Context(), r, nil)
	if !s.answered(w, q, false, err) {
		return
	}
	if a.Token == "" {
		if a.Wrong { // a fault of the host has nobody banned: fail2ban reads this line
			s.log.Warn("login failed", "addr", q.remote(), "user", r.Name[:min(len(r.Name), 100)], "mechanism", "web-admin")
		}
		s.showLogin(w, q, asAdmin, r.Name, cmp.Or(a.Error, "Authentication failed."))
		return
	}
	s.begin(w, q, asAdmin, a.Name, a.Token, "/admin")
}

// begin begins a session in place of what the browser had.
func (s *Server) begin(w http.ResponseWriter, q *request, as sort, name, token, to string) {
	if q.session != nil {
		s.sessions.end(q.session)
	}
	s.setCookie(w, formCookie, "")
	s.setCookie(w, sessionCookie, s.sessions.begin(as, name, token, s.now()))
	s.log.Info("logged in at the page", "addr", q.remote(), "as", string(as), "name", name)
	http.Redirect(w, q.Request, to, http.StatusSeeOther)
}

// logout ends the session, if the form is one of its pages'. A page may be older than the
// end of its session: nobody is logged out then, whoever has made the form, and the way on
// is that of any other page.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	var as sort
	switch q := s.who(r); {
	case q.session == nil:
		as = sort(q.value("as")) // whose page it was
	case !s.sentByUs(w, q):
		return
	default:
		as = q.session.sort
		s.sessions.end(q.session)
		if as == asUser {
			s.auth(q.Context(), control.WebRequest{Do: control.WebLogout, Token: q.session.token}) // it ends by itself if auth is not there
		}
	}
	s.setCookie(w, sessionCookie, "")
	http.Redirect(w, r, loginPath(as), http.StatusSeeOther)
}

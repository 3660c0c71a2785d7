package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/control"
	"mailstead/render"
)

// site is a page whose auth and whose other side are the test's.
type site struct {
	*testing.T
	*Server
	url    string
	client *http.Client
	now    time.Time
}

func newSite(t *testing.T, auth func(control.WebRequest) control.WebAnswer, admin func(AdminRequest) AdminAnswer) *site {
	t.Helper()
	s := &site{T: t, now: time.Unix(1_800_000_000, 0)}
	s.Server = New(render.WebSettings{Host: "mail.example.org", Admins: true}, slog.New(slog.DiscardHandler))
	s.Server.now = func() time.Time { return s.now }
	s.Server.auth = func(_ context.Context, r control.WebRequest) (control.WebAnswer, error) {
		if auth == nil {
			return control.WebAnswer{}, errors.New("auth is down")
		}
		return auth(r), nil
	}
	s.Server.admin = func(_ context.Context, r AdminRequest, _ func(string)) (AdminAnswer, error) { return admin(r), nil }
	h := httptest.NewServer(s.Server)
	t.Cleanup(h.Close)
	s.url = h.URL
	s.client = s.browser()
	return s
}

// browser is another one, without cookies.
func (s *site) browser() *http.Client {
	jar, _ := cookiejar.New(nil)
	return &http.Client{Jar: jar}
}

func (s *site) do(r *http.Request) (int, string, http.Header) {
	s.Helper()
	a, err := s.client.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	if err != nil {
		s.Fatal(err)
	}
	return a.StatusCode, string(text), a.Header
}

func (s *site) get(path string) (int, string) {
	s.Helper()
	r, err := http.NewRequest("GET", s.url+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	status, text, _ := s.do(r)
	return status, text
}

var formField = regexp.MustCompile(`name="form" value="([^"]*)"`)

// send sends a form as the page at from has it.
func (s *site) send(from, path string, fields ...string) (int, string) {
	s.Helper()
	_, text := s.get(from)
	m := formField.FindStringSubmatch(text)
	if m == nil {
		s.Fatalf("%s has no form:\n%s", from, text)
	}
	return s.post(path, append([]string{"form", m[1]}, fields...)...)
}

func (s *site) post(path string, fields ...string) (int, string) {
	s.Helper()
	values := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		values.Set(fields[i], fields[i+1])
	}
	r, err := http.NewRequest("POST", s.url+path, strings.NewReader(values.Encode()))
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, text, _ := s.do(r)
	return status, text
}

func (s *site) cookieValue(name string) string {
	u, _ := url.Parse(s.url)
	for _, c := range s.client.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// alice is an auth that knows one user.
func alice(r control.WebRequest) control.WebAnswer {
	switch {
	case r.Do == control.WebLogin && r.User == "alice" && r.Password == "wonder":
		return control.WebAnswer{Token: "of alice", User: "alice"}
	case r.Do == control.WebLogin:
		return control.WebAnswer{Error: "Authentication failed."}
	case r.Token != "of alice":
		return control.WebAnswer{Over: true}
	}
	if r.Do == control.WebUsage {
		return control.WebAnswer{Usage: &control.Usage{Storage: 1_500_000, StorageLimit: 2_000_000_000, Messages: 7}}
	}
	return control.WebAnswer{User: "alice", Own: true}
}

// A user sees how much mail there is, and may be.
func TestAccountUsage(t *testing.T) {
	s := newSite(t, alice, nil)
	s.send("/login", "/login", "name", "alice", "password", "wonder")
	if _, body := s.get("/account"); !strings.Contains(body, "Your mail: 1.5 MB of 2.0 GB, 7 messages.") {
		t.Error(body)
	}
}

func TestLogin(t *testing.T) {
	s := newSite(t, alice, nil)
	if status, text := s.get("/account"); status != 200 || !strings.Contains(text, "Password of your mail") {
		t.Errorf("%d %s", status, text)
	}
	if status, text := s.send("/login", "/login", "name", "alice", "password", "no"); status != 403 || !strings.Contains(text, "Authentication failed.") {
		t.Errorf("%d %s", status, text)
	}
	before := s.cookieValue(sessionCookie)
	if status, text := s.send("/login", "/login", "name", "alice", "password", "wonder"); status != 200 || !strings.Contains(text, "Your account") {
		t.Fatalf("%d %s", status, text)
	}
	cookie := s.cookieValue(sessionCookie)
	if cookie == before || len(cookie) < 40 {
		t.Errorf("cookie %q", cookie)
	}
	if status, _ := s.send("/account", "/logout"); status != 200 {
		t.Error(status)
	}
	u, _ := url.Parse(s.url)
	s.client.Jar.SetCookies(u, []*http.Cookie{{Name: sessionCookie, Value: cookie}})
	if _, text := s.get("/account"); !strings.Contains(text, "Password of your mail") {
		t.Error("the session goes on after its end")
	}
}

// A cookie that was there before the login is not the one of the session.
func TestFixation(t *testing.T) {
	s := newSite(t, alice, nil)
	u, _ := url.Parse(s.url)
	s.client.Jar.SetCookies(u, []*http.Cookie{{Name: sessionCookie, Value: "chosen"}})
	s.send("/login", "/login", "name", "alice", "password", "wonder")
	if s.cookieValue(sessionCookie) == "chosen" {
		t.Error("the cookie was kept")
	}
	s.client = s.browser()
	s.client.Jar.SetCookies(u, []*http.Cookie{{Name: sessionCookie, Value: "chosen"}})
	if _, text := s.get("/account"); !strings.Contains(text, "Password of your mail") {
		t.Error("the cookie is one of a session")
	}
}

// Who has logged in as a user may log in as an admin in its place, at the second try too.
func TestLoginAgain(t *testing.T) {
	s := newSite(t, alice, func(r AdminRequest) AdminAnswer {
		if r.Do == AdminLogin && r.Code != "1" {
			return AdminAnswer{Error: "no"}
		}
		return AdminAnswer{Token: "of helpdesk", Name: "helpdesk", Status: &Status{}}
	})
	s.send("/login", "/login", "name", "alice", "password", "wonder")
	before := s.cookieValue(sessionCookie)
	status, text := s.send("/admin", "/admin/login", "name", "helpdesk", "password", "x", "code", "2")
	form := formField.FindStringSubmatch(text)
	if status != 403 || form == nil || !strings.Contains(text, "no") {
		t.Fatalf("%d %s", status, text)
	}
	status, text = s.post("/admin/login", "form", form[1], "name", "helpdesk", "password", "x", "code", "1")
	if status != 200 || !strings.Contains(text, "Certificates as served") {
		t.Errorf("%d %s", status, text)
	}
	if e, _ := s.sessions.get(before, s.now, true); e != nil {
		t.Error("the session of the user goes on")
	}
}

// A form of another browser, of another session, or of none is refused, before a
// login and after.
func TestForeignForms(t *testing.T) {
	s := newSite(t, alice, nil)
	_, text := s.get("/login")
	theirs := formField.FindStringSubmatch(text)[1]
	mine := s.client
	for _, form := range []string{theirs, "", s.sessions.formOf("")} {
		s.client = s.browser() // the answer has given the last one a form of its own
		if status, _ := s.post("/login", "form", form, "name", "alice", "password", "wonder"); status != 403 {
			t.Errorf("login with the form %q: %d", form, status)
		}
	}
	s.client = mine
	s.send("/login", "/login", "name", "alice", "password", "wonder")
	for _, form := range []string{theirs, ""} {
		if status, _ := s.post("/logout", "form", form); status != 403 {
			t.Errorf("logout with the form %q: %d", form, status)
		}
	}
	r, _ := http.NewRequest("POST", s.url+"/logout", strings.NewReader("form="+formField.FindStringSubmatch(func() string { _, t := s.get("/account"); return t }())[1]))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if status, text, _ := s.do(r); status != 403 || !strings.Contains(text, "another site") {
		t.Errorf("from another site: %d %s", status, text)
	}
}

func TestHeaders(t *testing.T) {
	s := newSite(t, alice, nil)
	for _, path := range []string{"/login", assets["style"].path, assets["htmx"].path, "/nothing", "/admin/login", "/..%2f..%2fetc/passwd", assets["style"].path + "/../../etc/passwd"} {
		r, _ := http.NewRequest("GET", s.url+path, nil)
		_, text, h := s.do(r)
		if h.Get("Content-Security-Policy") != contentPolicy || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") == "" {
			t.Errorf("%s: %v", path, h)
		}
		if strings.Contains(text, "root:") {
			t.Errorf("%s is a file of the host", path)
		}
	}
	for _, tls := range []bool{false, true} {
		s.settings.TLS = tls
		w := httptest.NewRecorder()
		s.setCookie(w, sessionCookie, "x")
		want := "mailstead=x; Path=/; HttpOnly; SameSite=Strict"
		if tls {
			want = "__Host-mailstead=x; Path=/; HttpOnly; Secure; SameSite=Strict"
		}
		if got := w.Header().Get("Set-Cookie"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Whoever asks too much, or for logins, is told to wait; others are not.
func TestTooMany(t *testing.T) {
	s := newSite(t, alice, nil)
	for range s.limits.Logins {
		s.send("/login", "/login", "name", "alice", "password", "no")
	}
	if status, text := s.send("/login", "/login", "name", "alice", "password", "wonder"); status != 429 || !strings.Contains(text, "Too many passwords and codes") {
		t.Errorf("a login more: %d %s", status, text)
	}
	s.now = s.now.Add(time.Minute)
	if status, _ := s.send("/login", "/login", "name", "alice", "password", "wonder"); status != 200 {
		t.Errorf("a minute later: %d", status)
	}
	for range s.limits.Requests {
		s.get("/login")
	}
	if status, _ := s.get("/login"); status != 429 {
		t.Errorf("a request more: %d", status)
	}
}

func TestLargeForm(t *testing.T) {
	s := newSite(t, alice, nil)
	if status, _ := s.send("/login", "/login", "name", strings.Repeat("a", int(s.limits.Form))); status != 413 {
		t.Error(status)
	}
	if status, _ := s.send("/login", "/login", "name", strings.Repeat("<", maxField+1)); status != 400 {
		t.Error(status)
	}
	if status, _ := s.post("/login", "name", "%zz"); status != 403 {
		t.Error(status)
	}
}

// A session ends when it is not used, and in any case; so does one that auth has forgotten.
func TestSessionEnds(t *testing.T) {
	forgotten := false
	s := newSite(t, func(r control.WebRequest) control.WebAnswer {
		if forgotten && r.Do != control.WebLogin {
			return control.WebAnswer{Over: true}
		}
		return alice(r)
	}, nil)
	in := func() bool {
		_, text := s.get("/account")
		return strings.Contains(text, "Your account")
	}
	login := func() {
		t.Helper()
		s.send("/login", "/login", "name", "alice", "password", "wonder")
		if !in() {
			t.Fatal("not logged in")
		}
	}
	login()
	s.now = s.now.Add(s.limits.Idle + time.Second)
	if in() {
		t.Error("goes on without being used")
	}
	login()
	for range int(s.limits.Life/s.limits.Idle) * 2 {
		s.now = s.now.Add(s.limits.Idle / 2)
		s.get("/account")
	}
	if s.now = s.now.Add(time.Second); in() {
		t.Error("goes on for ever")
	}
	login()
	if forgotten = true; in() {
		t.Error("goes on though auth has forgotten it")
	}
}

func TestAuthIsDown(t *testing.T) {
	s := newSite(t, nil, nil)
	if status, text := s.send("/login", "/login", "name", "alice", "password", "wonder"); status != 503 || !strings.Contains(text, "does not answer") {
		t.Errorf("%d %s", status, text)
	}
}

// There are never more sessions than may be, and the one that was just used stays.
func TestManySessions(t *testing.T) {
	s := newSessions(time.Hour, time.Hour, 100)
	now := time.Unix(1_800_000_000, 0)
	mine := s.begin(asUser, "alice", "t", now)
	for i := range 1000 {
		now = now.Add(time.Millisecond)
		s.begin(asUser, "bob", "t", now)
		if e, _ := s.get(mine, now, false); e == nil {
			t.Fatalf("gone after %d", i)
		}
	}
	if len(s.of) > 100 {
		t.Errorf("%d sessions", len(s.of))
	}
}

// A fault of ours is answered, and heard.
func TestFault(t *testing.T) {
	s := newSite(t, func(control.WebRequest) control.WebAnswer { panic("a fault") }, nil)
	var log bytes.Buffer
	s.log = slog.New(slog.NewTextHandler(&log, nil))
	if status, text := s.send("/login", "/login", "name", "alice", "password", "wonder"); status != 500 || !strings.Contains(text, "could not be made") || strings.Contains(text, "a fault") {
		t.Errorf("%d %s", status, text)
	}
	if !strings.Contains(log.String(), `level=ERROR msg="page failed" path=/login err="a fault"`) {
		t.Errorf("log: %s", &log)
	}
}

// A failed login of an admin's is one line as fail2ban's filter has it, whatever the name
// is; a fault of the host is none.
func TestAdminFails(t *testing.T) {
	wrong := true
	s := newSite(t, alice, func(AdminRequest) AdminAnswer { return AdminAnswer{Error: "no", Wrong: wrong} })
	var log bytes.Buffer
	s.log = slog.New(slog.NewTextHandler(&log, nil))
	for _, name := range append([]string{"helpdesk"}, hostile[:5]...) {
		log.Reset()
		s.send("/admin/login", "/admin/login", "name", name, "password", "secret word", "code", "123456")
		if !regexp.MustCompile(`^time=\S* level=WARN msg="login failed" addr=127\.0\.0\.1 user=[^\n]* mechanism=web-admin\n$`).MatchString(log.String()) || strings.Contains(log.String(), "secret") {
			t.Errorf("%q: %s", name, &log)
		}
	}
	log.Reset()
	wrong = false
	if s.send("/admin/login", "/admin/login", "name", "helpdesk", "password", "x", "code", "1"); log.Len() > 0 {
		t.Errorf("a fault of the host: %s", &log)
	}
}

// What the daemon answers instead of its sessions is shown.
func TestSessionsFail(t *testing.T) {
	s := newSite(t, alice, func(r AdminRequest) AdminAnswer {
		if r.Do == AdminSessions {
			return AdminAnswer{Error: "the daemon is not running"}
		}
		return AdminAnswer{Token: "of helpdesk", Name: "helpdesk", Status: &Status{}}
	})
	s.send("/admin/login", "/admin/login", "name", "helpdesk", "password", "x", "code", "1")
	if status, text := s.get("/admin/sessions"); status != 200 || !strings.Contains(text, "the daemon is not running") {
		t.Errorf("%d %s", status, text)
	} else if strings.Contains(text, "Nobody is logged in") || !strings.Contains(text, "could not be found out") {
		t.Errorf("what is not known is said:\n%s", text)
	}
}

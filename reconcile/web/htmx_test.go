package web

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// desk is what needs root as a test has it: helpdesk logs in by anything.
func desk(r AdminRequest) AdminAnswer {
	switch {
	case r.Do == AdminLogin:
		return AdminAnswer{Token: "of helpdesk", Name: "helpdesk"}
	case r.Token != "of helpdesk":
		return AdminAnswer{Over: true}
	}
	return AdminAnswer{Status: &Status{}, Sessions: &Sessions{All: 1, List: []Session{{ID: "7", User: "alice", Address: "192.0.2.1", Client: `<b hx-get="/">`}}}}
}

func loggedIn(t *testing.T, admin func(AdminRequest) AdminAnswer) *site {
	t.Helper()
	s := newSite(t, alice, admin)
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if status, text := s.send("/admin/login", "/admin/login", "name", "helpdesk", "password", "x", "code", "1"); status != 303 {
		t.Fatalf("%d %s", status, text)
	}
	return s
}

// byScript is a request as htmx sends it, for the element with that id.
func (s *site) byScript(method, path, id string, fields url.Values) *http.Request {
	s.Helper()
	r, err := http.NewRequest(method, s.url+path, strings.NewReader(fields.Encode()))
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("HX-Request", "true")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if id != "" {
		r.Header.Set("HX-Trigger", id)
	}
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

// What refreshes itself is given the page that anybody is given, takes no notice away,
// and keeps no session from ending that nobody uses.
func TestRefresh(t *testing.T) {
	s := loggedIn(t, desk)
	_, whole := s.get("/admin/sessions")
	status, text, _ := s.do(s.byScript("GET", "/admin/sessions", "live", nil))
	if status != 200 || text != whole || !strings.Contains(text, `id="live" hx-get="/admin/sessions"`) || !strings.Contains(text, "&lt;b hx-get") {
		t.Errorf("%d, not the page itself:\n%s", status, text)
	}
	s.send("/admin/sessions", "/admin/sessions/end", "session", "7")
	if _, text, _ := s.do(s.byScript("GET", "/admin/sessions", "live", nil)); strings.Contains(text, "The session 7 is ended.") {
		t.Error("the notice is in what refreshes itself")
	}
	if _, text := s.get("/admin/sessions"); !strings.Contains(text, "The session 7 is ended.") {
		t.Error("the notice is lost")
	}
	for range 3 {
		s.now = s.now.Add(s.limits.Idle/2 - time.Second)
		status, _, _ = s.do(s.byScript("GET", "/admin/sessions", "live", nil))
	}
	if status != 204 {
		t.Errorf("a page that nobody looks at keeps its session: %d", status)
	}
}

// An ended session leads a script out of the page, and not to a form in the middle of it;
// nothing is done for it.
func TestEndedByScript(t *testing.T) {
	var asked atomic.Int32
	over := false
	s := loggedIn(t, func(r AdminRequest) AdminAnswer {
		if asked.Add(1); over {
			return AdminAnswer{Over: true}
		}
		return desk(r)
	})
	_, text := s.get("/admin/sessions")
	form := formField.FindStringSubmatch(text)[1]
	end := func() *http.Request {
		return s.byScript("POST", "/admin/sessions/end", "", url.Values{"form": {form}, "session": {"7"}})
	}
	leads := func(what string, r *http.Request) {
		t.Helper()
		if status, text, h := s.do(r); status != 204 || text != "" || h.Get("HX-Redirect") != "/admin/login" || h.Get("Location") != "" {
			t.Errorf("%s: %d %v\n%s", what, status, h, text)
		}
	}
	over = true
	leads("root's process has ended it", end())
	asked.Store(0)
	for _, path := range []string{"/admin", "/admin/sessions", "/admin/work"} {
		leads("a refresh", s.byScript("GET", path, "live", nil))
	}
	leads("a form", end())
	if n := asked.Load(); n > 0 {
		t.Errorf("%d requests were passed on", n)
	}
	if status, _ := s.post("/admin/sessions/end", "form", form, "session", "7"); status != 303 {
		t.Errorf("a form without a script: %d", status)
	}
}

// A script is under the rules that forms are under.
func TestScriptsForms(t *testing.T) {
	ended := 0
	s := loggedIn(t, func(r AdminRequest) AdminAnswer {
		if r.Do == AdminEndSession {
			ended++
		}
		return desk(r)
	})
	_, text := s.get("/admin/sessions")
	form := formField.FindStringSubmatch(text)[1]
	for _, values := range []url.Values{{"session": {"7"}}, {"session": {"7"}, "form": {s.sessions.formOf("")}}} {
		if status, _, _ := s.do(s.byScript("POST", "/admin/sessions/end", "", values)); status != 403 {
			t.Errorf("%v: %d", values, status)
		}
	}
	foreign := s.byScript("POST", "/admin/sessions/end", "", url.Values{"form": {form}, "session": {"7"}})
	foreign.Header.Set("Sec-Fetch-Site", "cross-site")
	if status, _, _ := s.do(foreign); status != 403 || ended > 0 {
		t.Errorf("from another site: %d, %d ended", status, ended)
	}
	if status, _, h := s.do(s.byScript("POST", "/admin/sessions/end", "", url.Values{"form": {form}, "session": {"7"}})); status != 303 || h.Get("Location") != "/admin/sessions" || ended != 1 {
		t.Errorf("%d %v, %d ended", status, h, ended)
	}
	for range s.limits.Requests {
		s.do(s.byScript("GET", "/admin", "live", nil))
	}
	if status, _, _ := s.do(s.byScript("GET", "/admin", "live", nil)); status != 429 {
		t.Errorf("a refresh more than a minute may have: %d", status)
	}
}

// Who has not logged in has no script, and whom there is one for, that alone: htmx, from
// here, which runs nothing that is in a page.
func TestScript(t *testing.T) {
	s := loggedIn(t, desk)
	get := func(path string) (string, http.Header) {
		r, _ := http.NewRequest("GET", s.url+path, nil)
		_, text, h := s.do(r)
		return text, h
	}
	text, h := get("/admin")
	if h.Get("Content-Security-Policy") != scriptPolicy || strings.Contains(scriptPolicy, "unsafe") || strings.Count(text, "<script") != 1 || !strings.Contains(text, `<script src="`+assets["htmx"].path+`" defer></script>`) {
		t.Errorf("%v\n%s", h, text)
	}
	config := struct{ AllowEval, AllowScriptTags, IncludeIndicatorStyles, HistoryEnabled, AllowNestedOobSwaps, SelfRequestsOnly *bool }{}
	m := regexp.MustCompile(`<meta name="htmx-config" content='([^']*)'>`).FindStringSubmatch(text)
	if m == nil || json.Unmarshal([]byte(html.UnescapeString(m[1])), &config) != nil {
		t.Fatalf("no configuration: %q", m)
	}
	for _, off := range []*bool{config.AllowEval, config.AllowScriptTags, config.IncludeIndicatorStyles, config.HistoryEnabled, config.AllowNestedOobSwaps} {
		if off == nil || *off {
			t.Errorf("it may do too much: %s", m[1])
		}
	}
	if config.SelfRequestsOnly == nil || !*config.SelfRequestsOnly {
		t.Errorf("it may ask others: %s", m[1])
	}
	text, h = get("/login")
	if h.Get("Content-Security-Policy") != contentPolicy || strings.Contains(text, "<script") || strings.Contains(text, "htmx") {
		t.Errorf("a stranger: %v\n%s", h, text)
	}
	for name, a := range assets {
		text, h := get(a.path)
		if text != string(a.data) || h.Get("Content-Type") != a.media || !strings.Contains(h.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %v", name, h)
		}
	}
	if !strings.Contains(string(htmx), `version:"2.`) {
		t.Error("this is no htmx 2")
	}
}

// What takes its time says what it does, goes on without the browser, and is not begun
// twice; what came of it is there when somebody looks.
func TestWork(t *testing.T) {
	s := loggedIn(t, desk)
	_, text := s.get("/admin/users")
	form := formField.FindStringSubmatch(text)[1]
	type step struct {
		said   string
		answer AdminAnswer
	}
	steps, asked := make(chan step), make(chan AdminRequest, 2)
	s.Server.admin = func(ctx context.Context, r AdminRequest, say func(string)) (AdminAnswer, error) {
		asked <- r
		for {
			if next := <-steps; next.said != "" {
				say(next.said)
			} else {
				return next.answer, ctx.Err()
			}
		}
	}
	propose := func() *http.Request {
		r := httptest.NewRequest("POST", "/admin/propose", strings.NewReader(url.Values{"form": {form}, "kind": {AddUser}, "user": {"walter"}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.AddCookie(&http.Cookie{Name: sessionCookie, Value: s.cookieValue(sessionCookie)})
		return r
	}
	ctx, leave := context.WithCancel(t.Context())
	w := httptest.NewRecorder()
	s.ServeHTTP(w, propose().WithContext(ctx))
	if w.Code != 303 || w.Header().Get("Location") != workPath {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	if r := <-asked; r.Token != "of helpdesk" || r.Change.User != "walter" {
		t.Errorf("%+v", r)
	}
	leave() // the browser is gone
	steps <- step{said: "Looking <at> it.\n"}
	status, text := s.get(workPath)
	for _, want := range []string{"Making the plan", "Looking &lt;at&gt; it.", `<noscript><meta http-equiv="refresh"`, `hx-get="/admin/work"`} {
		if status != 200 || !strings.Contains(text, want) {
			t.Errorf("%d, no %s:\n%s", status, want, text)
		}
	}
	s.ServeHTTP(w, propose())
	if _, text := s.get(workPath); !strings.Contains(text, "was not begun") || len(asked) > 0 {
		t.Errorf("begun twice, or nothing said of it:\n%s", text)
	}
	steps <- step{answer: AdminAnswer{Proposal: &Proposal{ID: "X", Title: "Add the user walter"}}}
	for range 2 {
		if status, text := s.get(workPath); status != 200 || !strings.Contains(text, "Apply this plan") || strings.Contains(text, "http-equiv") {
			t.Errorf("%d\n%s", status, text)
		}
	}
	s.ServeHTTP(w, propose())
	<-asked
	steps <- step{answer: AdminAnswer{Error: "no"}}
	if status, text := s.get(workPath); status != 409 || !strings.Contains(text, "Not proposed") {
		t.Errorf("%d\n%s", status, text)
	}
	s.ServeHTTP(w, propose())
	<-asked
	steps <- step{answer: AdminAnswer{Over: true}}
	if status, _ := s.get(workPath); status != 303 {
		t.Errorf("%d", status)
	}
}

package web

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/control"
	"mailstead/render"
	"mailstead/schema"
)

// Who is refused something has the way on that every page has, and "the start" is the
// first page of whoever has logged in; a notice waits for a page that was asked for.
func TestWayBack(t *testing.T) {
	s := loggedIn(t, desk)
	s.send("/admin/sessions", "/admin/sessions/end", "session", "7")
	if status, text := s.get("/nothing"); status != 404 || !strings.Contains(text, `href="/admin/sessions"`) || strings.Contains(text, "is ended") {
		t.Errorf("%d, an admin is lost:\n%s", status, text)
	}
	s.client.CheckRedirect = nil
	if _, text := s.get("/"); !strings.Contains(text, "<h1>Status</h1>") || !strings.Contains(text, "The session 7 is ended.") {
		t.Errorf("an admin's start is\n%s", text)
	}
	s.client = s.browser()
	if status, text := s.get("/nothing"); status != 404 || strings.Contains(text, "<nav") {
		t.Errorf("%d, a stranger is shown\n%s", status, text)
	}
	s.send("/login", "/login", "name", "alice", "password", "wonder")
	if _, text := s.get("/nothing"); !strings.Contains(text, `href="/account"`) || strings.Contains(text, `href="/admin`) {
		t.Errorf("a user is lost:\n%s", text)
	}
	if _, text := s.get("/"); !strings.Contains(text, "<h1>Your account</h1>") {
		t.Errorf("a user's start is\n%s", text)
	}
}

// A session that cannot be ended, most likely since it has just ended by itself, leaves
// the admin at the list.
func TestEndedMeanwhile(t *testing.T) {
	s := loggedIn(t, func(r AdminRequest) AdminAnswer {
		if r.Do == AdminEndSession {
			return AdminAnswer{Error: "there is no such connection"}
		}
		return desk(r)
	})
	status, text := s.send("/admin/sessions", "/admin/sessions/end", "session", "8")
	if status != 409 || !strings.Contains(text, `role="alert">there is no such connection`) || !strings.Contains(text, `name="session" value="7"`) {
		t.Errorf("%d %s", status, text)
	}
}

// An account has no link to what there is none of.
func TestAccountLinks(t *testing.T) {
	s := newSite(t, alice, nil)
	s.send("/login", "/login", "name", "alice", "password", "wonder")
	links := func(want ...string) {
		t.Helper()
		_, text := s.get("/account")
		for _, path := range []string{"/account/settings", "/account/apple"} {
			linked, meant := strings.Contains(text, path), false
			for _, w := range want {
				meant = meant || w == path
			}
			if linked != meant {
				t.Errorf("a link to %s: %v", path, linked)
			}
			if status, _ := s.get(path); (status == 200) != meant {
				t.Errorf("%s: %d", path, status)
			}
		}
	}
	links()
	s.settings.Profile = render.WebProfile{Listeners: []schema.Listener{{Name: "imaps", Port: 993, TLS: schema.Implicit}}}
	links("/account/settings")
	s.settings.Profile.Profiles = &schema.Profiles{Domain: "example.org", Submission: &schema.Submission{Server: "smtp.example.org", Port: 465, TLS: schema.Implicit, Login: "name"}}
	links("/account/settings", "/account/apple")
}

// Of what there is one of, and of a certificate that has ended, is said what it is; what is
// wrong is not in the colour of what is done.
func TestWords(t *testing.T) {
	s := loggedIn(t, func(r AdminRequest) AdminAnswer {
		if r.Do != AdminStatus {
			return desk(r)
		}
		return AdminAnswer{Status: &Status{Sessions: 1, Notes: []string{"not in force"}, Certificates: []Certificate{
			{Name: "old", NotAfter: time.Unix(1_800_000_000-3600, 0)}, {Name: "last", NotAfter: time.Unix(1_800_000_000+3600, 0)},
		}}}
	})
	_, text := s.get("/admin")
	for _, want := range []string{"1 session.", `<p class="fault">not in force</p>`, `<td class="n bad">expired</td>`, `<td class="n bad">0</td>`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	for n, want := range map[int]string{0: "0 users", 1: "1 user", 2: "2 users"} {
		if got := count(n, "user"); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

// A password is not changed into itself, and password managers are told whose it is.
func TestSamePassword(t *testing.T) {
	changed := 0
	s := newSite(t, func(r control.WebRequest) control.WebAnswer {
		if r.Do == control.WebPassword {
			changed++
		}
		return alice(r)
	}, nil)
	s.send("/login", "/login", "name", "alice", "password", "wonder")
	for _, c := range []struct {
		now, first, again string
		status, changed   int
	}{{"wonder land 1", "wonder land 1", "wonder land 1", 400, 0}, {"wonder land 1", "wonder land 2", "wonder land 3", 400, 0}, {"wonder land 1", "wonder land 2", "wonder land 2", 200, 1}} {
		status, text := s.send("/account", "/account/password", "password", c.now, "new", c.first, "again", c.again)
		if status != c.status || changed != c.changed || strings.Count(text, `<input value="alice" autocomplete="username" hidden readonly>`) != 2 {
			t.Errorf("%+v: %d, changed %d\n%s", c, status, changed, text)
		}
	}
}

// A proposal that is refused is mended where it was typed: all of it is there again, but
// for a password.
func TestRefusedProposal(t *testing.T) {
	var last *Change
	s := loggedIn(t, func(r AdminRequest) AdminAnswer {
		if r.Do == AdminPropose {
			last = r.Change
			return AdminAnswer{Error: "the host has something against it"}
		}
		return desk(r)
	})
	s.client.CheckRedirect = nil
	const name, secret, storage, folder = `wal"ter`, "a long password", "5 gigs", "Work.<b>"
	for kind, want := range map[string][]string{
		AddUser:     {`<input id="user" name="user" value="wal&#34;ter"`, `<input id="password" name="password" type="password" required`, `name="storage" value="5 gigs"`},
		SetPassword: {`type="hidden" name="user" value="wal&#34;ter"`, `<input id="password" name="password" type="password" required`},
		SetQuota:    {`type="hidden" name="user" value="wal&#34;ter"`, `name="storage" value="5 gigs"`},
		AddFolder:   {`type="hidden" name="user" value="wal&#34;ter"`, `name="folder" value="Work.&lt;b&gt;"`},
		RemoveUser:  {`type="hidden" name="user" value="wal&#34;ter"`},
	} {
		status, text := s.send("/admin/hosts", "/admin/propose", "kind", kind, "user", name, "password", secret, "storage", storage, "folder", folder)
		want = append(want, `role="alert">the host has something against it`, `<input type="hidden" name="kind" value="`+kind+`">`, `<form method="post" action="/admin/propose"`, "Show the plan")
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%s: no %s in\n%s", kind, part, text)
			}
		}
		if status != 409 || strings.Contains(text, secret) || last.Password != secret || strings.Count(text, `value="`+s.cookieForm()+`"`) != 2 {
			t.Errorf("%s: %d, %+v\n%s", kind, status, last, text)
		}
	}
}

// cookieForm is what the forms of the session have in them.
func (s *site) cookieForm() string { return s.sessions.formOf(s.cookieValue(sessionCookie)) }

// A plan waits for another code where it can be tried again, and not otherwise.
func TestAnotherCode(t *testing.T) {
	s := loggedIn(t, func(r AdminRequest) AdminAnswer {
		switch r.Do + r.Code {
		case AdminApply + "1":
			return AdminAnswer{Error: "the code is wrong", Proposal: &Proposal{ID: r.Proposal, Title: "Add the user walter", Text: "the plan"}}
		case AdminApply + "2":
			return AdminAnswer{Error: "the description was edited"}
		}
		return desk(r)
	})
	s.client.CheckRedirect = nil
	for code, want := range map[string]bool{"1": true, "2": false} {
		status, text := s.send("/admin/sessions", "/admin/apply", "proposal", "P7", "code", code)
		if status != 409 || strings.Contains(text, `name="proposal" value="P7"`) != want || strings.Contains(text, "the plan") != want || !strings.Contains(text, `class="fault"`) {
			t.Errorf("%s: %d %s", code, status, text)
		}
	}
}

// An app password that is refused for the password is asked for again by its name; one that
// was made has none in the form for the next.
func TestRefusedApp(t *testing.T) {
	s := newSite(t, func(r control.WebRequest) control.WebAnswer {
		switch {
		case r.Do == control.WebAddApp && r.Password != "wonder":
			return control.WebAnswer{Error: "Authentication failed."}
		case r.Do == control.WebAddApp:
			return control.WebAnswer{App: "abcd-efgh"}
		}
		return alice(r)
	}, nil)
	s.send("/login", "/login", "name", "alice", "password", "wonder")
	for password, want := range map[string]string{"wander": `name="name" value="the phone" required`, "wonder": `name="name" required`} {
		if _, text := s.send("/account", "/account/app", "name", "the phone", "password", password); !strings.Contains(text, want) || strings.Contains(text, password+`"`) {
			t.Errorf("%s: no %s in\n%s", password, want, text)
		}
	}
}

// A form of a login that is out of date, as after the page was started again, is shown anew
// with the name, and is good then.
func TestOldLogin(t *testing.T) {
	s := newSite(t, alice, desk)
	for path, fields := range map[string][]string{"/login": {"name", "alice", "password", "wonder"}, "/admin/login": {"name", "alice", "password", "wonder", "code", "1"}} {
		s.client = s.browser()
		_, text := s.get(path)
		old := formField.FindStringSubmatch(text)[1]
		s.sessions.key[0]++
		status, text := s.post(path, append(fields, "form", old)...)
		form := formField.FindStringSubmatch(text)
		if status != 403 || form == nil || form[1] == old || !strings.Contains(text, `value="alice"`) || !strings.Contains(text, `role="alert"`) || strings.Contains(text, "wonder") {
			t.Fatalf("%s: %d\n%s", path, status, text)
		}
		if status, text := s.post(path, append(fields, "form", form[1])...); status != 200 || !strings.Contains(text, "Log out") {
			t.Errorf("%s: %d\n%s", path, status, text)
		}
	}
}

// The answer to a form may stand at the form's own path: a browser that asks for that, as
// when somebody opens it once more, comes to the page that has the form.
func TestFormPaths(t *testing.T) {
	s := loggedIn(t, desk)
	for path, want := range map[string]string{
		"/account/password": "/account", "/account/app": "/account", "/account/app/revoke": "/account", "/logout": "/",
		"/admin/sessions/end": "/admin/sessions", "/admin/propose": "/admin/users", "/admin/apply": workPath,
	} {
		r, err := http.NewRequest("GET", s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if status, _, h := s.do(r); status != 303 || h.Get("Location") != want {
			t.Errorf("%s: %d %s", path, status, h.Get("Location"))
		}
	}
}

// Who logs out after the session has run out is led on as by any other page, and the
// cookie of it goes.
func TestLogoutTooLate(t *testing.T) {
	for as, to := range map[sort]string{asUser: "/login", asAdmin: "/admin/login"} {
		s := loggedIn(t, desk)
		from := "/admin/hosts"
		if as == asUser {
			s.send("/login", "/login", "name", "alice", "password", "wonder")
			from = "/account"
		}
		_, text := s.get(from)
		sent := url.Values{}
		for _, m := range regexp.MustCompile(`name="(form|as)" value="([^"]*)"`).FindAllStringSubmatch(text, -1) {
			sent.Set(m[1], m[2])
		}
		s.now = s.now.Add(s.limits.Idle + time.Second)
		r, err := http.NewRequest("POST", s.url+"/logout", strings.NewReader(sent.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if status, text, h := s.do(r); status != 303 || h.Get("Location") != to || s.cookieValue(sessionCookie) != "" {
			t.Errorf("%s: %d %v\n%s", as, status, h, text)
		}
	}
}

// Where the users cannot be listed, none of them is said not to be there.
func TestUsersUnknown(t *testing.T) {
	s := loggedIn(t, func(r AdminRequest) AdminAnswer {
		if r.Do == AdminUsers && r.Find == "alice" {
			return AdminAnswer{Error: "web.json holds something"}
		}
		return desk(r)
	})
	for name, want := range map[string]string{"alice": "web.json holds something", "bob": "There is no such user."} {
		if status, text := s.get("/admin/users/" + name); status == 200 || !strings.Contains(text, `role="alert">`+want+"<") {
			t.Errorf("%d, not %s:\n%s", status, want, text)
		}
	}
}

// The page of a user is good without how much mail there is: nobody is asked where the mail
// is on another server, and why a session does not say it is for the log.
func TestUserWithoutUsage(t *testing.T) {
	asked := ""
	s := loggedIn(t, func(r AdminRequest) AdminAnswer {
		switch r.Do {
		case AdminUsers:
			return AdminAnswer{Users: &Users{List: []User{{Name: "away", Sort: Elsewhere}, {Name: "plain", Sort: "virtual"}}}}
		case AdminUsage:
			asked += r.Find
			return AdminAnswer{Error: "quota of plain: imap: BAD no such command"}
		}
		return desk(r)
	})
	for name, want := range map[string]string{"away": "A user whose mail is on another server.", "plain": "A virtual user."} {
		if status, text := s.get("/admin/users/" + name); status != 200 || !strings.Contains(text, want) || strings.Contains(text, `class="fault"`) || strings.Contains(text, "BAD") {
			t.Errorf("%d\n%s", status, text)
		}
	}
	if asked != "plain" {
		t.Errorf("asked for the usage of %q", asked)
	}
}

// The heading says of an apply that has failed whether anything of it is on the host.
func TestOutcomes(t *testing.T) {
	var o Outcome
	s := loggedIn(t, func(r AdminRequest) AdminAnswer {
		if r.Do == AdminApply {
			return AdminAnswer{Outcome: &o}
		}
		return desk(r)
	})
	s.client.CheckRedirect = nil
	for title, of := range map[string]Outcome{"Applied": {Done: true}, "Applied, but not to its end": {Kept: true, Fault: "x"}, "Not applied": {Fault: "x"}} {
		o = of
		if _, text := s.send("/admin/hosts", "/admin/apply", "proposal", "P7", "code", "1"); !strings.Contains(text, "<h1>"+title+"</h1>") || strings.Contains(text, `role="alert"`) != (of.Fault != "") {
			t.Errorf("not headed by %s:\n%s", title, text)
		}
	}
}

// A quota is of octets, of messages or of both.
func TestQuotas(t *testing.T) {
	s := loggedIn(t, func(r AdminRequest) AdminAnswer {
		switch r.Do {
		case AdminUsers:
			return AdminAnswer{Users: &Users{List: []User{{Name: "a", Sort: "virtual"}, {Name: "b", Storage: 1e9}, {Name: "c", Messages: 7}, {Name: "d", Storage: 2e9, Messages: 1}}}}
		case AdminUsage:
			return AdminAnswer{Usage: &control.Usage{Messages: 1, MessagesLimit: 5}}
		}
		return desk(r)
	})
	_, text := s.get("/admin/users")
	for _, want := range []string{"none", "1.0 GB", "7 messages", "2.0 GB, 1 message"} {
		if !strings.Contains(text, `<td class="n">`+want+"</td>") {
			t.Errorf("no quota of %s:\n%s", want, text)
		}
	}
	if _, text := s.get("/admin/users/a"); !strings.Contains(text, "0 B, 1 message of 5.") {
		t.Errorf("the usage is\n%s", text)
	}
}

// Where nothing can be proposed there is no form for it.
func TestUsersApart(t *testing.T) {
	s := loggedIn(t, func(r AdminRequest) AdminAnswer {
		if r.Do == AdminUsers {
			return AdminAnswer{Users: &Users{Apart: r.Find == "apart"}}
		}
		return desk(r)
	})
	for find, form := range map[string]bool{"": true, "apart": false} {
		if _, text := s.get("/admin/users?find=" + find); strings.Contains(text, "Propose a new user") != form || strings.Contains(text, `action="/admin/propose"`) != form {
			t.Errorf("%q:\n%s", find, text)
		}
	}
}

// Of more sessions than a page has, those of a user are found: by a search, and from the
// page of the user. The list stays that of the user when it refreshes itself, and when one
// of the sessions is ended, or cannot be.
func TestSessionsOfUser(t *testing.T) {
	var find, refused string
	s := loggedIn(t, func(r AdminRequest) AdminAnswer {
		switch r.Do {
		case AdminSessions:
			find = r.Find
			return AdminAnswer{Sessions: &Sessions{All: 3, List: []Session{{ID: "7", User: "a&b"}, {ID: "8", User: "a&b"}}}}
		case AdminEndSession:
			return AdminAnswer{Error: refused}
		case AdminUsers:
			return AdminAnswer{Users: &Users{List: []User{{Name: "a&b", Sort: "virtual"}}}}
		}
		return desk(r)
	})
	const path = "/admin/sessions?user=a%26b"
	if _, text := s.get("/admin/users/a&b"); !strings.Contains(text, `href="`+path+`"`) {
		t.Errorf("no link to the sessions:\n%s", text)
	}
	list := func(status int, text string) {
		t.Helper()
		for _, want := range []string{`<input id="user" name="user" value="a&amp;b"`, `hx-include="#whose"`, `id="whose" name="user" value="a&amp;b"`, "3 sessions of a&amp;b, the first 2 of them", `href="/admin/sessions"`} {
			if !strings.Contains(text, want) {
				t.Errorf("%d, no %s in\n%s", status, want, text)
			}
		}
		if find != "a&b" {
			t.Errorf("asked for the sessions of %q", find)
		}
	}
	list(s.get(path))
	fields := []string{"session", "7", "user", "a&b"}
	if status, text := s.send(path, "/admin/sessions/end", fields...); status != 303 {
		t.Errorf("%d %s", status, text)
	}
	s.client.CheckRedirect = nil
	list(s.send(path, "/admin/sessions/end", fields...))
	refused = "there is no such connection"
	list(s.send(path, "/admin/sessions/end", fields...))
	if s.get("/admin/sessions?user=" + strings.Repeat("x", maxField+1)); find != "" {
		t.Errorf("asked for the sessions of %.20q", find)
	}
}

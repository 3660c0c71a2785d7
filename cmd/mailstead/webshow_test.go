package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mailstead/imapserver/control"
	"mailstead/reconcile/web"
	"mailstead/render"
)

// A page has the first of all sessions and says how many there are, or has those of a user,
// who is called as at a login; a name that nobody has is said to be none.
func TestWebSessions(t *testing.T) {
	p := newProposing(t)
	l, err := control.Listen(render.ControlSocket(p.desk.host.Paths))
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Repeat([]control.Connection{{ID: "7", User: "walter"}}, maxWebUsers+5)
	all = append(all, control.Connection{ID: "8", User: "vera", Address: "192.0.2.1"})
	go control.Serve(t.Context(), l, func(_ context.Context, r control.Request) control.Status {
		return control.Status{Connected: slices.DeleteFunc(slices.Clone(all), func(c control.Connection) bool { return r.User != "" && r.User != c.User })}
	})
	if s, err := p.desk.sessions(t.Context(), ""); err != nil || s.All != maxWebUsers+6 || len(s.List) != maxWebUsers {
		t.Errorf("%+v, %v", s, err)
	}
	want := []web.Session{{ID: "8", User: "vera", Address: "192.0.2.1"}}
	if s, err := p.desk.sessions(t.Context(), "Vera"); err != nil || s.All != 1 || !slices.Equal(s.List, want) {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := p.desk.sessions(t.Context(), "verra"); s == nil || !slices.Equal(hints(err), []string{`did you mean "vera"?`}) {
		t.Errorf("%+v, %v", s, err)
	}
}

// A host that is described elsewhere says so, and not how to begin a description.
func TestWebApart(t *testing.T) {
	p := newProposing(t)
	if u, err := p.desk.users(""); err != nil || u.Apart {
		t.Errorf("%+v, %v", u, err)
	}
	empty := t.TempDir()
	for _, p.desk.description = range []string{empty, filepath.Join(empty, "none")} {
		if u, err := p.desk.users(""); err != nil || !u.Apart || u.All != 1 {
			t.Errorf("%+v, %v", u, err)
		}
		_, drift := p.desk.drift(t.Context())
		_, hosts := p.desk.hosts()
		_, proposal := p.propose(newUser)
		for what, err := range map[string]error{"drift": drift, "hosts": hosts, "proposal": proposal} {
			if err == nil || !strings.Contains(err.Error(), "has no description in") || slices.ContainsFunc(hints(err), func(h string) bool { return strings.Contains(h, "init") }) {
				t.Errorf("%s: %v; %q", what, err, hints(err))
			}
		}
	}
}

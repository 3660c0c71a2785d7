package main

import (
	"context"
	"slices"
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

package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"mailstead/reconcile/desired"
	"mailstead/schema"
)

// What apply will refuse is refused before Courier is stopped.
func TestCutoverReadyBrakes(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	host := rootlessHost(t, dir, "")
	ready := func(n confirmed) error {
		l, err := lookAt(t.Context(), host, desired.Options{Rootless: true}, false)
		if err != nil {
			t.Fatal(err)
		}
		defer l.close()
		w := &cutover{look: l, c: &console{out: t.Output(), err: t.Output(), in: new(bytes.Buffer)}, confirmed: n}
		return w.ready(t.Context(), cutoverOptions{})
	}
	anna := host.Users[0]
	host.Users = nil
	for _, name := range []string{"anna", "bob", "carl", "dora", "eve"} {
		u := anna
		u.Name, u.Maildir = name, filepath.Join(dir, "mail", name)
		host.Users = append(host.Users, u)
	}
	l, err := lookAt(t.Context(), host, desired.Options{Rootless: true}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	o := applyOptions{opts: l.opts, yes: true}
	if err := l.applyHost(t.Context(), o, &console{out: t.Output(), err: t.Output()}); err != nil {
		t.Fatal(err)
	}
	host.Users = []schema.User{host.Users[0]}
	if err := ready(confirmed{}); err == nil || !strings.Contains(err.Error(), "4 of 5 users vanish") || !strings.Contains(strings.Join(hints(err), ""), "--remove-users 4") {
		t.Errorf("not confirmed: %v, %q", err, hints(err))
	}
	if err := ready(confirmed{users: 4}); err != nil && strings.Contains(err.Error(), "vanish") {
		t.Errorf("confirmed: %v", err)
	}
}

package kind

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/control"
	"mailstead/reconcile"
)

// fakeDaemon serves a control socket.
type fakeDaemon struct {
	mu     sync.Mutex
	status control.Status
	next   control.Status // after a reload
	asked  []string
}

func (f *fakeDaemon) answer(_ context.Context, r control.Request) control.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, r.Verb)
	if r.Verb == control.VerbReload && f.next.Error == "" {
		f.status = f.next
	}
	s := f.status
	if r.Verb == control.VerbReload {
		s.Error = f.next.Error
	}
	return s
}

func (b *bench) serve(f *fakeDaemon) (path string) {
	b.Helper()
	path = b.path("control")
	l, err := control.Listen(path)
	b.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- control.Serve(ctx, l, f.answer) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	return path
}

func status(generation, imap, fingerprint string) control.Status {
	return control.Status{
		Generation: generation,
		Listeners:  []control.Listener{{Name: "imap", Address: imap, TLS: "starttls"}},
		Bundles:    []control.Bundle{{Name: "a.example", Fingerprint: fingerprint}},
	}
}

func daemonSpec(path, generation, imap, fingerprint string) DaemonSpec {
	return DaemonSpec{
		Control: path, Generation: generation,
		Listeners: map[string]string{"imap": imap}, Bundles: map[string]string{"a.example": fingerprint},
	}
}

func TestDaemonReload(t *testing.T) {
	b := newBench(t)
	f := &fakeDaemon{status: status("g1", "[::]:143", "f1"), next: status("g2", "[::]:143", "f2")}
	path := b.serve(f)
	b.wantPlan(nil, Daemon(daemonSpec(path, "g1", ":143", "f1"), ""))
	want := Daemon(daemonSpec(path, "g2", ":143", "f2"), "")
	p := b.compare(want)
	if c := p.Changes[0]; c.Op != reconcile.Action || c.Impact != reconcile.Reload || c.Reason != "generation g1, want g2; certificate a.example f1, want f2" {
		t.Errorf("%+v", c)
	}
	b.apply(want)
	f.mu.Lock()
	defer f.mu.Unlock()
	reloads := 0
	for _, verb := range f.asked {
		if verb == control.VerbReload {
			reloads++
		}
	}
	if reloads != 1 {
		t.Errorf("%d reloads", reloads)
	}
}

// TestDaemonReadSomethingElse: files that were edited, read by the daemon and put
// back say of themselves what is wanted, and are not what it serves.
func TestDaemonReadSomethingElse(t *testing.T) {
	for name, edit := range map[string]func(*control.Status){
		"configuration": func(s *control.Status) { s.Config = "c2" },
		"users":         func(s *control.Status) { s.Users.Digest = "u2" },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			now := status("g", "[::]:143", "f")
			now.Config, now.Users.Digest = "c", "u"
			edited := now
			edit(&edited)
			spec := daemonSpec(b.serve(&fakeDaemon{status: edited, next: now}), "g", ":143", "f")
			spec.Config, spec.Users = "c", "u"
			want := Daemon(spec, "")
			b.wantPlan([]string{"action daemon/mailstead-imapd: " + name + " " + name[:1] + "2, want " + name[:1]}, want)
			b.apply(want)
			b.wantPlan(nil, want)
		})
	}
}

func TestDaemonMovesListener(t *testing.T) {
	b := newBench(t)
	path := b.serve(&fakeDaemon{status: status("g", "127.0.0.1:143", "f"), next: status("g", "127.0.0.1:1143", "f")})
	spec := daemonSpec(path, "g", "127.0.0.1:1143", "f")
	if c := b.compare(Daemon(spec, "")).Changes[0]; c.Impact != reconcile.Rebind {
		t.Errorf("by itself: %s", c.Impact)
	}
	withUnit := spec
	withUnit.Unit = imapd
	if c := b.compare(Daemon(withUnit, "")).Changes[0]; c.Impact != reconcile.Rebind {
		t.Errorf("under systemd: %s", c.Impact)
	}
	b.apply(Daemon(spec, ""))
}

// TestDaemonServesSomethingElse: a reload is judged by what is served.
func TestDaemonServesSomethingElse(t *testing.T) {
	for name, tc := range map[string]struct {
		next control.Status
		want string
	}{
		"refused":      {control.Status{Error: "bundle a.example: no such file"}, "reload: bundle a.example: no such file"},
		"certificate":  {status("g2", "[::]:143", "f1"), "certificate a.example is f1, want f2"},
		"no listener":  {control.Status{Generation: "g2", Bundles: []control.Bundle{{Name: "a.example", Fingerprint: "f2"}}}, "listener imap is nothing, want :143"},
		"old listener": {control.Status{Generation: "g2", Listeners: []control.Listener{{Name: "imap", Address: "[::]:143"}, {Name: "old", Address: "[::]:144"}}, Bundles: []control.Bundle{{Name: "a.example", Fingerprint: "f2"}}}, "listener old is still served at :144"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			path := b.serve(&fakeDaemon{status: status("g1", "[::]:143", "f1"), next: tc.next})
			err := b.tryApply(Daemon(daemonSpec(path, "g2", ":143", "f2"), ""))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestDaemonOfANewCertificate(t *testing.T) {
	b := newBench(t)
	path := b.serve(&fakeDaemon{status: status("g1", "[::]:143", "old"), next: status("g2", "[::]:143", "made a moment ago")})
	want := Daemon(daemonSpec(path, "g2", ":143", ""), "")
	if err := b.tryApply(want); err != nil {
		t.Error(err)
	}
}

func TestDaemonNotRunning(t *testing.T) {
	b := newBench(t)
	want := Daemon(daemonSpec(b.path("none"), "g", ":143", "f"), "")
	b.wantPlan([]string{"action daemon/mailstead-imapd: not running"}, want)
	if err := b.tryApply(want); err == nil || !strings.Contains(err.Error(), "start mailstead-imapd serve") {
		t.Errorf("got %v", err)
	}
	b.host.Boot = true // it starts after us
	b.wantPlan(nil, want)
}

func TestBindAddress(t *testing.T) {
	for in, want := range map[string]string{
		":143": ":143", "[::]:143": ":143", "0.0.0.0:143": ":143", "127.0.0.1:143": "127.0.0.1:143",
		"[::1]:993": "[::1]:993", "[0:0::1]:993": "[::1]:993", "odd": "odd",
	} {
		if diff := cmp.Diff(want, bindAddress(in)); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
}

// TestDaemonChain: a chain that was mended behind the same leaf is a reload, and another
// certificate or a daemon that does not tell is no difference of the chain.
func TestDaemonChain(t *testing.T) {
	for name, tc := range map[string]struct {
		now, next control.Bundle
		plan      []string
		fault     string
	}{
		"mended": {control.Bundle{Fingerprint: "f", Chain: "leaf"}, control.Bundle{Fingerprint: "f", Chain: "whole"},
			[]string{"action daemon/mailstead-imapd: chain a.example leaf, want whole"}, ""},
		"another certificate": {control.Bundle{Fingerprint: "e", Chain: "old"}, control.Bundle{Fingerprint: "f", Chain: "whole"},
			[]string{"action daemon/mailstead-imapd: certificate a.example e, want f"}, ""},
		"served on": {control.Bundle{Fingerprint: "f", Chain: "leaf"}, control.Bundle{Fingerprint: "f", Chain: "leaf"},
			[]string{"action daemon/mailstead-imapd: chain a.example leaf, want whole"}, "chain a.example is leaf, want whole"},
		"not told": {now: control.Bundle{Fingerprint: "f"}, next: control.Bundle{Fingerprint: "f"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			now, next := status("g", "[::]:143", ""), status("g", "[::]:143", "")
			tc.now.Name, tc.next.Name = "a.example", "a.example"
			now.Bundles, next.Bundles = []control.Bundle{tc.now}, []control.Bundle{tc.next}
			spec := daemonSpec(b.serve(&fakeDaemon{status: now, next: next}), "g", ":143", "f")
			spec.Chains = map[string]string{"a.example": "whole"}
			want := Daemon(spec, "")
			b.wantPlan(tc.plan, want)
			err := b.tryApply(want)
			if tc.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fault) {
					t.Errorf("got %v, want %s", err, tc.fault)
				}
				return
			}
			b.must(err)
			b.wantPlan(nil, want)
		})
	}
}

package main

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/schema"
)

// TestPrune: of the oldest generations those stay that the host may return to.
func TestPrune(t *testing.T) {
	g := generationsOf(t.TempDir())
	for n := 1; n <= keptGenerations+3; n++ {
		if err := g.write(&generation{Version: generationVersion, Number: n}); err != nil {
			t.Fatal(err)
		}
	}
	// What a kill has left of one that was being written or removed is none.
	if err := os.Remove(g.path(5, generationFile)); err != nil {
		t.Fatal(err)
	}
	if err := g.prune(1, keptGenerations+3); err != nil {
		t.Fatal(err)
	}
	got, err := g.list()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(g.path(5)); err == nil {
		t.Error("what is no generation is still there")
	}
	if diff := cmp.Diff([]int{1, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13}, got); diff != "" {
		t.Error(diff)
	}
}

// TestProven: a return leads to what has served, and not to what was left for that.
func TestProven(t *testing.T) {
	g := generationsOf(t.TempDir())
	now := time.Now()
	for n, gen := range []generation{1: {Proved: &now}, 2: {}, 3: {Proved: &now, Left: &departure{To: 1}}, 4: {}, 5: {Proved: &now}} {
		if n > 0 {
			gen.Version, gen.Number = generationVersion, n
			if err := g.write(&gen); err != nil {
				t.Fatal(err)
			}
		}
	}
	for from, want := range []int{0, 1, 1, 1, 1, 5, 5} {
		if got, err := g.proven(from); err != nil || got != want {
			t.Errorf("from %d: %d %v, want %d", from, got, err, want)
		}
	}
}

// TestOvertaken: an apply with nothing to change, which finds one that was cut short, records
// nothing where another one has come before it.
func TestOvertaken(t *testing.T) {
	p := newProposing(t)
	state := p.gate.host.Paths.State
	g := generationsOf(state)
	opts := desired.Options{Rootless: true}
	o := applyOptions{source: source{paths: []string{p.dir}}, opts: opts, yes: true}
	quiet := &console{in: strings.NewReader(""), out: t.Output(), err: t.Output()}
	l, err := o.look(t.Context(), opts, false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	plan, err := l.plan(t.Context(), o)
	if err != nil || len(plan.Changes) > 0 {
		t.Fatalf("%v %v", plan, err)
	}

	p.write("more.cue", `hosts: "mail.example.org": users: walter: password: hash: hosts["mail.example.org"].users.vera.password.hash`)
	other, err := o.look(t.Context(), opts, false)
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	if err := other.applyCurrent(t.Context(), o, quiet); err != nil {
		t.Fatal(err)
	}
	if err := g.setTrying(attempt{ID: "cut short", To: 1}); err != nil {
		t.Fatal(err)
	}
	if err := l.applyGeneration(t.Context(), o, quiet, plan); !errors.Is(err, reconcile.ErrBehind) {
		t.Errorf("it ended with %v", err)
	}
	if host, _, err := readApplied(state); err != nil || len(host.Users) != 2 {
		t.Errorf("the record is of what was overtaken: %v", err)
	}
}

// TestLeftBeforehand: at boot, what the power was cut at is left before anything is made,
// as the power may be cut again; elsewhere not before the end is known.
func TestLeftBeforehand(t *testing.T) {
	for _, boot := range []bool{true, false} {
		g := generationsOf(t.TempDir())
		if err := g.write(&generation{Version: generationVersion, Number: 3}); err != nil {
			t.Fatal(err)
		}
		tr := &trial{attempt: attempt{From: 2, To: 4}, g: g, l: &look{opts: desired.Options{Rootless: true}}, boot: boot, leaves: []int{3}, reason: cutShort}
		if err := tr.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		gen, err := g.read(3)
		if err != nil || (gen.Left != nil) != boot {
			t.Errorf("boot %v: %+v, %v", boot, gen, err)
		}
	}
}

// TestSettledAtBoot: what is in force already is applied at boot, although the power was cut
// before the apply of it had forgotten its attempt.
func TestSettledAtBoot(t *testing.T) {
	p := newProposing(t)
	g := generationsOf(p.gate.host.Paths.State)
	now, err := g.current()
	if err != nil || now == 0 {
		t.Fatal(now, err)
	}
	if err := g.setTrying(attempt{From: now + 7, To: now}); err != nil {
		t.Fatal(err)
	}
	opts := desired.Options{Rootless: true}
	l, err := (&applyOptions{source: source{paths: []string{p.dir}}, opts: opts}).look(t.Context(), opts, false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if stand, err := l.standing(t.Context(), &console{out: t.Output(), err: t.Output()}); stand != l || err != nil {
		t.Errorf("another generation: %v, %v", stand != l, err)
	}
}

// TestReturnWithoutAccount: a return leaves out a user whose account is gone, and says so.
func TestReturnWithoutAccount(t *testing.T) {
	state := t.TempDir()
	host := &schema.Host{
		Name:      "mail.example.org",
		Listeners: []schema.Listener{{Name: "imap", Address: "127.0.0.1", Port: 143, TLS: schema.STARTTLS}},
		TLS:       schema.TLS{Policy: "intermediate", Certificates: []schema.Certificate{{Name: "mail.example.org", Names: []string{"mail.example.org"}, SelfSigned: &schema.SelfSigned{Days: 397}}}},
		Users: []schema.User{
			{Name: "nobody-has-this-account", System: &schema.SystemUser{}, Maildir: "Maildir"},
			{Name: "vera", Virtual: &schema.VirtualUser{PasswordHash: "$2y$05$......................................................"}, Maildir: "/var/mailstead/vera"},
		},
		Probe: &schema.Probe{User: "nobody-has-this-account"},
		Mail:  schema.Mail{Root: "/var/mailstead", User: "mailstead-mail"},
		Paths: schema.Paths{State: state, Run: "/run/mailstead", Bin: "/usr/local/bin", Letsencrypt: "/etc/letsencrypt", Units: "/etc/systemd/system"},
	}
	data, err := encodeApplied(host, desired.Options{})
	if err != nil {
		t.Fatal(err)
	}
	g := generationsOf(state)
	if err := g.putHost(1, data); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	l, err := g.lookAt(t.Context(), &console{out: t.Output(), err: &said}, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if len(l.host.Users) != 1 || l.host.Users[0].Name != "vera" || l.host.Probe != nil {
		t.Errorf("users %v, probe %v", l.host.Users, l.host.Probe)
	}
	if !strings.Contains(said.String(), "nobody-has-this-account") {
		t.Errorf("it does not say who is left out: %s", &said)
	}
}

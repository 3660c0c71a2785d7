package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailstead/reconcile"
)

// secretWord stands in the secret attributes of samplePlan, and must stand in
// no output.
const secretWord = "$argon2id$v=19$hunter2"

// samplePlan holds every kind of line that a plan can have.
func samplePlan() *reconcile.Plan {
	file := func(kind, path, mode, content string, secret bool) *reconcile.Resource {
		return &reconcile.Resource{Ref: reconcile.Ref{Kind: kind, Name: path}, Attrs: []reconcile.Attr{
			{Name: "mode", Value: mode, Impact: reconcile.Live},
			{Name: "owner", Value: "root", Impact: reconcile.Live},
			{Name: "content", Value: content, Secret: secret, Impact: reconcile.Reload},
		}}
	}
	change := func(op reconcile.Op, have, want *reconcile.Resource, origin, reason string, impact reconcile.Impact) reconcile.Change {
		ref := reconcile.Ref{}
		for _, r := range []*reconcile.Resource{have, want} {
			if r != nil {
				ref = r.Ref
			}
		}
		return reconcile.Change{Ref: ref, Op: op, Have: have, Want: want, Origin: origin, Reason: reason, Impact: impact}
	}
	daemon := func(generation string) *reconcile.Resource {
		return &reconcile.Resource{Ref: reconcile.Ref{Kind: "daemon", Name: "mailstead-imapd"}, Attrs: []reconcile.Attr{
			{Name: "generation", Value: generation, Impact: reconcile.Reload, Runs: true},
		}}
	}
	const config = "/var/lib/mailstead/config.json"
	const users = "/var/lib/mailstead/users.ndjson"
	return &reconcile.Plan{
		Host: "mail.example.org",
		Changes: []reconcile.Change{
			change(reconcile.Create, nil, file("file", "/etc/sysusers.d/mailstead.conf", "0644", "u mailstead -\n", false), "default", "does not exist", reconcile.Live),
			change(reconcile.Update, file("daemon-config", config, "0600", "{\n\t\"a\": 1,\n\t\"b\": 2\n}\n", false),
				file("daemon-config", config, "0644", "{\n\t\"a\": 1,\n\t\"b\": 3\n}\n", false), "host.cue:2:2", "mode, content differ", reconcile.Reload),
			change(reconcile.Update, file("password-file", users, "0600", secretWord+"old", true),
				file("password-file", users, "0600", secretWord+"new", true), "host.cue:4:9", "content differs", reconcile.Reload),
			change(reconcile.Create, nil, file("password-file", "/srv/users.ndjson", "0600", secretWord, true), "host.cue:4:9", "does not exist", reconcile.Live),
			change(reconcile.Delete, file("file", "/etc/old\x1b[31m.conf", "0644", "gone\n", false), nil, "host.cue:9:1", "no longer in the description", reconcile.Live),
			change(reconcile.Action, daemon("aaaa"), daemon("bbbb"), "host.cue:1:8", "the daemon serves an older configuration", reconcile.Reload),
		},
		Unchanged: map[string]int{"maildir": 2, "folder": 8, "unit": 0},
		Blocked: []reconcile.Waiting{{
			Ref: reconcile.Ref{Kind: "certificate", Name: "mail.example.org"}, Origin: "host.cue:3:21",
			Reason:  "there is no certbot lineage of this name",
			Command: "certbot certonly --standalone --cert-name mail.example.org -d mail.example.org",
		}, {
			Ref: reconcile.Ref{Kind: "unit", Name: "mailstead-imap.socket"}, Origin: "host.cue:2:13",
			Reason:  "waits for the certificate mail.example.org",
			Command: "certbot certonly --standalone --cert-name mail.example.org -d mail.example.org",
		}},
		Unreadable: []reconcile.Unread{{
			Ref: reconcile.Ref{Kind: "maildir", Name: "alice"}, Origin: "host.cue:4:9", Reason: "/home/alice: permission denied",
		}},
		Notes: []string{"bob can no longer log in; the mail in /home/bob/Maildir is kept"},
	}
}

// driftedPlan is a plan of files that somebody has changed since.
func driftedPlan() *reconcile.Plan {
	p := samplePlan()
	p.Changes = p.Changes[:5]
	for i, d := range []reconcile.Drift{
		{Reason: "it was removed", Only: true},
		{Reason: "mode is 0600, and was 0644; content is not what was applied", Only: true},
		{Reason: "content is not what was applied", Only: true},
		{},
		{Reason: "mode is 0644, and was 0600"},
	} {
		if d.Reason != "" {
			p.Changes[i].Drift = &d
		}
	}
	p.Changes = append(p.Changes, p.Changes[1])
	last := &p.Changes[5]
	last.Drift, last.Reason = &reconcile.Drift{Reason: "mode is 0600, and was 0644"}, "content differs"
	return p
}

func TestPlanOutput(t *testing.T) {
	empty := &reconcile.Plan{Host: "mail.example.org", Unchanged: map[string]int{"maildir": 2, "folder": 8}}
	record := &reconcile.Plan{Host: "mail.example.org", Record: []reconcile.Resource{{Ref: reconcile.Ref{Kind: "file", Name: "/x"}}}}
	for name, write := range map[string]func(w *bytes.Buffer){
		"plan.txt":         func(w *bytes.Buffer) { writePlan(&console{}, w, samplePlan(), false) },
		"plan-verbose.txt": func(w *bytes.Buffer) { writePlan(&console{}, w, samplePlan(), true) },
		"plan-colour.txt":  func(w *bytes.Buffer) { writePlan(&console{colour: true}, w, samplePlan(), false) },
		"plan.json":        func(w *bytes.Buffer) { encodePlan(t, w, samplePlan()) },
		"plan-drift.txt":   func(w *bytes.Buffer) { writePlan(&console{}, w, driftedPlan(), false) },
		"plan-empty.txt":   func(w *bytes.Buffer) { writePlan(&console{}, w, empty, false) },
		"plan-empty.json":  func(w *bytes.Buffer) { encodePlan(t, w, empty) },
		"plan-record.txt":  func(w *bytes.Buffer) { writePlan(&console{}, w, record, false) },
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			write(&got)
			golden(t, name, got.String())
			if strings.Contains(got.String(), secretWord) {
				t.Error("a secret is shown")
			}
			if !strings.Contains(name, "colour") && strings.Contains(got.String(), "\x1b") {
				t.Error("an escape character from outside reaches the terminal")
			}
		})
	}
}

// encodePlan writes a plan as a file holds it.
func encodePlan(t *testing.T, w io.Writer, p *reconcile.Plan) {
	t.Helper()
	s, err := savePlan(p, []byte("key"), reconcile.Description{Host: p.Host, Paths: []string{"/etc/mailstead"}}, reconcile.Selection{}, time.Unix(1795000000, 0))
	if err != nil {
		t.Fatal(err)
	}
	s.Program = "(devel)"
	if err := s.Encode(w); err != nil {
		t.Fatal(err)
	}
}

// golden compares got with a file of testdata, or rewrites it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if os.Getenv("MAILSTEAD_UPDATE") == "1" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs (MAILSTEAD_UPDATE=1 rewrites it):\n%s", path, d)
	}
}

// A new host with many users is told in lines that one can read; -v names all.
func TestManyChanges(t *testing.T) {
	p := &reconcile.Plan{Host: "mail.example.org"}
	for i := range 1000 {
		p.Changes = append(p.Changes, reconcile.Change{
			Ref: reconcile.Ref{Kind: "folder", Name: fmt.Sprintf("u%d/Sent", i)}, Op: reconcile.Create,
			Want: &reconcile.Resource{}, Origin: "host.cue:3:1", Reason: "missing", Impact: reconcile.Live,
		})
	}
	noticed := p.Changes[700]
	noticed.Ref.Name, noticed.Impact = "noticed", reconcile.Restart
	p.Changes[700] = noticed
	show := func(verbose bool) string {
		var out bytes.Buffer
		writePlan(&console{out: &out}, &out, p, verbose)
		return out.String()
	}
	short := show(false)
	if n := strings.Count(short, "\n"); n > 20 {
		t.Errorf("%d lines", n)
	}
	for _, want := range []string{"folder/u9/Sent ", "  + and 989 more of folder: missing (-v names them)\n", "folder/noticed ", "1000 to create"} {
		if !strings.Contains(short, want) {
			t.Errorf("no %q in\n%s", want, short)
		}
	}
	if n := strings.Count(show(true), "folder/u"); n != 999 {
		t.Errorf("-v names %d of 999", n)
	}
}

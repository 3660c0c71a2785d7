package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/schema"
)

// spoiler makes the inventory impossible to write from its first byte on.
type spoiler struct {
	t     *testing.T
	state string
	bytes.Buffer
}

func (s *spoiler) Write(p []byte) (int, error) {
	if err := os.MkdirAll(filepath.Join(s.state, "inventory.json.mailstead~", "x"), 0o700); err != nil {
		s.t.Error(err)
	}
	return s.Buffer.Write(p)
}

// What was done is reported also where it cannot be recorded.
func TestApplyUnrecorded(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(dir, "state")
	host := &schema.Host{
		Name:      "mail.example.org",
		TLS:       schema.TLS{Policy: "intermediate"},
		Listeners: []schema.Listener{{Name: "local", Address: "127.0.0.1", Port: 65143, TLS: schema.Plain}},
		Mail:      schema.Mail{Root: filepath.Join(dir, "mail")},
		Paths:     schema.Paths{State: state, Run: filepath.Join(dir, "run"), Bin: dir},
	}
	l, err := lookAt(t.Context(), host, desired.Options{Rootless: true}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	plan, err := l.compare(t.Context())
	if err != nil || plan.Empty() {
		t.Fatal(plan, err)
	}
	var out bytes.Buffer
	err = l.apply(t.Context(), &console{out: &out, err: &spoiler{t: t, state: state}, progress: true}, plan, 0)
	if err == nil || exitCodeOf(err) != exitPartial || !strings.Contains(err.Error(), "write inventory: ") {
		t.Errorf("got %v with exit code %d, want that of an apply in part", err, exitCodeOf(err))
	}
	if !strings.Contains(out.String(), " changes made.") {
		t.Errorf("what was done is not said:\n%s", &out)
	}
	// Nothing is lost: once the disk is well again, the record follows.
	if err := os.RemoveAll(filepath.Join(state, "inventory.json.mailstead~")); err != nil {
		t.Fatal(err)
	}
	if plan, err = l.compare(t.Context()); err != nil || len(plan.Changes) > 0 || plan.Empty() {
		t.Fatalf("the plan after it: %+v, %v", plan, err)
	}
	if err := l.apply(t.Context(), &console{out: &out, err: &out}, plan, 0); err != nil {
		t.Error(err)
	}
	if plan, err = l.compare(t.Context()); err != nil || !plan.Empty() {
		t.Errorf("the last plan: %+v, %v", plan, err)
	}
}

func TestNeedsRoot(t *testing.T) {
	for _, tc := range []struct {
		rootless bool
		euid     int
		refused  bool
	}{{false, 0, false}, {false, 1000, true}, {true, 1000, false}, {true, 0, false}} {
		err := needsRoot(desired.Options{Rootless: tc.rootless}, tc.euid)
		if (err != nil) != tc.refused {
			t.Errorf("rootless %v as uid %d: %v", tc.rootless, tc.euid, err)
		}
		if err != nil && !strings.HasPrefix(hints(err)[0], "run it as root") {
			t.Errorf("hints: %q", hints(err))
		}
	}
}

func TestProgress(t *testing.T) {
	for pause, want := range map[time.Duration]string{
		0:         "[1/4] file//x\\u000a\r\x1b[K[2/4] file//x\\u000a\r\x1b[K[2/4] file//x\\u000a: failed\n",
		time.Hour: "[1/4] file//x\\u000a\r\x1b[K[2/4] file//x\\u000a: failed\n",
	} {
		var out bytes.Buffer
		p := newProgress(&console{err: &out, progress: true})
		p.pause = pause
		for i, state := range []reconcile.State{reconcile.Done, reconcile.Failed, reconcile.Skipped, reconcile.Skipped} {
			e := reconcile.Event{Index: i, Total: 4, Outcome: reconcile.Outcome{Change: reconcile.Change{Ref: reconcile.Ref{Kind: "file", Name: "/x\n"}}}}
			if state != reconcile.Skipped {
				e.State = reconcile.Started
				p.event(e)
			}
			e.State = state
			p.event(e)
		}
		if out.String() != want {
			t.Errorf("a pause of %v: got  %q\nwant %q", pause, out.String(), want)
		}
	}
}

// Somebody else's file in the place of a copy has an apply end in part; where the copy
// is none of its business, it ends well.
func TestApplyCopiesStay(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	host := rootlessHost(t, dir, "")
	host.TLS.Certificates[0].Stitched = filepath.Join(dir, "imapd.pem")
	if err := os.WriteFile(host.TLS.Certificates[0].Stitched, []byte("made by hand"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := lookAt(t.Context(), host, desired.Options{Rootless: true}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	for _, l.copiesStay = range []bool{false, true} {
		plan, err := l.compare(t.Context())
		if err != nil || len(plan.Blocked) != 1 {
			t.Fatal(plan, err)
		}
		c := &console{out: t.Output(), err: t.Output()}
		if err := l.apply(t.Context(), c, plan, 0); err == nil != l.copiesStay || err != nil && exitCodeOf(err) != exitPartial {
			t.Errorf("copies stay: %v: %v", l.copiesStay, err)
		}
	}
	if data, err := os.ReadFile(host.TLS.Certificates[0].Stitched); err != nil || string(data) != "made by hand" {
		t.Errorf("the file is %q, %v", data, err)
	}
}

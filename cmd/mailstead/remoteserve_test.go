package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/reconcile/target"
	"mailstead/schema"
)

// rootlessHost is a host below one directory.
func rootlessHost(t *testing.T, dir, folders string) *schema.Host {
	t.Helper()
	path := filepath.Join(t.TempDir(), "host.cue")
	text := fmt.Sprintf(`hosts: "mx.example.org": {
	listeners: imap: {address: "127.0.0.1", port: 21143}
	tls: certificates: "mx.example.org": selfSigned: {}
	users: anna: password: hash: "$argon2id$v=19$m=19456,t=2,p=1$N3hKIGORB451CWPPKZwRMw$IfTEqLf8Ud/MG9JJRJLVq+NBs7shwRCMYLhpGxRSL7M"
	folders: {%s}
	mail: root: "%s/mail"
	paths: {state: "%s/state", run: "%s/r"}
}`, folders, dir, dir, dir)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := schema.Load(schema.Options{Inputs: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	return config.Hosts[0]
}

// farEnd is a mailstead remote in this process.
type farEnd struct {
	t     *testing.T
	in    *io.PipeWriter
	out   *target.Reader
	ended chan error
}

func startFar(t *testing.T, planOnly bool) *farEnd {
	in, toFar := io.Pipe()
	fromFar, out := io.Pipe()
	f := &farEnd{t: t, in: toFar, out: target.NewReader(fromFar, 1<<20), ended: make(chan error, 1)}
	go func() {
		f.ended <- (&remote{planOnly: planOnly, out: out}).serve(t.Context(), in)
		out.Close()
	}()
	t.Cleanup(func() { toFar.Close(); fromFar.Close() })
	if _, err := f.out.Next(); err == nil { // the greeting has no kind
		t.Fatal("the far end does not greet")
	}
	return f
}

func (f *farEnd) ask(verb string, q remoteRequest) {
	f.t.Helper()
	if err := target.Write(f.in, verb, q); err != nil {
		f.t.Fatal(err)
	}
}

func (f *farEnd) answer() (a remoteAnswer) {
	f.t.Helper()
	for {
		m, err := f.out.Next()
		if err != nil {
			f.t.Fatal(err)
		}
		if m.Kind == target.Answer {
			if err := json.Unmarshal(m.Body, &a); err != nil {
				f.t.Fatal(err)
			}
			return a
		}
	}
}

// An apply is ended by a Stop, in good order, and not by a connection that breaks.
func TestRemoteEnds(t *testing.T) {
	dir := t.TempDir()
	request := func(folders string) remoteRequest {
		return (&far{key: []byte("key"), opts: desired.Options{Rootless: true}}).request(rootlessHost(t, dir, folders))
	}
	apply := func(f *farEnd, q remoteRequest) {
		f.ask(verbPlan, q)
		for _, s := range f.answer().Steps {
			q.Agreed = append(q.Agreed, s.Exact)
		}
		q.Wait = time.Minute
		f.ask(verbApply, q)
	}
	f := startFar(t, false)
	apply(f, request(""))
	if a := f.answer(); a.Fault != nil {
		t.Fatal(a.Fault.Message)
	}
	lock, err := reconcile.TakeLock(t.Context(), filepath.Join(dir, "state"), 0)
	if err != nil {
		t.Fatal(err)
	}
	apply(f, request("One: {}"))
	f.ask(target.Stop, remoteRequest{})
	if a := f.answer(); a.Fault == nil || !strings.Contains(a.Fault.Message, "canceled") {
		t.Errorf("stopped, it answers %+v", a.Fault)
	}
	one := filepath.Join(dir, "mail/anna/Maildir/.One")
	if _, err := os.Stat(one); err == nil {
		t.Error("stopped, it went on")
	}

	apply(f, request("One: {}"))
	f.in.Close()
	select {
	case err := <-f.ended:
		t.Fatalf("it ended with the connection: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	lock.Release()
	if a := f.answer(); a.Fault != nil {
		t.Error(a.Fault.Message)
	}
	if err := <-f.ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(one); err != nil {
		t.Errorf("what had begun is not done: %v", err)
	}
}

// Who may only plan says where programs are, and has none run that is not ours.
func TestRemoteRunsNothing(t *testing.T) {
	dir := t.TempDir()
	ran := filepath.Join(dir, "ran")
	if err := os.WriteFile(filepath.Join(dir, "mailstead-pam"), []byte("#!/bin/sh\n: > "+ran+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	q := (&far{key: []byte("key"), opts: desired.Options{Rootless: true}}).request(rootlessHost(t, dir, ""))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	linked := t.TempDir()
	if err := os.Symlink(self, filepath.Join(linked, "mailstead")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		planOnly   bool
		bin, state string
		fault      string
	}{
		{true, dir, q.Host.Paths.State, "runs no program but of its own directory"},
		{false, dir, "", "state"},
		{true, filepath.Dir(self), q.Host.Paths.State, ""},
		{true, linked, q.Host.Paths.State, ""},
	} {
		q.Host.Paths.Bin, q.Host.Paths.State = c.bin, c.state
		f := startFar(t, c.planOnly)
		f.ask(verbPlan, q)
		a := f.answer()
		if a.Fault == nil != (c.fault == "") || a.Fault != nil && !strings.Contains(a.Fault.Message, c.fault) {
			t.Errorf("%+v: %+v", c, a.Fault)
		}
		if _, err := os.Stat(ran); err == nil {
			t.Fatalf("%+v: a program was run", c)
		}
	}
}

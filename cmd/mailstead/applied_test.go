package main

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/reconcile/desired"
	"mailstead/schema"
)

func TestApplied(t *testing.T) {
	state, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	host := func(line int) *schema.Host {
		at := schema.Pos{File: "host.cue", Line: line, Col: 2}
		folders := []schema.Folder{{Name: "Sent", Use: "sent", Origin: at}}
		return &schema.Host{
			Name: "mail.example.org", Origin: at, Folders: folders,
			Listeners: []schema.Listener{{Name: "imap", Port: 143, TLS: schema.STARTTLS, Origin: at}},
			TLS:       schema.TLS{Certificates: []schema.Certificate{{Name: "c", Certbot: &schema.Certbot{Lineage: "l"}, Origin: at}}},
			Users: []schema.User{
				{Name: "alice", System: &schema.SystemUser{UID: 1000}, Origin: at},
				{Name: "bob", Virtual: &schema.VirtualUser{PasswordHash: "$6$salt$hash"}, Origin: at, Folders: folders},
			},
			Outbox:  &schema.Outbox{Folder: "Outbox", Origin: at},
			Deliver: &schema.Deliver{Origin: at, LMTP: &schema.LMTP{Origin: at}},
			Paths:   schema.Paths{State: state},
		}
	}
	record := func(line int) os.FileInfo {
		l := &look{host: host(line), opts: desired.Options{Rootless: true}}
		if err := recordApplied(t.Context(), l, 0); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(state, appliedFile))
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	first := record(3)
	if first.Mode() != 0o600 {
		t.Errorf("the file that holds password hashes has the mode %v", first.Mode())
	}
	if !os.SameFile(first, record(7)) {
		t.Error("a description whose lines moved was recorded again")
	}
	got, opts, err := readApplied(state)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(withoutOrigins(host(3)), got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if data, err := os.ReadFile(filepath.Join(state, appliedFile)); err != nil || bytes.Contains(data, []byte("host.cue")) {
		t.Errorf("a place in the description is recorded: %v\n%s", err, data)
	}
	if !opts.Rootless {
		t.Error("it is forgotten that the host is rootless")
	}
	if h := host(3); h.Users[1].Folders[0].Origin.Line != 3 || withoutOrigins(h).Name != h.Name || h.Origin.Line != 3 || h.Listeners[0].Origin.Line != 3 {
		t.Error("the description lost its lines")
	}
}

// TestAppliedWithoutPlaces: whatever has a place in the description, the record of what
// was applied has none, so that a line more is no other state of the host.
func TestAppliedWithoutPlaces(t *testing.T) {
	host := &schema.Host{}
	everywhere(reflect.ValueOf(host).Elem())
	data, err := encodeHost(host, host, desired.Options{})
	if n := bytes.Count(data, []byte("host.cue")); err != nil || n < 12 {
		t.Fatalf("%d places, %v\n%s", n, err, data)
	}
	if data, err := encodeApplied(host, desired.Options{}); err != nil || bytes.Contains(data, []byte("host.cue")) {
		t.Errorf("a place in the description is recorded: %v\n%s", err, data)
	}
	if again, err := encodeHost(host, host, desired.Options{}); err != nil || !bytes.Equal(again, data) {
		t.Errorf("the description lost its lines: %v", err)
	}
}

// everywhere gives a value all that can have a place, and each its place.
func everywhere(v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[schema.Pos]():
		v.Set(reflect.ValueOf(schema.Pos{File: "host.cue", Line: 1, Col: 1}))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			everywhere(v.Field(i))
		}
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		everywhere(v.Elem())
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		everywhere(v.Index(0))
	}
}

// TestNotYet: what is missing on the machine's own host is an apply, which is no advice
// to who has named a directory.
func TestNotYet(t *testing.T) {
	for path, apply := range map[string]bool{defaultState: true, filepath.Join(defaultState, appliedFile): true, "/srv/x/applied.json": false} {
		if got := strings.Contains(strings.Join(hints(notYet(path)), ""), `"mailstead apply" first`); got != apply {
			t.Errorf("%s: advice to apply: %v", path, got)
		}
	}
}

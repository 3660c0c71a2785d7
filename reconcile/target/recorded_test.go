package target

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/oracle"
	"mailstead/reconcile"
	"mailstead/reconcile/kind"
)

func unit(path, content, run string) reconcile.Resource {
	return reconcile.Resource{Ref: reconcile.Ref{Kind: "unit", Name: "u"}, Attrs: []reconcile.Attr{
		{Name: "path", Value: path}, {Name: "run", Value: run}, {Name: "content", Value: content, Impact: reconcile.Restart},
	}}
}

// again writes facts and reads them.
func again(t *testing.T, r *Recorded) *Recorded {
	t.Helper()
	r.FormatVersion, r.Host = FactsFormat, "mx1.example.org"
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "CONTENT") {
		t.Errorf("a content is in the facts: %s", data)
	}
	out, err := ReadFacts(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What looks as if somebody else had written it is not planned away from afar either.
func TestRecordedForeign(t *testing.T) {
	there := unit("/etc/u", "theirs", "up")
	want := unit("/etc/u", "CONTENT", "up")
	r := &Recorded{}
	table := []reconcile.Kind{{Name: "unit", Observe: func(context.Context, []reconcile.Ask) []reconcile.Seen {
		return []reconcile.Seen{{Have: &there, Foreign: &reconcile.Foreign{Reason: "it is theirs"}}}
	}}}
	in := reconcile.Inputs{Host: "h", Want: []reconcile.Resource{want}, Table: r.Record(table), Inventory: &reconcile.Inventory{}}
	for range 2 {
		p, err := reconcile.Compare(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Blocked) != 1 || p.Blocked[0].Reason != "it is theirs" {
			t.Errorf("%+v", p)
		}
		in.Table = again(t, r).Table(table)
	}
}

func TestRecorded(t *testing.T) {
	here := unit("/etc/u", "CONTENT", "up")
	table := func(have *reconcile.Resource, err error) []reconcile.Kind {
		return []reconcile.Kind{{Name: "unit", Observe: func(_ context.Context, asks []reconcile.Ask) []reconcile.Seen {
			return []reconcile.Seen{{Have: have, Err: err}}
		}}}
	}
	for _, test := range []struct {
		name string
		have *reconcile.Resource
		err  error
		want reconcile.Resource
		plan string // operation, or why it is not compared
	}{
		{"the same", &here, nil, here, ""},
		{"another content", &here, nil, unit("/etc/u", "other", "up"), "update content differs"},
		{"what is not looked at", &here, nil, unit("/etc/u", "CONTENT", "down"), ""},
		{"another place", &here, nil, unit("/run/u", "CONTENT", "up"), `the facts are about the path "/etc/u"`},
		{"nothing", nil, nil, here, "create missing"},
		{"nothing at another place", nil, nil, unit("/run/u", "CONTENT", "up"), `the facts are about the path "/etc/u"`},
		{"unreadable", nil, errors.New("not allowed"), here, "not allowed"},
	} {
		r := &Recorded{}
		in := reconcile.Inputs{Host: "h", Want: []reconcile.Resource{here}, Table: r.Record(table(test.have, test.err)), Inventory: &reconcile.Inventory{}}
		if _, err := reconcile.Compare(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		r = again(t, r)
		in.Want, in.Table = []reconcile.Resource{test.want}, r.Table(table(nil, errors.New("the host was asked")))
		p, err := reconcile.Compare(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if len(p.Changes) > 0 {
			got = string(p.Changes[0].Op) + " " + p.Changes[0].Reason
		} else if len(p.Unreadable) > 0 {
			got = p.Unreadable[0].Reason
		}
		if got != test.plan {
			t.Errorf("%s: %q, want %q", test.name, got, test.plan)
		}
		if !r.Knows(here.Ref) || r.Knows(reconcile.Ref{Kind: "unit", Name: "other"}) {
			t.Errorf("%s: what was looked for is not known", test.name)
		}
	}
}

// A certificate from a source that nobody looked at is not taken for one that is there.
func TestFactsFor(t *testing.T) {
	spec := kind.CertificateSpec{Name: "a", Names: []string{"a"}, Source: kind.Certbot, Certificate: "/l/a/fullchain.pem", Key: "/l/a/privkey.pem"}
	r := &Recorded{Facts: reconcile.Facts{Certificates: map[string]reconcile.Certificate{"a": {Fingerprint: "f", Installed: "i"}}}, Sources: map[string]kind.CertificateSpec{"a": spec}}
	other := spec
	other.Certificate = "/l/b/fullchain.pem"
	added := kind.CertificateSpec{Name: "own", Source: kind.SelfSigned}
	f := r.FactsFor(Request{Certificates: []kind.CertificateSpec{spec, added}})
	if diff := cmp.Diff(r.Facts.Certificates, f.Certificates); diff != "" {
		t.Error(diff)
	}
	f = r.FactsFor(Request{Certificates: []kind.CertificateSpec{other}})
	if c := f.Certificates["a"]; c.Unreadable == "" || c.Fingerprint != "" || c.Installed != "i" {
		t.Errorf("%+v", c)
	}
}

func TestAddPeople(t *testing.T) {
	f := reconcile.Facts{Accounts: map[string]reconcile.Account{"vmail": {UID: 1005}}}
	addPeople(&f, "root:x:0:0::/root:/bin/sh\nanna:x:1000:1001::/home/anna:/bin/sh\nvmail:x:1005:1005::/x:/x\nnobody:x:65534:65534::/:/x\nbroken:x:1003\n:x:y\n", "root:x:0:\nusers:x:1001:anna\n\n")
	want := map[string]reconcile.Account{"vmail": {UID: 1005}, "anna": {UID: 1000, GID: 1001, Home: "/home/anna", Group: "users"}}
	if diff := cmp.Diff(want, f.Accounts); diff != "" {
		t.Error(diff)
	}
}

// Whatever a file of facts holds, a plan by it ends, and finds nothing but what
// it is asked for.
func FuzzReadFacts(f *testing.F) {
	f.Add([]byte(`{"format_version":1,"host":"h","facts":{},"inventory":{"version":1,"resources":[{"ref":{"kind":"unit","name":"v"},"attrs":[]}]},"seen":[{"ref":{"kind":"unit","name":"u"},"place":{"path":"/etc/u"},"have":{"attrs":[{"name":"content","value":"x"},{"name":"run","value":"z"}]}}]}`))
	f.Add([]byte(`{"format_version":1,"host":"h","seen":[{"ref":{"kind":"unit","name":"u"},"error":"no"},{"ref":{}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r *Recorded
		var err error
		if oracle.Cost(t, len(data), func() { r, err = ReadFacts(bytes.NewReader(data)) }); err != nil {
			return
		}
		inv := r.Inventory
		if inv == nil {
			inv = &reconcile.Inventory{}
		}
		r.FactsFor(Request{Certificates: []kind.CertificateSpec{{Name: "a"}}})
		want := unit("/etc/u", "c", "up")
		p, err := reconcile.Compare(t.Context(), reconcile.Inputs{Want: []reconcile.Resource{want}, Table: r.Table([]reconcile.Kind{{Name: "unit"}}), Inventory: inv})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range p.Changes {
			if c.Have != nil && c.Want != nil && c.Have.Ref != want.Ref {
				t.Fatalf("found %s for %s", c.Have.Ref, want.Ref)
			}
		}
	})
}

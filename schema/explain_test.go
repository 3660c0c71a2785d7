package schema

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// base is what the examples need around them to be a description.
const base = `hosts: "mail.example.org": {
	listeners: imap: {}
	policies: staff: {}
	users: alice: {}
	tls: certificates: "mail.example.org": _
	tls: certificates: "base.example.org": selfSigned: {}
}
`

// What explain shows as an example is a description: whoever pastes it is told
// of nothing but what else has to be said beside it.
func TestExamplesOfFields(t *testing.T) {
	fields, err := Fields()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "host.cue")
	for _, f := range fields {
		if err := os.WriteFile(name, []byte(base+f.Example), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(Options{Inputs: []string{name}})
		var faults Diagnostics
		errors.As(err, &faults)
		faults = slices.DeleteFunc(faults, func(d Diagnostic) bool { return d.Code == CodeMissing || d.Code == CodeIncomplete })
		if len(faults) > 0 {
			t.Errorf("%s: %s\n%v", f.Path, f.Example, faults)
		}
	}
}

// What stands in a list is explained by the list, and not by the type of its elements.
func TestExplainElement(t *testing.T) {
	for _, path := range []string{"hosts.NAME.listeners.NAME.capabilities.off", "capabilities.off"} {
		whole, err := Explain(path, false)
		if err != nil {
			t.Fatal(err)
		}
		if element, err := Explain(path+".0", false); err != nil || cmp.Diff(whole, element) != "" {
			t.Errorf("%s.0: %v\n%s", path, err, cmp.Diff(whole, element))
		}
	}
}

// A path may be whole or only its end, with names of one's own in it.
func TestExplain(t *testing.T) {
	for path, want := range map[string][]string{
		"":                               {""},
		"hosts":                          {"hosts"},
		"hosts.m":                        {"hosts.NAME"},
		"hosts.NAME.listeners.NAME.port": {"hosts.NAME.listeners.NAME.port"},
		`hosts."mail.example.org".listeners.imap.port`: {"hosts.NAME.listeners.NAME.port"},
		"users.alice.quota":                            {"hosts.NAME.users.NAME.quota"},
		"quota.storage":                                {"hosts.NAME.quota.storage", "hosts.NAME.users.NAME.quota.storage"},
		`hosts.m.tls.certificates.a.names[0]`:          {"hosts.NAME.tls.certificates.NAME.names"},
	} {
		list, err := Explain(path, false)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		var got []string
		for _, e := range list {
			got = append(got, e.Path)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", path, diff)
		}
	}
}

func TestExplainUnknown(t *testing.T) {
	for path, near := range map[string]string{
		"hosts.NAME.user":             "hosts.NAME.users",
		"hosts.NAME.user.alice.quota": "hosts.NAME.users.NAME.quota",
		"hosts.NAME.port":             "hosts.NAME.listeners.NAME.port",
		"lisners":                     "hosts.NAME.listeners",
		"hosts.m.listeners.imap.prot": "hosts.NAME.listeners.NAME.port",
		"hosts.m.namespace.prefix":    "",
		"quota.stroage":               "hosts.NAME.quota.storage",
		"host":                        "hosts",
		"frobnicate":                  "",
	} {
		_, err := Explain(path, false)
		var unknown *UnknownFieldError
		if !errors.As(err, &unknown) {
			t.Errorf("%s: %v", path, err)
		} else if unknown.Near != near {
			t.Errorf("%s: near %q, want %q", path, unknown.Near, near)
		}
	}
}

// The fields of a struct are those right below it; deep gives all of them.
func TestExplainBelow(t *testing.T) {
	for _, test := range []struct {
		path string
		deep bool
		want []string
	}{
		{"", false, []string{"hosts"}},
		{"tls", false, []string{"hosts.NAME.tls.policy", "hosts.NAME.tls.certificates", "hosts.NAME.tls.default"}},
		{"sharing.virtual", true, nil},
		{"policies", true, []string{"hosts.NAME.policies.NAME.folders", "hosts.NAME.policies.NAME.folders.NAME.use", "hosts.NAME.policies.NAME.folders.NAME.subscribe", "hosts.NAME.policies.NAME.folders.NAME.purge", "hosts.NAME.policies.NAME.folders.NAME.purge.after"}},
	} {
		list, err := Explain(test.path, test.deep)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(list, func(e Explanation) bool { return len(list) == 1 || e.Path == "hosts.NAME."+test.path })
		var got []string
		for _, f := range list[i].Below {
			if got = append(got, f.Path); f.Doc == "" || f.Type == "" || f.Example == "" {
				t.Errorf("not explained: %+v", f)
			}
		}
		if test.path == "tls" {
			got = slices.DeleteFunc(got, func(p string) bool { return !slices.Contains(test.want, p) }) // there may be more
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", test.path, diff)
		}
	}
}

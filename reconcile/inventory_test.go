package reconcile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInventoryFile(t *testing.T) {
	state := t.TempDir()
	inv, err := ReadInventory(state)
	if err != nil || len(inv.entries) != 0 {
		t.Fatal(inv, err)
	}
	secret := Resource{Ref: Ref{"password-file", "/b"}, Origin: "a.cue:1:2", Attrs: []Attr{{Name: "content", Value: "hunter2", Secret: true}}}
	inv.begin([]Change{{Ref: secret.Ref, Want: &secret}, {Ref: Ref{"file", "/a"}, Want: &Resource{Ref: Ref{"file", "/a"}, Attrs: []Attr{{Name: "content", Value: "text"}}}}})
	inv.settle(Change{Ref: secret.Ref, Want: &secret})
	if err := inv.write(state); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(state, InventoryFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
"version": 1,
"resources": [
{"ref":{"kind":"file","name":"/a"},"attrs":[{"name":"content","value":"sha256:982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"}],"pending":true},
{"ref":{"kind":"password-file","name":"/b"},"origin":"a.cue:1:2","attrs":[{"name":"content","value":"sha256:f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7","secret":true}]}
]
}
`
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st.Mode(), err)
	}
	again, err := ReadInventory(state)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(inv.entries, again.entries); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	if !again.holds(&secret) {
		t.Error("the digest is not taken for the content that it is of")
	}
}

func TestInventoryRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{"version": 2, "resources": []}`:                        "version 2, and this program knows 1: use the version of mailstead that wrote it",
		`{"version": 1, "resources": [{"ref":{"kind":"file"}}]}`: "a resource without a name: put back a copy",
		`{"version": 1, "resources": [`:                          "unexpected end of JSON input: put back a copy of the file, or move it away",
		`{"version": 1, "resources": [7]}`:                       "cannot unmarshal",
	} {
		state := t.TempDir()
		if err := os.WriteFile(filepath.Join(state, InventoryFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadInventory(state); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), state) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
		if _, err := Compare(t.Context(), Inputs{State: state}); err == nil {
			t.Errorf("%s: a plan was made without the inventory", text)
		}
	}
}

func TestInventoryUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	state := t.TempDir()
	if err := os.WriteFile(filepath.Join(state, InventoryFile), nil, 0o000); err != nil {
		t.Fatal(err)
	}
	p, err := Compare(t.Context(), Inputs{State: state})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "cannot be read") {
		t.Errorf("notes: %q", p.Notes)
	}
}

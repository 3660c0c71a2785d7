package schema_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/schema"
)

func load(t *testing.T, inputs ...string) *schema.Config {
	t.Helper()
	config, err := schema.Load(schema.Options{Inputs: inputs})
	if err != nil {
		t.Fatalf("refused:\n%v", err)
	}
	return config
}

func TestExamples(t *testing.T) {
	entries, err := os.ReadDir("../examples")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) < 3 {
		t.Errorf("%d examples, want at least 3", len(entries))
	}
	for _, e := range entries {
		if config := load(t, filepath.Join("../examples", e.Name())); len(config.Hosts) == 0 {
			t.Errorf("%s: no host", e.Name())
		}
	}
}

// The quickstart must work for somebody who has nothing but Go: no account, no
// certbot, nothing that others could connect to.
func TestQuickstart(t *testing.T) {
	h := load(t, "../examples/quickstart").Hosts[0]
	for _, l := range h.Listeners {
		if l.Address != "127.0.0.1" {
			t.Errorf("listener %s is on %q", l.Name, l.Address)
		}
	}
	if len(h.Users) != 1 || h.Users[0].Virtual == nil || h.Users[0].Name != "demo" {
		t.Errorf("users are %v, want the virtual user demo", h.Users)
	}
	if c := h.TLS.Certificates; len(c) != 1 || c[0].SelfSigned == nil {
		t.Errorf("certificates are %v, want a self-signed one", c)
	}
}

// What users of two domains share and do not share.
func TestFamily(t *testing.T) {
	h := load(t, "../examples/family").Hosts[0]
	got := map[string]string{}
	for _, u := range h.Users {
		var names []string
		for _, f := range u.Folders {
			names = append(names, f.Name)
		}
		got[u.Name] = u.Maildir + ": " + strings.Join(names, " ")
		if !strings.HasPrefix(u.Origin.String(), "users.json:") && !strings.HasPrefix(u.Origin.String(), "host.cue:") {
			t.Errorf("%s has the origin %v", u.Name, u.Origin)
		}
	}
	want := map[string]string{
		"anna@example.org":  "/var/vmail/anna@example.org/Maildir: Archive Archive.2025 Archive.2026 Drafts Junk Sent Trash",
		"ben@example.net":   "/var/vmail/ben@example.net/Maildir: Drafts Junk Sent Trash",
		"clara@example.org": "/var/vmail/clara@example.org/Maildir: Sent Trash",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if h.TLS.Default != "mail.example.org" {
		t.Errorf("certificate without SNI is %q, want that of the host's name", h.TLS.Default)
	}
}

func TestStarter(t *testing.T) {
	text, err := schema.Starter("mail.example.org")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "host.cue")
	write(t, name, text)
	h := load(t, name).Hosts[0]
	if h.Name != "mail.example.org" || len(h.Listeners) != 2 || len(h.Users) != 0 || len(h.Folders) != 5 {
		t.Errorf("unexpected host: %+v", h)
	}
	for _, bad := range []string{"", "Mail.example.org", "mail\n", `x": {}, "y`, "192.0.2.1", "\\(x)"} {
		if _, err := schema.Starter(bad); err == nil || !strings.Contains(err.Error(), "must be a DNS name") {
			t.Errorf("Starter(%q): %v, want a refusal", bad, err)
		}
	}
}

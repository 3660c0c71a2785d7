package schema_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"mailstead/schema"
)

// A directory with the vendored schema is the same description as without it,
// right or wrong, to the word.
func TestVendorChangesNothing(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for _, f := range ar.Files[:len(ar.Files)-1] { // the last one is what is expected
				write(t, filepath.Join(dir, f.Name), f.Data)
			}
			t.Chdir(dir)
			opts := options(string(ar.Comment))
			if len(opts.Inputs) != 1 || opts.Inputs[0] != "." {
				t.Skip("not a directory")
			}
			_, before := schema.Load(opts)
			if _, err := schema.Vendor("."); err != nil {
				t.Skip(err) // nothing can be said of its packages
			}
			seen++
			_, after := schema.Load(opts)
			if strings.HasSuffix(name, "bad-import-no-module.txtar") {
				return // there is a module now
			}
			if diff := cmp.Diff(textOf(before), textOf(after)); diff != "" {
				t.Errorf("-before +after:\n%s", diff)
			}
		})
	}
	if seen < 50 {
		t.Errorf("compared %d descriptions, want at least 50", seen)
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Vendor writes what is not there yet, removes what it had written, and leaves
// what is somebody else's.
func TestVendorAgain(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "host.cue"), []byte(wholeHost))
	written, err := schema.Vendor(dir)
	if err != nil || len(written) < 5 {
		t.Fatalf("wrote %v, %v", written, err)
	}
	stale := filepath.Join(dir, "cue.mod/pkg/mailstead.local/schema/old.cue")
	write(t, stale, []byte("package schema\n"))
	if written, err = schema.Vendor(dir); err != nil || len(written) != 0 {
		t.Errorf("the second time: wrote %v, %v", written, err)
	}
	if _, err := os.Stat(stale); err == nil {
		t.Error("a file that the schema no longer has is still there")
	}
	own := filepath.Join(dir, "mailstead_schema.cue")
	write(t, own, []byte("_mine: 1\n"))
	if _, err := schema.Vendor(dir); err == nil {
		t.Error("a file of the operator's was replaced")
	}
	if text, _ := os.ReadFile(own); !bytes.Equal(text, []byte("_mine: 1\n")) {
		t.Errorf("the operator's file is %q", text)
	}
}

const wholeHost = `package mail

hosts: "mail.example.org": {
	listeners: imap: {}
	tls: certificates: "mail.example.org": selfSigned: {}
	users: alice: {}
	folders: Sent: use: "sent"
}
`

// TestVendorCUE asks the cue command itself, of the version that this program
// is built with.
func TestVendorCUE(t *testing.T) {
	if os.Getenv("MAILSTEAD_E2E") != "1" {
		t.Skip("needs to build the cue command: set MAILSTEAD_E2E=1")
	}
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^\s*cuelang.org/go (v\S+)$`).FindSubmatch(mod)
	bin := t.TempDir()
	install := exec.Command("go", "install", "cuelang.org/go/cmd/cue@"+string(version[1]))
	install.Env = append(os.Environ(), "GOBIN="+bin, "GOFLAGS=-trimpath", "CGO_ENABLED=0")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, test := range map[string]struct{ old, new, want string }{
		"right":            {"", "", ""},
		"field of a user":  {"alice: {}", "alice: qouta: 5", `hosts."mail.example.org".users.alice.qouta: field not allowed`},
		"field of a host":  {"users: alice", "usrs: alice", `hosts."mail.example.org".usrs: field not allowed`},
		"field at the top": {"hosts: \"mail", "hsots: \"mail", `hsots: field not allowed`},
		"value":            {`"sent"`, `"snet"`, `must be "all", "archive"`},
		"name":             {`"mail.example.org": {`, `"Mail": {`, `hosts.Mail: field not allowed`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "host.cue"), []byte(wholeHost))
			if _, err := schema.Vendor(dir); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "host.cue"), []byte(strings.Replace(wholeHost, test.old, test.new, 1)))
			cmd := exec.Command(filepath.Join(bin, "cue"), "vet")
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if (err == nil) != (test.want == "") || !strings.Contains(string(out), test.want) {
				t.Errorf("%v\n%s\nwant %s", err, out, test.want)
			}
		})
	}
}

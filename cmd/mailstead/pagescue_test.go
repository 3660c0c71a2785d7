package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mailstead/schema"
)

var (
	// setInCUE matches a description, or a part of one, that is set in.
	setInCUE = regexp.MustCompile(`(?m)^    [a-z]+: .*\n(?:(?:    .*)?\n)*`)
	// shortHash matches a hash that a page does not write out.
	shortHash = regexp.MustCompile(`"\$argon2id\$[^"]*\.\.\."`)
	// hostNamed matches where a description names a host.
	hostNamed = regexp.MustCompile(`hosts: (?:\{\s*)?"`)
)

// around is what a part of a description may be a part of: each host has a certificate,
// one of them, or none but those of the part.
var around = []string{
	"hosts: [Name=_]: tls: certificates: (Name): selfSigned: {}\n",
	"hosts: \"mail.example.org\": tls: certificates: \"mail.example.org\": selfSigned: {}\n",
	"",
}

// describes tells why a part of a description is none.
func describes(t *testing.T, part string) (fault error) {
	t.Helper()
	cue := shortHash.ReplaceAllString(part, `"$$argon2id$$v=19$$m=19456,t=2,p=1$$N3hKIGORB451CWPPKZwRMw$$IfTEqLf8Ud/MG9JJRJLVq+NBs7shwRCMYLhpGxRSL7M"`)
	if !hostNamed.MatchString(cue) && !strings.Contains(cue, "hosts: [") {
		cue = "hosts: \"mail.example.org\": {\n" + cue + "}\n"
	}
	for _, rest := range around {
		file := filepath.Join(t.TempDir(), "host.cue")
		if err := os.WriteFile(file, []byte(cue+rest+"hosts: \"mail.example.org\": {listeners: imap: {}, users: alice: {}}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := schema.Load(schema.Options{Inputs: []string{file}})
		if err == nil {
			return nil
		}
		if fault == nil {
			fault = err
		}
	}
	return fault
}

// TestPagesDescribe: what a page says that a description may have, one may have.
func TestPagesDescribe(t *testing.T) {
	seen := 0
	for _, name := range allPages(t) {
		text, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		parts := setInCUE.FindAllString(outside(string(text)), -1)
		for _, f := range fences(t, name) {
			if f.lang == "cue" && f.file() == "" {
				parts = append(parts, f.text)
			}
		}
		for _, part := range parts {
			seen++
			if err := describes(t, part); err != nil {
				t.Errorf("docs/%s: no description has\n%s%v", name, part, err)
			}
		}
	}
	if seen < 15 {
		t.Errorf("%d parts of descriptions were found", seen)
	}
}

package render

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"mailstead/schema"
)

// TestSocketsAreTaken: no description puts a socket of its own where one of ours is.
func TestSocketsAreTaken(t *testing.T) {
	text, err := os.ReadFile("place.go")
	if err != nil {
		t.Fatal(err)
	}
	sockets := regexp.MustCompile(`p\.Run \+ "(-[^"]*)"`).FindAllSubmatch(text, -1)
	if len(sockets) < 6 {
		t.Fatalf("%d sockets in place.go", len(sockets))
	}
	dir := t.TempDir()
	for _, m := range append(sockets, [][]byte{nil, []byte("-metrics")}) {
		host := fmt.Sprintf(`hosts: "mail.example.org": {
	listeners: imap: {}
	tls: certificates: "mail.example.org": selfSigned: {}
	metrics: socket: "/run/mailstead%s"
}
`, m[1])
		if err := os.WriteFile(filepath.Join(dir, "host.cue"), []byte(host), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := schema.Load(schema.Options{Inputs: []string{dir}})
		if free := string(m[1]) == "-metrics"; (err == nil) != free {
			t.Errorf("/run/mailstead%s: %v", m[1], err)
		}
	}
}

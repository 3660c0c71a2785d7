package schema

import (
	"os"
	"path/filepath"
	"testing"
)

// A description is read as if a data file were there, or were another one.
func TestInstead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("host.cue", "hosts: m: {listeners: imap: {address: \"127.0.0.1\", tls: \"none\"}, users: a: {}}")
	users := func(instead map[string][]byte) int {
		t.Helper()
		c, err := Load(Options{Inputs: []string{dir}, Instead: instead})
		if err != nil {
			t.Fatal(err)
		}
		return len(c.Hosts[0].Users)
	}
	more := map[string][]byte{"web.json": []byte(`{"hosts": {"m": {"users": {"b": {}, "c": {}}}}}`)}
	if n := users(more); n != 3 {
		t.Errorf("%d users with a file that is not there", n)
	}
	write("web.json", `{"hosts": {"m": {"users": {"d": {}}}}}`)
	if n := users(nil); n != 2 {
		t.Errorf("%d users", n)
	}
	if n := users(more); n != 3 {
		t.Errorf("%d users with another file", n)
	}
	_, err := Load(Options{Inputs: []string{dir}, Instead: map[string][]byte{"web.json": []byte(`{"hosts": {"m": {"typo": {}}}}`)}})
	if err == nil {
		t.Error("what is wrong in it was not found")
	}
}

package store

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNameless: a directory whose name is none of a mailbox ends no LIST, as it
// does with Courier, and is told of once.
func TestNameless(t *testing.T) {
	dir := newMaildir(t)
	for _, name := range []string{".bad\xff", ".a..b", ".Good"} {
		if err := os.MkdirAll(filepath.Join(dir, name, "cur"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	a := openWith(t, Options{Maildir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 2 {
		list, err := a.List(t.Context())
		if err != nil || len(list) != 2 || list[1].Name != "Good" {
			t.Fatalf("%+v, %v", list, err)
		}
	}
	if got := log.String(); strings.Count(got, "are not shown") != 1 || strings.Count(got, "maildir=") != 1 || !strings.Contains(got, "count=2 first=.a..b") {
		t.Errorf("log: %s", got)
	}
}

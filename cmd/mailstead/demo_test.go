package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-message"

	"mailstead/imapserver/maildir"
)

func TestDemoPassword(t *testing.T) {
	if ok, err := verify(demoHash, demoPassword); err != nil || !ok {
		t.Errorf("the demo password does not verify: %v", err)
	}
}

// TestDeliverDemo sees that the messages arrive as whole MIME messages, each
// at the time of its Date, in files whose names tell their true size.
func TestDeliverDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "Maildir")
	if err := maildir.MakeTree(dir, false); err != nil {
		t.Fatal(err)
	}
	if err := deliverDemo(dir); err != nil {
		t.Fatal(err)
	}
	if rest, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(rest) > 0 {
		t.Errorf("%d files are left in tmp", len(rest))
	}
	files, err := os.ReadDir(filepath.Join(dir, "new"))
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]int{}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, "new", f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if size := fmt.Sprintf(",S=%d", len(text)); !strings.HasSuffix(f.Name(), size) {
			t.Errorf("%s: the name does not end in %s", f.Name(), size)
		}
		m, err := message.Read(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", f.Name(), err)
		}
		if info, _ := f.Info(); info.ModTime().Year() != 2026 || info.ModTime().Month() != 7 {
			t.Errorf("%s arrived at %v", f.Name(), info.ModTime())
		}
		if subject, err := m.Header.Text("Subject"); err != nil || subject == "" {
			t.Errorf("%s: subject %q, %v", f.Name(), subject, err)
		}
		err = m.Walk(func(_ []int, part *message.Entity, err error) error {
			if err != nil {
				return err
			}
			kind, _, _ := part.Header.ContentType()
			types[kind]++
			if part.MultipartReader() == nil {
				_, err = io.Copy(io.Discard, part.Body)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", f.Name(), err)
		}
	}
	if len(files) < 3 {
		t.Errorf("%d messages", len(files))
	}
	for _, kind := range []string{"text/plain", "text/html", "text/csv", "image/png", "multipart/alternative", "multipart/mixed"} {
		if types[kind] == 0 {
			t.Errorf("no part of type %s to look at", kind)
		}
	}
}

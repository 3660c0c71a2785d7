package maildir

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What a Maildir has is not counted twice where a list is of two looks.
func TestJoinedIsCountedOnce(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"cur/1.a.b:2,S", "cur/2.a.b,S=5:2,", "new/3.a.b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("hello"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := OpenFolder(dir, &Ops{Joined: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := f.List(Cur)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if names := slices.Sorted(l.All()); l.Len() != 4 || len(names) != 2 || names[0] != "1.a.b:2,S" {
		t.Errorf("%d entries, %q", l.Len(), names)
	}
	if u, err := f.count(Cur); u != (Usage{10, 2}) || err != nil {
		t.Errorf("counted %v %v", u, err)
	}
	if u, err := f.Settle(); u != (Usage{15, 3}) || err != nil {
		t.Errorf("settled %v %v", u, err)
	}
}

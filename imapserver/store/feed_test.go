package store

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// await gives what a Feed tells until it has told of a mailbox, or of the list.
func await(t *testing.T, f *Feed, want string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case <-f.Wake():
		case <-deadline:
			t.Fatalf("not told of %q", want)
		}
		news, err := f.Take()
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(news.Changed, want) || news.List && want == "list" || slices.Contains(f.Renamed(), Renamed{"A", want}) {
			return
		}
	}
}

// rest waits until a Feed has nothing more to tell.
func rest(t *testing.T, f *Feed) {
	t.Helper()
	for {
		select {
		case <-f.Wake():
			if _, err := f.Take(); err != nil {
				t.Fatal(err)
			}
		case <-time.After(100 * time.Millisecond):
			return
		}
	}
}

func TestFeed(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	for _, name := range []string{"A", "B"} {
		if err := a.Create(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	f, err := a.Feed(func(name string) bool { return name != "B" })
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rest(t, f)

	arrive := func(box, name string) { deliver(t, filepath.Join(dir, box), name, "a: b\n\nc\n") }
	arrive(".A", "1.a.x")
	await(t, f, "A")
	rest(t, f)
	arrive(".B", "1.b.x") // is not asked for
	select {
	case <-f.Wake():
		t.Error("told of a mailbox that does not match")
	case <-time.After(200 * time.Millisecond):
	}

	// Keywords change nothing in the directory.
	v := selectBox(t, a, "A", false)
	rest(t, f)
	if err := v.Store(t.Context(), []SeqNum{1}, StoreAdd, []imap.Flag{"$Work"}); err != nil {
		t.Fatal(err)
	}
	await(t, f, "A")
	rest(t, f)

	// A renamed mailbox goes on being told of, by Feed and View alike.
	if err := a.Rename(t.Context(), "A", "C"); err != nil {
		t.Fatal(err)
	}
	await(t, f, "C")
	rest(t, f)
	arrive(".C", "2.a.x")
	await(t, f, "C")
	select {
	case <-v.Wake():
	case <-time.After(10 * time.Second):
		t.Error("the view is not told")
	}
	if err := a.Subscribe(t.Context(), "C", true); err != nil {
		t.Fatal(err)
	}
	await(t, f, "list")

	// Another program makes a mailbox and delivers to it.
	for _, sub := range []string{"", "new", "cur", "tmp"} {
		if err := os.Mkdir(filepath.Join(dir, ".D", sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	await(t, f, "list")
	rest(t, f)
	arrive(".D", "1.d.x")
	await(t, f, "D")
}

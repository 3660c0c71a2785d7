package store

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// newMaildir makes an empty Maildir.
func newMaildir(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "Maildir")
	if err := maildir.MakeTree(dir, false); err != nil {
		t.Fatal(err)
	}
	return dir
}

// openAccount opens one and closes it at the end.
func openAccount(t testing.TB, dir string) *Account {
	t.Helper()
	return openWith(t, Options{Maildir: dir})
}

// openUnwatched opens one in which nothing happens unless it is asked for.
func openUnwatched(t testing.TB, dir string) *Account {
	t.Helper()
	return openWith(t, Options{Maildir: dir, unwatched: true})
}

func openWith(t testing.TB, o Options) *Account {
	t.Helper()
	a, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

// reopen closes an account and opens it anew.
func reopen(t testing.TB, a *Account) *Account {
	t.Helper()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return openAccount(t, a.dir)
}

func selectBox(t testing.TB, a *Account, name string, readOnly bool) *View {
	t.Helper()
	v, err := a.Select(context.Background(), name, readOnly)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func appendMessage(t testing.TB, a *Account, name, text string, flags ...imap.Flag) imap.UID {
	t.Helper()
	_, uid, err := tryAppend(a, name, text, time.Time{}, flags...)
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

func tryAppend(a *Account, name, text string, date time.Time, flags ...imap.Flag) (uint32, imap.UID, error) {
	d, err := a.NewDraft(context.Background(), name)
	if err != nil {
		return 0, 0, err
	}
	if _, err := io.WriteString(d, text); err != nil {
		d.Abort()
		return 0, 0, err
	}
	return d.Commit(context.Background(), flags, date)
}

func poll(t testing.TB, v *View) []Update {
	t.Helper()
	u, err := v.Poll(context.Background(), true, true)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// deliver puts a message into new as a delivery agent does.
func deliver(t testing.TB, box, name, text string) {
	t.Helper()
	tmp := filepath.Join(box, "tmp", name)
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(box, "new", name)); err != nil {
		t.Fatal(err)
	}
}

// lines shows the messages of a view: uid and flags.
func lines(v *View) []string {
	var all []string
	for n := range v.Len() {
		m := v.At(SeqNum(n + 1))
		var flags []string
		for _, f := range m.Flags {
			flags = append(flags, string(f))
		}
		all = append(all, strings.Join(append([]string{uidString(m.UID)}, flags...), " "))
	}
	return all
}

func uidString(uid imap.UID) string {
	return imap.UIDSetNum(uid).String()
}

func read(t testing.TB, v *View, n SeqNum) string {
	t.Helper()
	data, err := v.Read(context.Background(), n)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// files gives the names in a directory, sorted.
func files(t testing.TB, dir ...string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir...))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

// untar unpacks testdata/name into a new directory.
func untar(t testing.TB, name string) string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, h.Name)
		if h.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if h.Typeflag == tar.TypeLink {
			if err := os.Link(filepath.Join(dir, h.Linkname), path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, h.ModTime, h.ModTime); err != nil {
			t.Fatal(err)
		}
	}
}

// copyTree copies a tree with its times.
func copyTree(t testing.TB, to, from string) {
	t.Helper()
	if err := copyDir(to, from); err != nil {
		t.Fatal(err)
	}
}

// copyDir is copyTree for who goes on where it fails.
func copyDir(to, from string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chtimes(filepath.Join(to, strings.TrimPrefix(path, from)), st.ModTime(), st.ModTime())
	})
}

// here is a mailbox of the view's own account.
func here(v *View, name string) Target {
	return Target{Account: v.mb.a, Mailbox: name, Rights: AllRights}
}

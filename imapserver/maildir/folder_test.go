package maildir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func newFolder(t testing.TB) *Folder {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "Maildir")
	if err := MakeTree(dir, false); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFolder(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func put(t testing.TB, f *Folder, s Sub, name, text string) {
	t.Helper()
	if err := os.WriteFile(f.name(s, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func names(t testing.TB, f *Folder, s Sub) []string {
	t.Helper()
	l, err := f.List(s)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	var all []string
	for i := range l.Len() {
		all = append(all, string(l.Name(i)))
	}
	slices.Sort(all)
	return all
}

func TestList(t *testing.T) {
	f := newFolder(t)
	if got := names(t, f, Cur); got != nil {
		t.Errorf("an empty directory has %q", got)
	}
	var want []string
	for i := range 600 {
		name := fmt.Sprintf("%04d.%0*d", i, i%200+1, 0)
		put(t, f, Cur, name, "")
		want = append(want, name)
	}
	for range 2 {
		if diff := cmp.Diff(want, names(t, f, Cur)); diff != "" {
			t.Error(diff)
		}
	}
	l, err := f.List(Cur)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	for i := range l.Len() {
		st, err := f.Stat(Cur, string(l.Name(i)))
		if err != nil || l.Inode(i) != st.Ino || l.Type(i) == TypeOther {
			t.Fatalf("%s: inode %d, type %d; %+v, %v", l.Name(i), l.Inode(i), l.Type(i), st, err)
		}
	}
}

// TestListWhileRenamed holds that no message is missed while another program
// changes flags as fast as it can.
func TestListWhileRenamed(t *testing.T) {
	f := newFolder(t)
	const n = 1000
	for i := range n {
		put(t, f, Cur, fmt.Sprintf("%d:2,", i), "")
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		suffixes := []string{":2,", ":2,S"}
		for i := 0; ctx.Err() == nil; i++ {
			k, from := i%n, (i/n)%2
			if err := os.Rename(f.name(Cur, fmt.Sprint(k)+suffixes[from]), f.name(Cur, fmt.Sprint(k)+suffixes[1-from])); err != nil {
				t.Error(err)
				return
			}
		}
	})
	defer wg.Wait()
	defer stop()
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		l, err := f.List(Cur)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]int)
		for i := range l.Len() {
			base, _ := SplitNameBytes(l.Name(i))
			seen[string(base)]++
		}
		if len(seen) != n {
			t.Errorf("a look saw %d of %d messages (snapshot: %v)", len(seen), n, l.Snapshot)
		}
		if l.Snapshot && l.Len() != n {
			t.Errorf("a snapshot has %d entries", l.Len())
		}
		l.Release()
	}
}

// TestListJoinsTwoLooks drives the path for directories that one call does not
// take.
func TestListJoinsTwoLooks(t *testing.T) {
	f := newFolder(t)
	var want []string
	for i := range 500 {
		name := fmt.Sprintf("%0200d", i)
		put(t, f, Cur, name, "")
		want = append(want, name)
	}
	data, buf, whole, err := readDirOnce(f.subs[Cur], minDirBuffer)
	if err != nil || whole {
		t.Fatalf("a short buffer took all: %v, %v", whole, err)
	}
	defer unix.Munmap(buf)
	l := &Listing{data: append(slices.Clone(data), data...)}
	l.index()
	var got []string
	for i := range l.Len() {
		got = append(got, string(l.Name(i)))
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" || l.Len() != 2*len(want) {
		t.Errorf("%d entries %s", l.Len(), diff)
	}
}

// TestHostile has everything in cur that is no message, and holds that none of
// it is followed, read or waited for.
func TestHostile(t *testing.T) {
	f := newFolder(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, f, Cur, "message", "x")
	make := map[string]func(path string) error{
		"link":      func(p string) error { return os.Symlink(secret, p) },
		"dangling":  func(p string) error { return os.Symlink("nowhere", p) },
		"loop":      func(p string) error { return os.Symlink("loop", p) },
		"fifo":      func(p string) error { return unix.Mkfifo(p, 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"socket": func(p string) error {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: p})
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		},
	}
	if os.Geteuid() == 0 {
		make["device"] = func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o600, 0x0103) }
	}
	for name, fn := range make {
		if err := fn(f.name(Cur, name)); err != nil {
			t.Fatal(name, err)
		}
	}
	l, err := f.List(Cur)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	for i := range l.Len() {
		name := string(l.Name(i))
		start := time.Now()
		file, err := f.Open(Cur, name)
		if name == "message" {
			if err != nil || l.Type(i) != TypeRegular {
				t.Errorf("the message: type %d, %v", l.Type(i), err)
				continue
			}
			if data, err := io.ReadAll(file); string(data) != "x" || err != nil {
				t.Errorf("the message is %q, %v", data, err)
			}
			file.Close()
			continue
		}
		if l.Type(i) != TypeOther || !errors.Is(err, ErrIrregular) {
			t.Errorf("%s: type %d, opened with %v", name, l.Type(i), err)
		}
		if d := time.Since(start); d > 100*time.Millisecond {
			t.Errorf("%s: took %v", name, d)
		}
		if st, err := f.Stat(Cur, name); err != nil || st.Regular {
			t.Errorf("%s: %+v, %v", name, st, err)
		}
	}
}

func TestOpenFolderFollowsNoLink(t *testing.T) {
	f := newFolder(t)
	other := newFolder(t)
	dir := filepath.Dir(f.Path())
	link := filepath.Join(dir, "link")
	if err := os.Symlink(other.Path(), link); err != nil {
		t.Fatal(err)
	}
	if g, err := OpenFolder(link, nil); err == nil {
		g.Close()
		t.Error("a linked folder is opened")
	}
	if err := os.Remove(f.name(New, "")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other.name(New, ""), filepath.Join(f.Path(), "new")); err != nil {
		t.Fatal(err)
	}
	if g, err := OpenFolder(f.Path(), nil); err == nil {
		g.Close()
		t.Error("a folder with a linked new is opened")
	}
}

func TestRenameReplacesNothing(t *testing.T) {
	f := newFolder(t)
	put(t, f, Tmp, "a", "new")
	put(t, f, Cur, "b", "old")
	if err := f.Rename(Tmp, "a", f, Cur, "b"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("rename over a message: %v", err)
	}
	if err := f.Link(Tmp, "a", f, Cur, "b"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("link over a message: %v", err)
	}
	if data, _ := os.ReadFile(f.name(Cur, "b")); string(data) != "old" {
		t.Errorf("the message is %q", data)
	}
	if err := f.Rename(Tmp, "a", f, Cur, "c"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"b", "c"}, names(t, f, Cur)); diff != "" {
		t.Error(diff)
	}
}

func TestFolderClosed(t *testing.T) {
	f := newFolder(t)
	put(t, f, Cur, "a", "x")
	f.Close()
	f.Close()
	if _, err := f.Open(Cur, "a"); err == nil {
		t.Error("a closed folder opens a message")
	}
	if _, err := f.List(Cur); err == nil {
		t.Error("a closed folder is listed")
	}
}

func TestPurgeTmp(t *testing.T) {
	f := newFolder(t)
	for _, name := range []string{"a", "b", ".dot"} {
		put(t, f, Tmp, name, "")
	}
	now := time.Now()
	if n, err := f.PurgeTmp(now.Add(35 * time.Hour)); n != 0 || err != nil {
		t.Errorf("after 35 hours: %d, %v", n, err)
	}
	if n, err := f.PurgeTmp(now.Add(37 * time.Hour)); n != 2 || err != nil {
		t.Errorf("after 37 hours: %d, %v", n, err)
	}
	if diff := cmp.Diff([]string{".dot"}, names(t, f, Tmp)); diff != "" {
		t.Error(diff)
	}
}

func TestMakeTree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), ".Box")
	old := unix.Umask(0o277)
	err := MakeTree(dir, true)
	unix.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]fs.FileMode{
		"": fs.ModeDir | 0o700, "cur": fs.ModeDir | 0o700, "new": fs.ModeDir | 0o700, "tmp": fs.ModeDir | 0o700, "maildirfolder": 0o600,
	} {
		st, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || st.Mode() != mode {
			t.Errorf("%q: %v, %v", name, st.Mode(), err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "cur"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := MakeTree(dir, true); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(dir, "cur")); err != nil || st.Mode().Perm() != 0o750 {
		t.Errorf("what was there has changed: %v, %v", st.Mode(), err)
	}
	if err := os.Remove(filepath.Join(dir, "new")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := MakeTree(dir, true); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("a file in place of new: %v", err)
	}
}

// TestWriteFile holds the order of the calls that make a file durable, and
// that each of them may fail without harm.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	var calls []string
	fail := ""
	ops := &Ops{Trace: func(op Op) error {
		calls = append(calls, op.Call)
		if op.Call == fail {
			return unix.EIO
		}
		return nil
	}}
	old := unix.Umask(0)
	defer unix.Umask(old)
	if err := ops.WriteFile(dir, "f", 0o640, []byte("one")); err != nil {
		t.Fatal(err)
	}
	want := []string{"create", "write", "sync", "rename", "syncdir"}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Error(diff)
	}
	if st, err := os.Stat(filepath.Join(dir, "f")); err != nil || st.Mode() != 0o640 {
		t.Errorf("mode is %v, %v", st.Mode(), err)
	}
	for _, fail = range want {
		err := ops.WriteFile(dir, "f", 0o640, []byte(fail))
		if !errors.Is(err, unix.EIO) {
			t.Errorf("%s fails: %v", fail, err)
		}
		entries, _ := os.ReadDir(dir)
		data, _ := os.ReadFile(filepath.Join(dir, "f"))
		if len(entries) != 1 || string(data) != map[bool]string{false: "one", true: fail}[fail == "syncdir"] {
			t.Errorf("%s fails: %d entries, content %q", fail, len(entries), data)
		}
	}
	if err := WriteFile(filepath.Join(dir, "none"), "f", 0o600, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into no directory: %v", err)
	}
}

// A file is as old as it is, whatever its other times say.
func TestBorn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "Maildir")
	if err := MakeTree(dir, false); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "cur", "a:2,")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFolder(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if born, err := f.Born(Cur, "a:2,"); err != nil || !born.IsZero() && time.Since(born) > time.Minute {
		t.Errorf("born %v, %v", born, err)
	}
	if _, err := f.Born(Cur, "b:2,"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such file: %v", err)
	}
}

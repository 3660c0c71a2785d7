package kind

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"mailstead/reconcile"
)

// scanned is a Maildir with an INBOX and a folder, of whoever runs the test.
func scanned(t *testing.T) (b *bench, m MaildirSpec) {
	b = newBench(t)
	m = alice(b)
	b.must(makeMaildir(newMailThing(ptr(Maildir(m, "")))))
	b.must(os.MkdirAll(m.Path+"/.Sent/cur", 0o700))
	b.must(makeMaildir(newMailThing(ptr(Maildir(m, "")))))
	return b, m
}

func ptr[T any](v T) *T { return &v }

func (b *bench) scan(m MaildirSpec, change func(*ScanSpec)) Scan {
	b.Helper()
	spec := ScanSpec{Maildir: Maildir(m, "")}
	if change != nil {
		change(&spec)
	}
	s, err := b.host.Scan(b.Context(), spec)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// Each flaw is found where it is, and nothing in a Maildir without one.
func TestScan(t *testing.T) {
	file := func(name, text string) func(*bench, string) {
		return func(b *bench, dir string) { b.must(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)) }
	}
	old := func(name string) func(*bench, string) {
		return func(b *bench, dir string) {
			file(name, "")(b, dir)
			then := time.Now().Add(-40 * time.Hour)
			b.must(os.Chtimes(filepath.Join(dir, name), then, then))
		}
	}
	for _, test := range []struct {
		name  string
		spoil func(b *bench, dir string)
		want  []Flawed
	}{
		{"nothing", func(*bench, string) {}, nil},
		{"good messages", func(b *bench, dir string) {
			file("new/1700000000.M1P1.host,S=3,W=4", "hi\n")(b, dir)
			file("cur/1700000000.M2P1.host,S=4,W=4:2,S", "hi\r\n")(b, dir)
			file(".Sent/cur/1700000000.M2P1.host,S=4,W=4:2,S", "hi\r\n")(b, dir) // another mailbox
			file("tmp/1700000000.M3P1.host", "being written")(b, dir)
			file("courierimapuiddb", "1 1 1\n")(b, dir)
		}, nil},
		{"no tmp", func(b *bench, dir string) { b.must(os.Remove(dir + "/tmp")) }, []Flawed{{Incomplete, 1, []string{"no tmp"}}}},
		{"mode", func(b *bench, dir string) { b.must(os.Chmod(dir+"/.Sent/new", 0o755)) }, []Flawed{{Incomplete, 1, []string{"0755 (.Sent/new)"}}}},
		{"closed", func(b *bench, dir string) { b.must(os.Chmod(dir, 0o300)) }, []Flawed{{Incomplete, 1, []string{"0300 (.)"}}}},
		{"link", func(b *bench, dir string) { b.must(os.Symlink("/etc/passwd", dir+"/cur/a:2,")) }, []Flawed{{Irregular, 1, []string{"cur/a:2,"}}}},
		{"link as a folder", func(b *bench, dir string) { b.must(os.Symlink("/", dir+"/.root")) }, []Flawed{{Irregular, 1, []string{".root"}}}},
		{"pipe", func(b *bench, dir string) { b.must(unix.Mkfifo(dir+"/new/a,W=3", 0o600)) }, []Flawed{{Irregular, 1, []string{"new/a,W=3"}}}},
		{"directory", func(b *bench, dir string) { b.must(os.Mkdir(dir+"/.Sent/cur/a", 0o700)) }, []Flawed{{Irregular, 1, []string{".Sent/cur/a"}}}},
		{"stray", file("1700000000.M1P1.host:2,S", ""), []Flawed{{Stray, 1, []string{"1700000000.M1P1.host:2,S"}}}},
		{"stray in a folder", file(".Sent/1700000000.M1P1.host", ""), []Flawed{{Stray, 1, []string{".Sent/1700000000.M1P1.host"}}}},
		{"hidden", file("cur/.nfs0001", ""), []Flawed{{Stray, 1, []string{"cur/.nfs0001"}}}},
		{"size", file("cur/a,S=4:2,", "hi\n"), []Flawed{{WrongSize, 1, []string{"cur/a,S=4:2, is of 3 octets"}}}},
		{"wire size", file("cur/a,S=3,W=3:2,", "hi\n"), []Flawed{{WrongWire, 1, []string{"cur/a,S=3,W=3:2, is of 4 octets with CRLF"}}}},
		{"twice", func(b *bench, dir string) {
			file("cur/a:2,S", "")(b, dir)
			file("cur/a:2,", "")(b, dir)
		}, []Flawed{{Duplicate, 1, []string{"cur/a:2, and cur/a:2,S"}}}},
		{"twice, in new and cur", func(b *bench, dir string) {
			file("new/a", "")(b, dir)
			file("cur/a:2,", "")(b, dir)
		}, []Flawed{{Duplicate, 1, []string{"new/a and cur/a:2,"}}}},
		{"stale", old("tmp/1"), nil}, // its change time is now
	} {
		t.Run(test.name, func(t *testing.T) {
			b, m := scanned(t)
			test.spoil(b, m.Path)
			s := b.scan(m, nil)
			for i, f := range s.Flaws {
				if f.Flaw == Duplicate { // in whichever order the directory has them
					s.Flaws[i].Where[0] = strings.Replace(f.Where[0], "cur/a:2,S and cur/a:2,", "cur/a:2, and cur/a:2,S", 1)
				}
			}
			if diff := cmp.Diff(test.want, s.Flaws); diff != "" {
				t.Error(diff)
			}
			b.must(os.Chmod(m.Path, 0o700))
		})
	}
}

// What a broken delivery has left is told, and removed only when that is asked for;
// what is being delivered, and what is no file, stays.
func TestScanStaleTmp(t *testing.T) {
	b, m := scanned(t)
	for _, name := range []string{"/tmp/left", "/.Sent/tmp/left", "/cur/kept:2,S"} {
		b.must(os.WriteFile(m.Path+name, []byte("x"), 0o600))
	}
	b.must(os.Mkdir(m.Path+"/tmp/dir", 0o700))
	later := func(s *ScanSpec, d time.Duration) *scanner {
		return &scanner{ask: &scanAsk{Mail: newMailThing(&s.Maildir), RemoveTmp: s.RemoveTmp}, now: time.Now().Add(d), entries: 100, bytes: 100, reads: 1}
	}
	for _, test := range []struct {
		after   time.Duration
		remove  bool
		stale   int
		removed int
	}{{35 * time.Hour, true, 0, 0}, {37 * time.Hour, false, 2, 0}, {37 * time.Hour, true, 0, 2}, {37 * time.Hour, true, 0, 0}} {
		s := later(&ScanSpec{Maildir: Maildir(m, ""), RemoveTmp: test.remove}, test.after)
		b.must(s.run())
		stale := 0
		for _, f := range s.Flaws {
			if f.Flaw == StaleTmp {
				stale = f.Count
			}
		}
		if stale != test.stale || s.Removed != test.removed {
			t.Errorf("%+v: %d stale, %d removed", test, stale, s.Removed)
		}
	}
	for _, name := range []string{"/cur/kept:2,S", "/tmp/dir"} {
		if _, err := os.Lstat(m.Path + name); err != nil {
			t.Error(err)
		}
	}
}

// However much there is, a look has an end, says so, and counts no message as there
// twice for being renamed meanwhile.
func TestScanIsBounded(t *testing.T) {
	b, m := scanned(t)
	for i := range 300 {
		b.must(os.WriteFile(fmt.Sprintf("%s/cur/%d,S=3,W=4:2,", m.Path, i), []byte("hi\n"), 0o600))
	}
	r := Maildir(m, "")
	s := &scanner{ask: &scanAsk{Mail: newMailThing(&r)}, now: time.Now(), entries: 100, bytes: 1 << 20, reads: 1 << 20}
	b.must(s.run())
	if s.Messages > 100 || s.Partly == "" || len(s.Flaws) > 0 {
		t.Errorf("%+v", s.Scan)
	}
	s = &scanner{ask: s.ask, now: time.Now(), entries: 1000, bytes: 30, reads: 1 << 20}
	b.must(s.run())
	if s.Messages != 300 || s.Read != 10 || s.Partly == "" || len(s.Flaws) > 0 {
		t.Errorf("%+v", s.Scan)
	}
	for i := range scanBoxes + 1 {
		b.must(os.MkdirAll(fmt.Sprintf("%s/.%d/cur", m.Path, i), 0o700))
	}
	if found := b.scan(m, nil); found.Mailboxes > scanBoxes+1 || found.Partly == "" {
		t.Errorf("%d mailboxes of more than %d: %q", found.Mailboxes, scanBoxes, found.Partly)
	}
	seen := newNames()
	seen.add("1,S=3,W=4:2,")
	seen.add("1,S=3,W=4:2,S") // as it was called a moment ago
	dir := ptr(node{})
	fd, err := unix.Open(m.Path, unix.O_PATH|unix.O_DIRECTORY, 0)
	b.must(err)
	dir.fd, dir.name = fd, m.Path
	defer dir.close()
	if s.duplicates(dir, "", seen); len(s.Flaws) > 0 {
		t.Errorf("%+v", s.Flaws)
	}
	seen.twice = map[uint64][]string{0: {"cur/1,S=3,W=4:2,", "cur/1,S=3,W=4:2,S"}} // and renamed once more
	if s.duplicates(dir, "", seen); len(s.Flaws) > 0 {
		t.Errorf("%+v", s.Flaws)
	}
}

// What an answer holds may be the user's: it is cut down before it is used.
func TestScanAnswerIsBounded(t *testing.T) {
	var s Scan
	for range 100 {
		s.Flaws = append(s.Flaws, Flawed{Flaw: Flaw(strings.Repeat("x", 1<<10)), Where: make([]string, 100)})
	}
	s.Flaws[0].Where[0] = strings.Repeat("x", 1<<20)
	left := s.bounded()
	if text, _ := json.Marshal(left); len(left.Flaws) > maxFlaws || len(text) > maxFlaws*((maxWhere+1)*maxWhereLen+100) {
		t.Errorf("%d flaws and %d octets are left", len(left.Flaws), len(text))
	}
}

// Root looks at the mail of somebody else as that user: what they may not read they
// are not shown, wherever their links lead, and who does not answer is given up.
func TestScanAsOwner(t *testing.T) {
	b, m := victim(t)
	b.must(b.host.applyMail(t.Context(), reconcile.Change{Want: ptr(Maildir(m, ""))}))
	b.must(os.WriteFile(m.Path+"/cur/root:2,", nil, 0o600)) // root's
	b.must(os.Symlink("/root", m.Path+"/.root"))
	s := b.scan(m, nil)
	want := []Flawed{{Irregular, 1, []string{".root"}}, {Unreadable, 1, []string{"cur/root:2,"}}}
	if diff := cmp.Diff(want, s.Flaws); diff != "" {
		t.Error(diff)
	}
	b.must(os.Chmod(m.Path+"/new", 0o300)) // which is no reason to look no further
	for _, name := range []string{"a:2,", "a:2,S"} {
		b.must(os.WriteFile(m.Path+"/cur/"+name, nil, 0o644))
	}
	want = []Flawed{want[0], {Unreadable, 2, []string{"new", "cur/root:2,"}}, {Duplicate, 1, []string{}}, {Incomplete, 1, []string{"0300 (new)"}}}
	if diff := cmp.Diff(want, b.scan(m, nil).Flaws, cmpopts.IgnoreSliceElements(func(where string) bool { return strings.Contains(where, "a:2,") })); diff != "" {
		t.Error(diff)
	}
	b.host.Close()
	b.host.Helper, b.host.Patience = []string{"/bin/sleep", "60"}, time.Second
	if _, err := b.host.Scan(t.Context(), ScanSpec{Maildir: Maildir(m, "")}); err == nil {
		t.Error("a helper that does not answer was waited for")
	}
	b.must(errors.Join(os.RemoveAll(m.Path), os.Symlink("/etc", m.Path)))
	b.host.Helper, b.host.Patience = nil, 0
	if _, err := b.host.Scan(t.Context(), ScanSpec{Maildir: Maildir(m, "")}); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("a Maildir that is a link: %v", err)
	}
}

// One folder of somebody else's, such as after a restore by root, is told, and the
// others are looked at all the same.
func TestScanBesideTheirs(t *testing.T) {
	b, m := victim(t)
	b.must(b.host.applyMail(t.Context(), reconcile.Change{Want: ptr(Maildir(m, ""))}))
	for _, name := range []string{".A", ".B", ".C"} {
		b.must(b.host.applyMail(t.Context(), reconcile.Change{Want: ptr(Folder(m, FolderSpec{Name: name[1:]}, ""))}))
		b.must(os.WriteFile(m.Path+"/"+name+"/cur/a,S=4:2,", []byte("hi\n"), 0o644))
	}
	theirs := func(name string, mode os.FileMode) {
		b.must(errors.Join(os.Chown(m.Path+"/"+name, 0, 0), os.Chmod(m.Path+"/"+name, mode)))
	}
	theirs(".A", 0o755)
	theirs(".B", 0o700) // of which only this can be told
	theirs(".C/new", 0o755)
	s := b.scan(m, nil)
	said := func(name string) string {
		return fmt.Sprintf("%s/%s belongs to uid 0, want %d: run \"chown -hR %d:%d %s\" as root", m.Path, name, m.UID, m.UID, m.GID, m.Path)
	}
	want := []Flawed{{WrongSize, 2, []string{".A/cur/a,S=4:2, is of 3 octets", ".C/cur/a,S=4:2, is of 3 octets"}},
		{Incomplete, 3, []string{said(".A"), said(".B"), said(".C/new")}}}
	if diff := cmp.Diff(want, s.Flaws); diff != "" {
		t.Error(diff)
	}
	// What was removed counts, however the look ends.
	b.host.Close()
	b.host.Helper = []string{"/bin/sh", "-c", "read x; echo '{\"scan\":{\"removed\":3,\"error\":\"it broke\"}}'; read y"}
	if s, err := b.host.Scan(t.Context(), ScanSpec{Maildir: Maildir(m, "")}); s.Removed != 3 || err == nil || err.Error() != "it broke" {
		t.Errorf("%+v, %v", s, err)
	}
}

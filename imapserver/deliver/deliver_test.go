package deliver

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/config"
	"mailstead/imapserver/maildir"
)

// newMaildir makes a Maildir with those folders.
func newMaildir(t *testing.T, folders ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "Maildir")
	for _, sub := range append([]string{""}, folders...) {
		if err := maildir.MakeTree(filepath.Join(dir, sub), sub != ""); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func quietly(t *testing.T) *Deliverer {
	return New(&maildir.Ops{}, 1<<20, func(text string, args ...any) { t.Log(text, args) })
}

// mail gives the messages of a mailbox; none may be left in tmp.
func mail(t *testing.T, dir string) []string {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(dir, "tmp", "*")); len(left) > 0 {
		t.Errorf("left in tmp: %s", left)
	}
	files, err := filepath.Glob(filepath.Join(dir, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestDeliverInto(t *testing.T) {
	for _, row := range []struct{ mailbox, dir string }{
		{"", "."}, {"INBOX", "."}, {"inbox", "."}, {"Lists", ".Lists"}, {"lists", ".Lists"}, {"Lists.Go", ".Lists.Go"}, {"Lists.Rust", "."}, {"Größe", ".Größe"},
		{"link", "."}, {"file", "."}, {"../x", "."}, {".Lists", "."}, {"a/b", "."}, {"\xff", "."}, {"half", "."},
	} {
		dir := newMaildir(t, ".Lists", ".Lists.Go", ".Größe")
		other := newMaildir(t)
		os.Symlink(other, filepath.Join(dir, ".link"))
		os.WriteFile(filepath.Join(dir, ".file"), nil, 0o600)
		os.Mkdir(filepath.Join(dir, ".half"), 0o700)
		if err := quietly(t).Deliver(Place{Maildir: dir}, Envelope{Mailbox: row.mailbox}, strings.NewReader("a: b\r\n\r\nc\r\n")); err != nil {
			t.Errorf("%q: %v", row.mailbox, err)
		}
		got := mail(t, filepath.Join(dir, row.dir))
		if len(got) != 1 || len(mail(t, other)) > 0 {
			t.Errorf("%q: %v", row.mailbox, got)
			continue
		}
		st, err := os.Stat(got[0])
		if err != nil || st.Mode() != 0o600 || !strings.HasSuffix(got[0], ",S=24,W=28") || st.Size() != 24 {
			t.Errorf("%q: %s %v %v", row.mailbox, got[0], st.Mode(), err)
		}
	}
}

// TestDeliverCase: the case of letters is one of the name, not of how a directory spells
// it.
func TestDeliverCase(t *testing.T) {
	for _, row := range []struct{ mailbox, dir string }{
		{"news", ".News"}, {"Lists", ".Lists"}, {"LISTS", ".LISTS"}, {"entwürfe", ".Entw&APw-rfe"}, {"ENTWÜRFE", ".Entw&APw-rfe"},
		{"Entw&APW-rfe", "."}, {"entw&apw-rfe", "."}, {"Ü", ".&APw-"}, {"õ", "."}, // .&APU-
	} {
		dir := newMaildir(t, ".News", ".Lists", ".LISTS", ".Entw&APw-rfe", ".&APw-")
		if err := quietly(t).Deliver(Place{Maildir: dir}, Envelope{Mailbox: row.mailbox}, strings.NewReader("a: b\r\n\r\nc\r\n")); err != nil {
			t.Errorf("%q: %v", row.mailbox, err)
		}
		if got := mail(t, filepath.Join(dir, row.dir)); len(got) != 1 {
			t.Errorf("%q is not in %s", row.mailbox, row.dir)
		}
	}
}

// TestDeliverNowhere: a Maildir that is not there, or is a link, is not made.
func TestDeliverNowhere(t *testing.T) {
	link := filepath.Join(t.TempDir(), "link")
	os.Symlink(newMaildir(t), link)
	for _, dir := range []string{filepath.Join(t.TempDir(), "none"), link} {
		err := quietly(t).Deliver(Place{Maildir: dir}, Envelope{}, strings.NewReader("x"))
		if f := AsFault(err); err == nil || f.Code != 451 || f.Exit() != ExitTempFail {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// TestDeliverFaults has each call fail in turn: the message is not there, and
// nothing counts it, or no more than the last sync has failed.
func TestDeliverFaults(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EIO, unix.ENOSPC} {
		for n, calls := 0, 1; n < calls; n++ {
			dir := newMaildir(t)
			calls = 0
			last, counting := "", false
			d := New(&maildir.Ops{Trace: func(op maildir.Op) error {
				if calls++; calls == n+1 {
					last = op.Call
					counting = op.Path == dir || strings.Contains(op.Path, maildir.SizeFileName) // keeps nobody from their mail
					return errno
				}
				return nil
			}}, 1<<20, func(string, ...any) {})
			err := d.Deliver(Place{Maildir: dir, Quota: &config.Quota{Messages: 9}}, Envelope{}, strings.NewReader("x"))
			calls = max(calls, n+2)
			if last == "" {
				break
			}
			if got := len(mail(t, dir)); (err == nil) != counting || got > 0 && !counting && last != "syncdir" {
				t.Errorf("%v at call %d, %s: %v, %d messages", errno, n, last, err, got)
			}
			file := maildir.NewSizeFile(dir, &maildir.Ops{})
			if file.Refresh() == nil && err != nil && file.Used.Messages != int64(len(mail(t, dir))) {
				t.Errorf("%v at call %d, %s: %d messages are counted", errno, n, last, file.Used.Messages)
			}
			if err != nil && errors.Is(err, unix.ENOSPC) && last != "syncdir" && AsFault(err).Enhanced != "4.3.1" {
				t.Errorf("a full disk at %s: %v", last, err)
			}
		}
	}
}

func TestDeliverQuota(t *testing.T) {
	message := "a: b\n\n" + strings.Repeat("x", 93) + "\n" // 100 octets
	deliver := func(dir, box string, q *config.Quota) error {
		return quietly(t).Deliver(Place{Maildir: dir, Quota: q}, Envelope{NoSender: true, Mailbox: box}, strings.NewReader(message))
	}
	counted := func(dir string) (maildir.Limits, maildir.Usage) {
		t.Helper()
		f := maildir.NewSizeFile(dir, &maildir.Ops{})
		if err := f.Refresh(); err != nil {
			t.Fatal(err)
		}
		return f.Limits, f.Used
	}
	dir := newMaildir(t, ".Trash", ".Lists")
	if err := deliver(dir, "", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, maildir.SizeFileName)); err == nil {
		t.Error("somebody without a quota is counted")
	}
	limits := &config.Quota{Storage: 350}
	for box, want := range map[string]error{"": nil, "Lists": nil} {
		if err := deliver(dir, box, limits); !errors.Is(err, want) {
			t.Errorf("%q: %v", box, err)
		}
	}
	for box, want := range map[string]error{"": ErrFull, "Trash": nil} {
		if err := deliver(dir, box, limits); !errors.Is(err, want) {
			t.Errorf("full, %q: %v", box, err)
		}
	}
	if l, u := counted(dir); l.Octets != 350 || u != (maildir.Usage{Octets: 300, Messages: 3}) {
		t.Errorf("%+v %+v", l, u)
	}
	// What others have removed without a word is found out.
	os.Remove(mail(t, dir)[0])
	if err := deliver(dir, "", limits); !errors.Is(err, ErrFull) {
		t.Errorf("counted a moment ago: %v", err)
	}
	if err := maildir.NewSizeFile(dir, &maildir.Ops{}).Add(maildir.Usage{}); err != nil {
		t.Fatal(err)
	}
	if err := deliver(dir, "", limits); err != nil {
		t.Errorf("there is room: %v", err)
	}
	if err := deliver(dir, "", &config.Quota{Storage: 99}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("never fits: %v", err)
	}
	// Limits that the user may set hold in place of those of the description.
	if err := deliver(dir, "", &config.Quota{Storage: 1000, Set: true}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("limits of the user's own: %v", err)
	}
	// A file that makes no sense is made anew.
	os.WriteFile(filepath.Join(dir, maildir.SizeFileName), []byte("1000S\nnonsense\n"), 0o600)
	if err := deliver(dir, "", nil); err != nil {
		t.Error(err)
	}
	if l, u := counted(dir); l.Octets != 1000 || u != (maildir.Usage{Octets: 400, Messages: 4}) {
		t.Errorf("%+v %+v", l, u)
	}
	// One that cannot be used keeps nobody from their mail.
	os.Remove(filepath.Join(dir, maildir.SizeFileName))
	os.Mkdir(filepath.Join(dir, maildir.SizeFileName), 0o700)
	if err := deliver(dir, "", limits); err != nil {
		t.Error(err)
	}
}

// TestMailboxGoesMeanwhile: a mailbox that is deleted or renamed at any moment of a
// delivery takes no message along that was acknowledged.
func TestMailboxGoesMeanwhile(t *testing.T) {
	for what, gone := range map[string]func(dir string){
		"renamed": func(dir string) { os.Rename(filepath.Join(dir, ".Lists"), filepath.Join(dir, ".Other")) },
		"replaced": func(dir string) {
			os.Rename(filepath.Join(dir, ".Lists"), filepath.Join(dir, ".Other"))
			maildir.MakeTree(filepath.Join(dir, ".Lists"), true)
		},
		"deleted": func(dir string) { os.Rename(filepath.Join(dir, ".Lists"), filepath.Join(dir, "deleted")) },
		"removed": func(dir string) {
			os.Rename(filepath.Join(dir, ".Lists"), filepath.Join(dir, "deleted"))
			os.RemoveAll(filepath.Join(dir, "deleted"))
		},
	} {
		for n, calls := 0, 1; n < calls; n++ {
			dir := newMaildir(t, ".Lists")
			calls = 0
			d := New(&maildir.Ops{Trace: func(maildir.Op) error {
				if calls++; calls == n+1 {
					gone(dir)
				}
				return nil
			}}, 1<<20, func(string, ...any) {})
			err := d.Deliver(Place{Maildir: dir}, Envelope{Mailbox: "Lists"}, strings.NewReader("x"))
			os.RemoveAll(filepath.Join(dir, "deleted"))
			there := len(mail(t, dir)) + len(mail(t, filepath.Join(dir, ".Lists"))) + len(mail(t, filepath.Join(dir, ".Other")))
			if err == nil && there != 1 || there > 1 {
				t.Errorf("%s at call %d: %d messages, %v", what, n, there, err)
			}
		}
	}
}

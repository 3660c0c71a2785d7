package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
)

// dovecotBox is a Maildir of Dovecot's that is shared in part. Its first message has
// another UIDL by POP3, the second one no keyword that its letter stands for.
func dovecotBox(t *testing.T) string {
	t.Helper()
	dir := newMaildir(t)
	writeFile(t, "Subject: one\n\n", dir, "cur", "1700000001.one.host,S=14:2,FSb")
	writeFile(t, "Subject: two\n\n", dir, "cur", "1700000002.two.host,S=14,W=16:2,Sc")
	writeFile(t, "1 Work\n", dir, maildir.DovecotKeywordsFile)
	writeFile(t, "3 V1700000000 N8 G0123456789abcdef0123456789abcdef\n5 Pone :1700000001.one.host,S=14\n7 :1700000002.two.host,S=14,W=16\n",
		dir, maildir.DovecotUIDListFile)
	writeFile(t, "V\t2\n\nINBOX\nGone\tBelow\n", dir, maildir.DovecotSubscriptionsFile)
	writeFile(t, "user=bob lr\ngroup-override=staff lr\n", dir, maildir.DovecotACLFile)
	for _, name := range []string{"dovecot.index", "dovecot.index.log", "dovecot.list.index.log", "dovecot-uidvalidity", "dovecot-uidvalidity.00000001"} {
		writeFile(t, "stale", dir, name)
	}
	return dir
}

// handToDovecot hands the account back and closes it.
func handToDovecot(t *testing.T, a *Account) {
	t.Helper()
	_, err := a.HandbackToDovecot(t.Context())
	if err = errors.Join(err, a.Close()); err != nil {
		t.Fatal(err)
	}
}

// handedToDovecot are files of a Maildir like dovecotBox after a handback.
var handedToDovecot = map[string]string{
	maildir.DovecotUIDListFile: "3 V1700000000 N9 G0123456789abcdef0123456789abcdef\n5 Pone :1700000001.one.host,S=14\n" +
		"7 :1700000002.two.host,S=14,W=16\n8 :1700000004.four.host\n",
	maildir.DovecotKeywordsFile:                    "0 Later\n1 Work\n",
	".Entw&APw-rfe/" + maildir.DovecotKeywordsFile: "0 Work\n",
	maildir.DovecotSubscriptionsFile:               "V\t2\n\nINBOX\nGone\tBelow\nEntw&APw-rfe\tAlt\n",
	".Entw&APw-rfe/" + maildir.DovecotACLFile:      "owner lrwstipekxa\nuser=bob lr\n",
	maildir.DovecotACLFile:                         "user=bob lr\ngroup-override=staff lr\n",
	"cur/1700000001.one.host,S=14:2,FSb":           "Subject: one\n\n",
	"cur/1700000002.two.host,S=14,W=16:2,Sa":       "Subject: two\n\n",
	"cur/1700000004.four.host:2,":                  "Subject: four\n\n",
}

func checkHanded(t *testing.T, dir string) {
	t.Helper()
	if err := handedFaults(dir); err != nil {
		t.Error(err)
	}
}

func handedFaults(dir string) error {
	var errs []error
	for path, want := range handedToDovecot {
		if got, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(got) != want {
			errs = append(errs, fmt.Errorf("%s is %q, %w", path, got, err))
		}
	}
	for _, name := range []string{"dovecot.index", "dovecot.index.log", "dovecot.list.index.log", "dovecot-uidvalidity", "dovecot-uidvalidity.00000001",
		"mailstead/" + indexFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			errs = append(errs, fmt.Errorf("there is %s", name))
		}
	}
	return errors.Join(errs...)
}

// changedBox is dovecotBox after some work of ours, with a message that nobody has seen.
func changedBox(t *testing.T) string {
	t.Helper()
	dir := dovecotBox(t)
	a := openAccount(t, dir)
	v := selectBox(t, a, "INBOX", false)
	if err := errors.Join(v.Store(t.Context(), []SeqNum{2}, StoreAdd, []imap.Flag{"Later"}), a.Create(t.Context(), "Entwürfe"),
		a.Subscribe(t.Context(), "Entwürfe.Alt", true)); err != nil {
		t.Fatal(err)
	}
	appendMessage(t, a, "Entwürfe", "Subject: three\r\n\r\n", "Work")
	deliver(t, dir, "1700000004.four.host", "Subject: four\n\n")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestHandbackToDovecot: its files say what is, and what it does not need to be told stays.
func TestHandbackToDovecot(t *testing.T) {
	dir := changedBox(t)
	handToDovecot(t, openAccount(t, dir))
	checkHanded(t, dir)
	for _, name := range []string{"dovecot-uidlist.lock", courierUIDNext, "mailstead/" + indexFile + "-wal"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			t.Errorf("there is %s", name)
		}
	}
}

// TestHandbackToDovecotAgain: cut short anywhere, it goes on when it is begun again.
func TestHandbackToDovecotAgain(t *testing.T) {
	start := changedBox(t)
	for n, cut := 0, true; cut; n++ {
		cut = false
		dir := filepath.Join(fastDir(t), "Maildir")
		copyTree(t, dir, start)
		calls, begun := 0, false
		a, err := Open(t.Context(), Options{Maildir: dir, unwatched: true, anyFile: true, ops: &maildir.Ops{Trace: func(maildir.Op) error {
			if begun {
				calls++
			}
			if cut = calls > n; cut {
				return unix.EIO
			}
			return nil
		}}})
		if err != nil {
			t.Fatal(err)
		}
		begun = true
		_, err = a.HandbackToDovecot(t.Context())
		if err := errors.Join(err, a.Close()); (err != nil) != cut {
			t.Errorf("after %d calls: %v", n, err)
		}
		if cut {
			os.Remove(filepath.Join(dir, "dovecot-uidlist.lock")) // nothing could be removed
			os.Remove(filepath.Join(dir, ".Entw&APw-rfe", "dovecot-uidlist.lock"))
			handToDovecot(t, openWith(t, Options{Maildir: dir, unwatched: true, anyFile: true}))
			// What an index that could not be synced may have given is not given again.
			list := strings.Replace(content(t, dir, maildir.DovecotUIDListFile), " N1009 ", " N9 ", 1)
			writeFile(t, list, dir, maildir.DovecotUIDListFile)
		}
		checkHanded(t, dir)
		if t.Failed() {
			t.Fatalf("cut short after %d calls", n)
		}
	}
}

// TestHandbackToDovecotGivenUp: it fails at the second mailbox, the account is served on
// and its index lost. The first one's list gives no UID that was given after it.
func TestHandbackToDovecotGivenUp(t *testing.T) {
	dir, fails := newMaildir(t), false
	a := openWith(t, Options{Maildir: dir, unwatched: true, anyFile: true, ops: &maildir.Ops{Trace: func(op maildir.Op) error {
		if fails && strings.HasPrefix(op.Path, filepath.Join(dir, ".B")+"/") {
			return unix.EIO
		}
		return nil
	}}})
	for _, name := range []string{"A", "B"} {
		create(t, a, name)
		appendMessage(t, a, name, mail1)
	}
	fails = true
	if _, err := a.HandbackToDovecot(t.Context()); err == nil {
		t.Error("it does not fail")
	}
	fails = false
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".A", maildir.DovecotUIDListFile)); err != nil {
		t.Fatal(err)
	}
	a = openWith(t, Options{Maildir: dir, unwatched: true, anyFile: true})
	given := appendMessage(t, a, "A", mail1)
	if err := errors.Join(a.Close(), os.RemoveAll(filepath.Join(dir, maildir.OwnDir))); err != nil {
		t.Fatal(err)
	}
	a = openWith(t, Options{Maildir: dir, unwatched: true, anyFile: true})
	if uid := appendMessage(t, a, "A", mail1); uid <= given {
		t.Errorf("UID %d, and %d was given", uid, given)
	}
}

// TestBackFromDovecot: what Dovecot has done meanwhile counts, and nothing of before.
func TestBackFromDovecot(t *testing.T) {
	dir := changedBox(t)
	handToDovecot(t, openAccount(t, dir))
	writeFile(t, "Subject: five\n\n", dir, "cur", "1700000005.five.host:2,S")
	writeFile(t, "3 V1700000000 N9\n5 :1700000001.one.host,S=14\n8 :1700000004.four.host\n9 :1700000003.gone.host\n10 :1700000005.five.host\n", dir, maildir.DovecotUIDListFile)
	if err := os.Remove(filepath.Join(dir, "cur", "1700000002.two.host,S=14,W=16:2,Sa")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, "user=carol lr\n", dir, maildir.DovecotACLFile)
	writeFile(t, "V\t2\n\nGone\tBelow\n", dir, maildir.DovecotSubscriptionsFile)
	a := openAccount(t, dir)
	v := selectBox(t, a, "INBOX", false)
	if got, want := lines(v), []string{`5 \Flagged \Seen Work`, `8`, `10 \Seen`}; !slices.Equal(got, want) || v.UIDValidity() != 1700000000 || v.UIDNext() != 11 {
		t.Errorf("%q, UIDVALIDITY %d, UIDNEXT %d", got, v.UIDValidity(), v.UIDNext())
	}
	if acl := a.aclOf("."); acl.Rights("bob", false) != 0 || acl.Rights("carol", false) == 0 {
		t.Errorf("rights %v", acl)
	}
	if subs, err := a.subscriptions(); err != nil || !slices.Equal(subs.Names(), []string{"Gone.Below"}) {
		t.Errorf("subscribed to %q, %v", subs.Names(), err)
	}
}

// TestLettersOfKeywords: the 26 that most messages have get letters, those that they had
// if they can.
func TestLettersOfKeywords(t *testing.T) {
	dir := newMaildir(t)
	writeFile(t, "3 k20\n4 rare\n5 k21\n", dir, maildir.DovecotKeywordsFile)
	a := openAccount(t, dir)
	for n := range 26 {
		for range 2 {
			appendMessage(t, a, "INBOX", "Subject: x\r\n\r\n", imap.Flag(fmt.Sprintf("k%02d", n)))
		}
	}
	appendMessage(t, a, "INBOX", "Subject: x\r\n\r\n", "rare", "K21")
	if err := a.Create(t.Context(), "~home"); err != nil {
		t.Fatal(err)
	}
	unfit, err := a.UnfitForDovecot(t.Context())
	if len(unfit) != 2 || !strings.Contains(unfit[0].Why, `"rare"`) || unfit[1].Name != "~home" || err != nil {
		t.Errorf("%+v, %v", unfit, err)
	}
	handToDovecot(t, a)
	said, dropped := maildir.ParseDovecotKeywords([]byte(content(t, dir, maildir.DovecotKeywordsFile)))
	if said[3] != "k20" || said[5] != "k21" || slices.Contains(said[:], "rare") || slices.Contains(said[:], "") || dropped > 0 {
		t.Errorf("%q", said)
	}
	files, err := filepath.Glob(filepath.Join(dir, "cur", "*:2,f"))
	if err != nil || len(files) != 3 {
		t.Errorf("%d messages have k21, %v", len(files), err)
	}
}

// TestDovecotDelivers: its delivery agent writes the list meanwhile, under its lock, which
// is waited for.
func TestDovecotDelivers(t *testing.T) {
	dir := changedBox(t)
	lock := filepath.Join(dir, "dovecot-uidlist.lock")
	writeFile(t, "1:elsewhere", lock)
	released := time.AfterFunc(300*time.Millisecond, func() { os.Remove(lock) })
	handToDovecot(t, openAccount(t, dir))
	if released.Stop() {
		t.Error("did not wait")
	}
	checkHanded(t, dir)

	writeFile(t, "1:elsewhere", lock)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(lock, old, old); err != nil {
		t.Fatal(err)
	}
	handToDovecot(t, openAccount(t, dir))
	checkHanded(t, dir)
}

// TestUnfitFiles hands back what Dovecot has no place for, and says so before.
func TestUnfitFiles(t *testing.T) {
	dir := newMaildir(t)
	long := strings.Repeat("x", 251)
	put(t, filepath.Join(dir, "cur", "1700000001.one\n77 :evil:2,S"), mail1)
	put(t, filepath.Join(dir, "cur", long+":2,S"), mail1)
	put(t, filepath.Join(dir, "cur", "1700000003.three:2,S"), mail1)
	a := openAccount(t, dir)
	v := selectBox(t, a, "INBOX", false)
	if err := v.Store(t.Context(), allSeqs(v), StoreAdd, []imap.Flag{"Work"}); err != nil {
		t.Fatal(err)
	}
	v.Close()
	unfit, err := a.UnfitForDovecot(t.Context())
	if err != nil || len(unfit) != 2 || !strings.Contains(unfit[0].Why+unfit[1].Why, `"1700000001.one\n77 :evil"`) || !strings.Contains(unfit[0].Why+unfit[1].Why, `"`+long+`" loses its keywords`) {
		t.Errorf("%+v, %v", unfit, err)
	}
	handToDovecot(t, a)
	list := content(t, dir, maildir.DovecotUIDListFile)
	if strings.Contains(list, "evil") || !strings.Contains(list, ":"+long+"\n") || !strings.Contains(list, ":1700000003.three\n") {
		t.Errorf("%q", list)
	}
	for name, want := range map[string]bool{long + ":2,S": true, "1700000003.three:2,Sa": true} {
		if _, err := os.Stat(filepath.Join(dir, "cur", name)); (err == nil) != want {
			t.Errorf("%.20s: %v", name, err)
		}
	}
	b := openAccount(t, newMaildir(t))
	name := strings.Repeat("äa", 70)
	if err := b.Create(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if unfit, err := b.UnfitForDovecot(t.Context()); err != nil || len(unfit) != 1 || unfit[0].Name != name {
		t.Errorf("%+v, %v", unfit, err)
	}
}

// TestCourierUIDsADirectory opens a mailbox, known or not, that has a directory where
// Courier's file would be.
func TestCourierUIDsADirectory(t *testing.T) {
	dir := newMaildir(t)
	open := func() *Account {
		a, err := Open(t.Context(), Options{Maildir: dir, unwatched: true, Courier: true})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := open()
	appendMessage(t, a, "INBOX", mail1)
	file := filepath.Join(dir, maildir.UIDDBFile)
	if err := errors.Join(a.Close(), os.RemoveAll(file), os.Mkdir(file, 0o700)); err != nil {
		t.Fatal(err)
	}
	a = open()
	v := selectBox(t, a, "INBOX", false)
	if v.Len() != 1 {
		t.Errorf("%d messages", v.Len())
	}
	v.Close()
	a.Close() // says what it cannot write
}

package session

import (
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/store"
)

// victimText is what stands in files that no session may read.
const victimText = "CANARY of somebody else"

// victim is a directory that belongs to somebody else of the same uid, as with
// virtual users: the kernel keeps nobody from anything.
type victim struct {
	t   *testing.T
	dir string
	was map[string]string
}

func newVictim(t *testing.T) *victim {
	v := &victim{t: t, dir: t.TempDir()}
	for _, sub := range []string{"cur", "new", "tmp"} {
		if err := os.Mkdir(filepath.Join(v.dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"secret", "cur/1.victim:2,", "new/2.victim"} {
		if err := os.WriteFile(filepath.Join(v.dir, name), []byte("Subject: "+victimText+"\n\n"+victimText+"\n"), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	v.was = v.state()
	return v
}

// state is all that a change would show in. The time of the last access is not
// looked at.
func (v *victim) state() map[string]string {
	all := map[string]string{}
	err := filepath.WalkDir(v.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		all[path] = fmt.Sprintf("mode %o, %d links, %d bytes, changed %v", st.Mode, st.Nlink, st.Size, st.Ctim)
		return nil
	})
	if err != nil {
		v.t.Fatal(err)
	}
	return all
}

// check holds that nothing of it has changed, and that nothing was added.
func (v *victim) check(when string) {
	v.t.Helper()
	now := v.state()
	for path, state := range now {
		if v.was[path] != state {
			v.t.Errorf("%s: %s is %s, was %q", when, path, state, v.was[path])
		}
	}
	if len(now) != len(v.was) {
		v.t.Errorf("%s: %d files, were %d", when, len(now), len(v.was))
	}
}

// nodes are what the owner of a Maildir may put in place of a file, by what it
// is.
func nodes(v *victim) map[string]func(path string) error {
	all := map[string]func(path string) error{
		"link":              func(p string) error { return os.Symlink(filepath.Join(v.dir, "secret"), p) },
		"link to directory": func(p string) error { return os.Symlink(v.dir, p) },
		"dangling link":     func(p string) error { return os.Symlink(filepath.Join(v.dir, "not-there"), p) },
		"loop":              func(p string) error { return os.Symlink(filepath.Base(p), p) },
		"fifo":              func(p string) error { return unix.Mkfifo(p, 0o600) },
		"directory":         func(p string) error { return os.Mkdir(p, 0o700) },
		"socket": func(p string) error {
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			v.t.Cleanup(func() { unix.Close(fd) })
			at := filepath.Join(v.t.TempDir(), "s") // the paths of sockets are short
			if err := unix.Bind(fd, &unix.SockaddrUnix{Name: at}); err != nil {
				return err
			}
			return os.Rename(at, p)
		},
	}
	if os.Geteuid() == 0 {
		all["device"] = func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o600, 0x0105) } // of zeros
	}
	return all
}

// everyCommand is each that reads or changes mail; %s is a set of UIDs.
var everyCommand = []string{
	"UID FETCH %s (FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)",
	"UID FETCH %s (BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[1] BINARY.SIZE[1] PREVIEW EMAILID SAVEDATE)",
	"UID FETCH %s BODY[]",
	"UID SEARCH UID %s TEXT victim",
	"UID SEARCH UID %s LARGER 1 HEADER Subject x",
	"UID SORT (SUBJECT) UTF-8 UID %s",
	"UID THREAD REFERENCES UTF-8 UID %s",
	`UID STORE %s +FLAGS (\Flagged work)`,
	"UID COPY %s Other",
	"UID MOVE %s Other",
	`UID STORE %s +FLAGS.SILENT \Deleted`,
	"UID EXPUNGE %s",
	"STATUS INBOX (MESSAGES UNSEEN SIZE DELETED)",
	"STATUS Other (MESSAGES UNSEEN SIZE)",
	"NOOP",
	"CHECK",
	"CLOSE",
	"EXAMINE INBOX",
	"SELECT INBOX",
	"UID FETCH 1:* (RFC822.SIZE BODY.PEEK[])",
	"SELECT Other",
	"UID FETCH 1:* (RFC822.SIZE BODY.PEEK[])",
}

// runAll does every command. None may show the text of the victim, be an error of ours or
// end the session.
func runAll(t *testing.T, c *peer, uids string) {
	t.Helper()
	for _, command := range everyCommand {
		if strings.Contains(command, "%") {
			command = fmt.Sprintf(command, uids)
		}
		got := c.do("%s", command)
		if strings.Contains(got, victimText) || strings.Contains(got, "SERVERBUG") {
			t.Errorf("%s: %.300s", command, got)
		}
	}
}

// TestPlanted has what is no message in cur and new from the start: it is passed
// over by every command, with one line in the log.
func TestPlanted(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	s := newServer(t)
	var planted []string
	for what, make := range nodes(v) {
		for _, sub := range []string{"cur", "new"} {
			name := "5." + strings.ReplaceAll(what, " ", "-") + "-" + sub
			planted = append(planted, name)
			if err := make(filepath.Join(s.maildir, sub, name)); err != nil {
				t.Fatal(what, err)
			}
		}
	}
	for i := range 3 {
		s.deliver(fmt.Sprintf("%d.M1P1.host", 1000+i), hello)
	}
	c := s.connect()
	c.ok("CREATE Other")
	if got := c.ok("SELECT INBOX"); !strings.Contains(got, "* 3 EXISTS") {
		t.Errorf("SELECT: %s", got)
	}
	runAll(t, c, "1:*")
	v.check("after all commands")
	for _, name := range planted {
		if n := strings.Count(s.log.String(), name); n != 1 {
			t.Errorf("%s is logged %d times", name, n)
		}
	}
}

// TestPlantedInPlace puts something else where a message was, under its very
// name, between the look at the mailbox and each command. MAILSTEAD_PLANTED has
// everything put everywhere, in place of some.
func TestPlantedInPlace(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	kinds := nodes(v)
	for i, what := range slices.Sorted(maps.Keys(kinds)) {
		for n, command := range everyCommand {
			if os.Getenv("MAILSTEAD_PLANTED") != "" || (i+n)%3 == 0 {
				t.Run(fmt.Sprintf("%s/%d", what, n), func(t *testing.T) { plantInPlace(t, kinds[what], command) })
			}
		}
		v.check(what)
	}
}

func plantInPlace(t *testing.T, make func(path string) error, command string) {
	s := newServer(t)
	for i := range 3 {
		s.deliver(fmt.Sprintf("%d.M1P1.host", 1000+i), hello)
	}
	c := s.connect()
	c.ok("CREATE Other")
	c.ok("SELECT INBOX")
	path := filepath.Join(s.maildir, "cur", "1001.M1P1.host:2,")
	err := os.Remove(path)
	if err == nil {
		err = make(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(command, "%") {
		command = fmt.Sprintf(command, "1:3")
	}
	if got := c.do("%s", command); strings.Contains(got, victimText) || strings.Contains(got, "SERVERBUG") {
		t.Errorf("%s: %.300s", command, got)
	}
	runAll(t, c, "1:*")
	if t.Failed() {
		t.Logf("log: %s", s.log.String())
	}
}

// ownFiles are all that the server reads and writes beside the messages, from
// the top Maildir.
var ownFiles = []string{
	"mailstead", "mailstead/index.db", "mailstead/index.db-wal", "mailstead/index.db-shm", "mailstead/index.db-journal",
	"mailstead/text.db", "mailstead/text.db-wal", "mailstead/cache", "mailstead/cache/1", "mailstead/special-use",
	"mailstead-uidvalidity", "mailstead-uidnext", "courierimapuiddb", "courierimapkeywords", "courierimapkeywords/:list",
	"courierimapacl", "courierimaphieracl", "courierimapsubscribed", "maildirsize", "maildirfolder", "tmp/courier.lock",
	"dovecot-uidlist", "dovecot-keywords", "subscriptions", ".uidvalidity", ".mbsyncstate", "cur", "new", "tmp",
	".Other", ".Other/cur", ".Other/new", ".Other/tmp", ".Other/courierimapuiddb", ".Other/courierimapacl", ".Other/maildirfolder",
}

// TestPlantedOwnFiles puts something else in place of each file of ours, before an
// account is opened and while it is. Where it cannot be served then, that is said
// with the path.
func TestPlantedOwnFiles(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	kinds, of := nodes(v), 4 // one of so many
	if testing.Short() {
		of = 16
	}
	for i, what := range slices.Sorted(maps.Keys(kinds)) {
		for n, name := range ownFiles {
			for k, open := range []bool{false, true} {
				if os.Getenv("MAILSTEAD_PLANTED") != "" || (i+n+2*k)%of == 0 {
					when := fmt.Sprintf("%s as %s, account open: %v", what, name, open)
					t.Run(when, func(t *testing.T) { plantOwn(t, name, open, kinds[what]) })
					v.check(when)
				}
			}
		}
	}
}

func plantOwn(t *testing.T, name string, open bool, make func(path string) error) {
	s := newServer(t)
	s.deliver("1000.M1P1.host", hello)
	c := s.connect()
	c.ok("CREATE Other")
	c.ok("SUBSCRIBE Other")
	c.ok("SELECT INBOX")
	c.ok("UID COPY 1 Other")
	c.ok("UID FETCH 1 ENVELOPE")
	if !open {
		c.conn.Close()
		c.wait()
		if err := s.account.Close(); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(s.maildir, name)
	err := os.RemoveAll(path)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		err = make(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !open {
		account, err := store.Open(t.Context(), store.Options{Maildir: s.maildir, Log: slog.New(slog.NewTextHandler(&s.log, nil)), Courier: true})
		if err != nil {
			if !strings.Contains(err.Error(), s.maildir) {
				t.Error(err)
			}
			return
		}
		defer account.Close()
		s.params.Account = account
		c = s.connect()
	}
	for _, command := range ownCommands {
		c.send("a " + command + "\r\n")
		got, gone := c.answerOrEnd()
		if strings.Contains(got, victimText) {
			t.Errorf("%s: %.300s", command, got)
		}
		if gone {
			c = s.connect()
		}
	}
	c.conn.Close()
	c.wait()
	if strings.Contains(s.log.String(), victimText) || strings.Contains(s.log.String(), "panic") {
		t.Errorf("the log says %s", s.log.String())
	}
}

// ownCommands go through every file of ours.
var ownCommands = []string{
	"SELECT INBOX", "UID FETCH 1 (ENVELOPE BODY.PEEK[])", "UID STORE 1 +FLAGS (work)", "UID SEARCH TEXT nothing", "UID COPY 1 Other",
	"LIST \"\" * RETURN (SUBSCRIBED SPECIAL-USE STATUS (MESSAGES SIZE))", "SUBSCRIBE INBOX", "UNSUBSCRIBE Other",
	"GETACL INBOX", "SETACL INBOX bob lr", "DELETEACL INBOX bob", "GETQUOTAROOT INBOX", "CREATE More (USE (\\Sent))", "RENAME More Less",
	"APPEND INBOX {12+}\r\nSubject: x\r\n", "SETMETADATA INBOX (/private/comment x)", "SELECT Other", "UID STORE 1:* +FLAGS (\\Deleted)",
	"EXPUNGE", "DELETE Less", "STATUS INBOX (MESSAGES SIZE)", "RENAME Other Another", "DELETE Another", "UNSELECT",
}

// answerOrEnd is answer for a session that may be ended.
func (c *peer) answerOrEnd() (all string, ended bool) {
	var b strings.Builder
	for {
		line, err := c.br.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			return b.String(), true
		}
		if strings.HasPrefix(line, "a ") {
			return b.String(), false
		}
	}
}

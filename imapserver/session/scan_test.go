package session

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mailstead/imapserver/search"
	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// useCores has searches share their work, on whatever machine.
func useCores(t *testing.T) {
	old := runtime.GOMAXPROCS(4)
	t.Cleanup(func() { runtime.GOMAXPROCS(old) })
}

var subjectKey = wire.SearchKey{Op: wire.SearchHeader, Header: "Subject", Text: "not there"}

// TestScanOrder holds that messages that are read side by side are told in their
// order, and that one match is enough where one is asked for.
func TestScanOrder(t *testing.T) {
	useCores(t)
	s := newServer(t)
	var want []string
	const total = 700
	for i := range total {
		word := "nothing"
		if i%3 == 1 {
			word = "needle"
			want = append(want, fmt.Sprint(i+1))
		}
		s.deliver(fmt.Sprintf("%d.M1P1.host", 1000+i), "Subject: "+word+"\n\n"+strings.Repeat("hay ", i%7*3000)+word+"\n")
	}
	c := s.connect()
	c.ok("SELECT INBOX")
	all := strings.Join(want, " ")
	c.want("SEARCH BODY needle", "* SEARCH "+all+"\na OK SEARCH completed")
	c.want("SEARCH HEADER Subject needle", "* SEARCH "+all+"\na OK SEARCH completed")
	c.want("SEARCH NOT TEXT needle NOT TEXT nothing", "* SEARCH\na OK SEARCH completed")
	c.want("SEARCH RETURN (MIN) BODY needle", "* ESEARCH (TAG \"a\") MIN 2\na OK SEARCH completed")
	c.want("SEARCH RETURN (MAX) BODY needle", "* ESEARCH (TAG \"a\") MAX 698\na OK SEARCH completed")
	c.want("SEARCH RETURN (MAX) 1:100,300:310,5 BODY needle", "* ESEARCH (TAG \"a\") MAX 308\na OK SEARCH completed")
	c.want("UID SEARCH 4:9 TEXT needle", "* SEARCH 5 8\na OK UID SEARCH completed")
}

// TestScanPanic holds that a panic in a goroutine of a search is one of the
// session, where it is caught, and comes after all of them have ended.
func TestScanPanic(t *testing.T) {
	useCores(t)
	a := mailboxOf(t, 40, "S")
	v, err := a.Select(t.Context(), "INBOX", true)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	_, conn := net.Pipe()
	p := (&session{conn: newConn(conn), Params: Params{pace: time.Hour}}).newProgress("a", 0)
	for broken := range 4 {
		s := &scan{matchers: make([]*matcher, 4)}
		for i := range s.matchers {
			s.matchers[i] = &matcher{view: v, program: search.Compile(subjectKey, search.Frame{})}
		}
		s.matchers[broken].program = nil
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("matcher %d: no panic", broken)
				}
			}()
			for range 100 {
				s.seqs = slices.Collect(func(yield func(store.SeqNum) bool) {
					for n := range 40 {
						if !yield(store.SeqNum(n + 1)) {
							return
						}
					}
				})
				if _, err := s.round(t.Context(), p, func(store.SeqNum, uint8) bool { return false }); err != nil {
					t.Fatal(err)
				}
			}
		}()
	}
}

// TestScanLarge holds that a search has no large message in memory beside those that
// may be.
func TestScanLarge(t *testing.T) {
	useCores(t)
	s := newServer(t)
	s.deliver("1000.M1P1.host", "Subject: x\n\n"+strings.Repeat("hay and hay again\n", large/17)+"needle\n")
	s.deliver("1001.M1P1.host", "Subject: x\n\nneedle\n")
	v, err := s.params.Account.Select(t.Context(), "INBOX", true)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	key := wire.SearchKey{Op: wire.SearchBody, Text: "needle"}
	scan := newScan(v, func() *search.Program { return search.Compile(key, search.Frame{}) })
	for range cap(parsing) {
		parsing.take(t.Context())
	}
	done := make(chan store.SeqNum)
	for i, m := range scan.matchers[:2] {
		go func() {
			for range 2 {
				if score, err := m.match(t.Context(), store.SeqNum(i+1)); score == 0 || err != nil {
					t.Errorf("message %d: %d, %v", i+1, score, err)
				}
				done <- store.SeqNum(i + 1)
			}
		}()
	}
	for range 2 {
		if n := <-done; n != 2 {
			t.Error("a large message was read")
		}
	}
	for range cap(parsing) {
		parsing.give()
	}
	for range 2 {
		<-done
	}
	if len(parsing) > 0 {
		t.Error("a message that was matched still counts")
	}
}

// TestScanHungUp ends a search that no one waits for.
func TestScanHungUp(t *testing.T) {
	a := mailboxOf(t, 1, "S")
	v, err := a.Select(t.Context(), "INBOX", true)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := socket(t, fds[0]), socket(t, fds[1])
	defer ours.Close()
	theirs.Close()
	looked := 0
	s := newScan(v, func() *search.Program { return search.Compile(subjectKey, search.Frame{}) })
	err = s.run(t.Context(), (&session{conn: newConn(ours)}).newProgress("a", 0), forever, func(store.SeqNum, uint8) bool { looked++; return false })
	if !errors.Is(err, errHungUp) {
		t.Errorf("after %d messages: %v", looked, err)
	}
}

func forever(yield func(store.SeqNum) bool) {
	for yield(1) {
	}
}

// TestSearchIndexed holds that SEARCH gives the same with a text index as it did
// without, also of messages that came after it was made.
func TestSearchIndexed(t *testing.T) {
	t.Parallel()
	s := newServerWith(t, make(chan struct{}, 1))
	deliver := func(from, to int) {
		for i := from; i < to; i++ {
			s.deliver(fmt.Sprintf("1700000000.M%06dP1.host", i), fmt.Sprintf("Subject: about %d\n\nthis is number %d.\n", i%7, i))
		}
	}
	deliver(0, 200)
	c := s.connect()
	c.ok("SELECT INBOX")
	searches := []string{
		"SEARCH BODY {6+}\r\nNUMBER TEXT {2+}\r\n12", `SEARCH BODY "number 19"`, `SEARCH OR BODY "is number 5" SUBJECT "about 6"`,
		`SEARCH NOT TEXT "about 3"`, `SEARCH RETURN (MIN MAX COUNT) BODY "number 1"`, `SEARCH RETURN (MAX) 1:90 BODY "number 1"`,
	}
	ask := func() (answers []string) {
		for _, q := range searches {
			answers = append(answers, c.ok("%s", q))
		}
		return answers
	}
	before := ask()
	index := filepath.Join(s.maildir, "mailstead", "text.db")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if st, err := os.Stat(index + "-wal"); err == nil && st.Size() > 10_000 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no text index was made")
		}
	}
	if diff := cmp.Diff(before, ask()); diff != "" {
		t.Errorf("with an index (-before +after)\n%s", diff)
	}
	deliver(200, 230)
	c.ok("NOOP")
	c.want(`SEARCH BODY "number 20"`, "* SEARCH 21 201 202 203 204 205 206 207 208 209 210\na OK SEARCH completed")
}

// lock makes a message one that nobody can read, root neither, until the test or unlock ends
// that.
func lock(t *testing.T, path string) (unlock func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return func() { f.Close() }
}

// TestLiveUnreadable holds that a message that cannot be read ends no search that is kept up
// to date: it is told of once it can be, and before that as what it was.
func TestLiveUnreadable(t *testing.T) {
	s := newServer(t)
	c := s.connect()
	s.deliver("1000.M1P1.host", "Subject: x\n\nneedle\n")
	c.ok("SELECT INBOX")
	c.want("SEARCH RETURN (UPDATE ALL) BODY needle UNKEYWORD other", "* ESEARCH (TAG \"a\") ALL 1\na OK SEARCH completed")
	live := func(command, want string) {
		t.Helper()
		var got []string
		for line := range strings.Lines(c.ok("%s", command)) {
			if strings.Contains(line, "ESEARCH") || strings.Contains(line, "NOUPDATE") {
				got = append(got, strings.TrimSpace(line))
			}
		}
		if strings.Join(got, "") != want {
			t.Errorf("%s: told %q, want %q", command, got, want)
		}
	}
	locked := func(name string) (unlock func()) {
		path := filepath.Join(s.maildir, "tmp", name)
		if err := os.WriteFile(path, []byte("Subject: x\n\nneedle\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		unlock = lock(t, path)
		if err := os.Rename(path, filepath.Join(s.maildir, "new", name)); err != nil {
			t.Fatal(err)
		}
		return unlock
	}
	unlock := locked("1001.M1P1.host")
	s.deliver("1002.M1P1.host", "Subject: x\n\nneedle\n")
	live("NOOP", "* ESEARCH (TAG \"a\") ADDTO (0 3)")
	live("NOOP", "")
	unlock()
	live("NOOP", "* ESEARCH (TAG \"a\") ADDTO (0 2)")
	unlock = lock(t, filepath.Join(s.maildir, "cur", "1000.M1P1.host:2,"))
	live("STORE 1 +FLAGS (custom)", "")
	live("NOOP", "")
	unlock()
	live("NOOP", "")
	live("STORE 1 +FLAGS (other)", "* ESEARCH (TAG \"a\") REMOVEFROM (0 1)")
	for i := range 2 * maxMissed { // all of them would be looked at again and again
		locked(fmt.Sprintf("%d.M1P1.host", 2000+i))
	}
	live("NOOP", "* NO [NOUPDATE \"a\"] results are not kept up to date any more")
}

// TestSearchUnreadable holds that a message that cannot be read keeps nobody from
// the others: it is left out, and the command fails after them, as FETCH does.
func TestSearchUnreadable(t *testing.T) {
	useCores(t)
	s := newServer(t)
	c := s.connect()
	for i := range 40 {
		s.deliver(fmt.Sprintf("%d.M1P1.host", 1000+i), fmt.Sprintf("Subject: %02d\n\nneedle\n", 40-i))
	}
	c.ok("CREATE Other")
	c.append("Other", "", "Subject: x\r\n\r\nneedle\r\n")
	validity := func(name string) string {
		_, rest, _ := strings.Cut(c.ok("STATUS %s (UIDVALIDITY)", name), "(UIDVALIDITY ")
		n, _, _ := strings.Cut(rest, ")")
		return n
	}
	c.ok("SELECT INBOX")
	lock(t, filepath.Join(s.maildir, "cur", "1001.M1P1.host:2,"))
	have := func(command, want string) {
		t.Helper()
		if got := c.do("%s", command); !strings.HasPrefix(got, want+"a NO [SERVERBUG] internal error ") {
			t.Errorf("%s:\n%s\nwant\n%s", command, got, want)
		}
	}
	have("FETCH 1:3 BODY.PEEK[TEXT]<0.1>", "* 1 FETCH (BODY[TEXT]<0> {1}\r\nn)\n* 3 FETCH (BODY[TEXT]<0> {1}\r\nn)\n")
	have("SEARCH 1:3 BODY needle", "* SEARCH 1 3\n")
	have("SEARCH RETURN (COUNT) BODY needle", "* ESEARCH (TAG \"a\") COUNT 39\n")
	have("SORT (SUBJECT) UTF-8 1:4", "* SORT 4 3 1\n")
	have("SORT (SIZE REVERSE ARRIVAL) UTF-8 1:4 BODY needle", "* SORT 1 3 4\n")
	have("THREAD REFERENCES UTF-8 1:4", "* THREAD (1)(3)(4)\n")
	have("ESEARCH IN (selected) RETURN (SAVE) BODY needle", "")
	have("ESEARCH IN (mailboxes (INBOX Other)) RETURN (COUNT) BODY needle",
		fmt.Sprintf("* ESEARCH (TAG \"a\" MAILBOX \"INBOX\" UIDVALIDITY %s) UID COUNT 39\n* ESEARCH (TAG \"a\" MAILBOX \"Other\" UIDVALIDITY %s) UID COUNT 1\n", validity("INBOX"), validity("Other")))
	c.want("SEARCH $", "* SEARCH\na OK SEARCH completed")
	c.want("SEARCH RETURN (MIN) BODY needle", "* ESEARCH (TAG \"a\") MIN 1\na OK SEARCH completed")
	have("SEARCH RETURN (UPDATE COUNT SAVE) BODY needle", "* ESEARCH (TAG \"a\") COUNT 39\n")
	c.want("SEARCH $", "* SEARCH\na OK SEARCH completed")
	if got := c.do("CANCELUPDATE \"a\""); !strings.HasPrefix(got, "a NO") {
		t.Error(got)
	}
}

// TestScanMidRound ends a search that no one waits for before its round is done, which of
// large messages may take long.
func TestScanMidRound(t *testing.T) {
	a := mailboxOf(t, 1, "S")
	v, err := a.Select(t.Context(), "INBOX", true)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	gone := hungUpClient()
	s := newScan(v, func() *search.Program { return search.Compile(wire.SearchKey{Op: wire.SearchAll}, search.Frame{}) })
	s.seqs = slices.Repeat([]store.SeqNum{1}, maxRound)
	p := (&session{conn: newConn(gone)}).newProgress("a", 0)
	p.looked = time.Time{}
	_, err = s.round(t.Context(), p, func(store.SeqNum, uint8) bool { return false })
	if n := maxRound - bytes.Count(s.scores, []byte{0}); n != 1 || !errors.Is(err, errHungUp) {
		t.Errorf("after %d messages: %v", n, err)
	}
}

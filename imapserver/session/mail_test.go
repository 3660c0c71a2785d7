package session

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const hello = "From: Ann <ann@example.org>\r\nSubject: hello\r\nDate: Mon, 2 Feb 2026 10:00:00 +0100\r\n\r\nHi there.\r\n"

func TestSelect(t *testing.T) {
	s := newServer(t)
	s.deliver("1.M1P1.host", strings.ReplaceAll(hello, "\r\n", "\n"))
	c := s.connect()
	c.want("SELECT inbox", `* FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)] flags that are kept
* 1 EXISTS
* 1 RECENT
* OK [UNSEEN 1] first unseen message
* OK [UIDVALIDITY #] UIDs are valid
* OK [UIDNEXT 2] next UID
* OK [HIGHESTMODSEQ #] highest mod-sequence
* OK [MAILBOXID (@)] mailbox identifier
a OK [READ-WRITE] SELECT completed`)
	c.want("EXAMINE INBOX", `* OK [CLOSED] previous mailbox closed
* FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
* OK [PERMANENTFLAGS ()] flags that are kept
* 1 EXISTS
* 0 RECENT
* OK [UNSEEN 1] first unseen message
* OK [UIDVALIDITY #] UIDs are valid
* OK [UIDNEXT 2] next UID
* OK [HIGHESTMODSEQ #] highest mod-sequence
* OK [MAILBOXID (@)] mailbox identifier
a OK [READ-ONLY] EXAMINE completed`)
	c.want("STORE 1 FLAGS ()", "a NO [CANNOT] mailbox is open read-only")
	c.want("EXPUNGE", "a NO [CANNOT] mailbox is open read-only")
	c.want("MOVE 1 INBOX", "a NO [CANNOT] mailbox is open read-only")
	c.want("SELECT nowhere", "* OK [CLOSED] previous mailbox closed\na NO [NONEXISTENT] no such mailbox")
	c.want("CHECK", "a BAD CHECK is not possible now")
	c.want("SELECT &", "a NO [CANNOT] mailbox name is not valid modified UTF-7")
}

func TestAppendFetchStore(t *testing.T) {
	s := newServer(t)
	c := s.connect()
	compare(t, "APPEND", c.append("INBOX", `(\Seen work) "02-Feb-2026 10:00:00 +0000" `, hello), "a OK [APPENDUID # 1] APPEND completed")
	c.ok("SELECT INBOX")
	compare(t, "APPEND", c.append("INBOX", "", hello), "* 2 EXISTS\n* 2 RECENT\na OK [APPENDUID # 2] APPEND completed")
	compare(t, "APPEND to nowhere", c.do("APPEND nowhere {5}"), "a NO [TRYCREATE] no such mailbox")
	compare(t, "APPEND to nowhere", c.append("nowhere", "", hello), "a NO [TRYCREATE] no such mailbox")
	c.want("APPEND INBOX {0}", "a NO [CANNOT] message is empty")
	c.want("APPEND INBOX {104857601}", "a NO [TOOBIG] message too large")

	c.want("FETCH 1:2 (UID FLAGS)", `* 1 FETCH (UID 1 FLAGS (\Recent \Seen work))
* 2 FETCH (UID 2 FLAGS (\Recent))
a OK FETCH completed`)
	c.want("FETCH 2 FAST", `* 2 FETCH (FLAGS (\Recent) INTERNALDATE "@" RFC822.SIZE 96)
a OK FETCH completed`)
	compare(t, "BODY[] sets Seen", c.do("FETCH 1:2 BODY[TEXT]"), "* 1 FETCH (BODY[TEXT] {11}\r\nHi there.\r\n)\n"+
		"* 2 FETCH (BODY[TEXT] {11}\r\nHi there.\r\n FLAGS (\\Recent \\Seen))\na OK FETCH completed")
	compare(t, "partial", c.do("UID FETCH 1 BODY.PEEK[]<3.5>"), "* 1 FETCH (UID 1 BODY[]<3> {5}\r\nm: An)\na OK UID FETCH completed")
	compare(t, "partial beyond", c.do("FETCH 1 BODY[HEADER]<4000.5>"), "* 1 FETCH (BODY[HEADER]<4000> {0}\r\n)\na OK FETCH completed")
	c.want("FETCH 1 BODY.PEEK[7]", "* 1 FETCH (BODY[7] NIL)\na OK FETCH completed")
	c.want("FETCH 1 ENVELOPE", `* 1 FETCH (ENVELOPE ("Mon, 2 Feb 2026 10:00:00 +0100" "hello" (("Ann" NIL "ann" "example.org"))`+
		` (("Ann" NIL "ann" "example.org")) (("Ann" NIL "ann" "example.org")) NIL NIL NIL NIL NIL))`+"\na OK FETCH completed")
	c.want("FETCH 3 UID", "a BAD no message has this sequence number")
	c.want("UID FETCH 3:9 FLAGS", "a OK UID FETCH completed")
	c.want("UID FETCH 9:* UID", "* 2 FETCH (UID 2)\na OK UID FETCH completed")

	c.want(`STORE 1 -FLAGS (\Seen)`, `* 1 FETCH (FLAGS (\Recent work))`+"\na OK STORE completed")
	c.want(`UID STORE 1:2 +FLAGS.SILENT (\Flagged)`, "a OK UID STORE completed")
	c.want(`UID STORE 2 FLAGS (new)`, `* FLAGS (\Answered \Flagged \Deleted \Seen \Draft new work)
* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft new work \*)] flags that are kept
* 2 FETCH (UID 2 FLAGS (\Recent new))
a OK UID STORE completed`)
	c.want(`STORE 1 +FLAGS (\Flagged)`, `* 1 FETCH (FLAGS (\Recent \Flagged work))`+"\na OK STORE completed")
}

func TestExpungeCopyMove(t *testing.T) {
	s := newServer(t)
	c := s.connect()
	for range 5 {
		c.append("INBOX", "", hello)
	}
	c.ok("CREATE Archive")
	c.ok("SELECT INBOX")
	c.want("COPY 1,3:4 Archive", "a OK [COPYUID # 1,3:4 1:3] COPY completed")
	c.want("COPY 1 nowhere", "a NO [TRYCREATE] no such mailbox")
	c.want("MOVE 1 nowhere", "a NO [TRYCREATE] no such mailbox")
	c.want("UID COPY 100:200 Archive", "a OK UID COPY completed")
	c.want("MOVE 2 Archive", "* OK [COPYUID # 2 4] moved\n* 2 EXPUNGE\n* 4 RECENT\na OK MOVE completed")
	c.want(`STORE 1:3 +FLAGS.SILENT \Deleted`, "a OK STORE completed")
	c.want("UID EXPUNGE 3", "* 2 EXPUNGE\n* 3 RECENT\na OK UID EXPUNGE completed")
	c.want("UID EXPUNGE 5:*", "a OK UID EXPUNGE completed")
	c.want("EXPUNGE", "* 2 EXPUNGE\n* 1 EXPUNGE\n* 1 RECENT\na OK EXPUNGE completed")
	c.want("UID SEARCH ALL", "* SEARCH 5\na OK UID SEARCH completed")
	c.ok(`STORE 1 +FLAGS \Deleted`)
	c.want("CLOSE", "a OK CLOSE completed")
	c.want("STATUS INBOX (MESSAGES UIDNEXT)", `* STATUS "INBOX" (MESSAGES 0 UIDNEXT 6)`+"\na OK STATUS completed")
	c.want("STATUS Archive (MESSAGES UNSEEN RECENT UIDNEXT UIDVALIDITY DELETED SIZE)",
		fmt.Sprintf(`* STATUS "Archive" (MESSAGES 4 UNSEEN 4 RECENT 4 UIDNEXT 5 UIDVALIDITY # DELETED 0 SIZE %d)`, 4*len(hello))+"\na OK STATUS completed")
	c.ok("SELECT Archive")
	c.want("DELETE Archive", "* OK [CLOSED] selected mailbox deleted\na OK DELETE completed")
	c.want("NOOP", "a OK NOOP completed")
	c.want("UNSELECT", "a BAD UNSELECT is not possible now")
}

func TestSearch(t *testing.T) {
	s := newServer(t)
	c := s.connect()
	for i := range 6 {
		c.append("INBOX", []string{"", `(\Seen) `}[i%2], strings.Replace(hello, "hello", fmt.Sprintf("number %d", i+1), 1))
	}
	c.ok("SELECT INBOX")
	c.ok(`STORE 1 +FLAGS.SILENT \Deleted`)
	c.ok("EXPUNGE") // UIDs 2 to 6
	c.want("SEARCH SEEN", "* SEARCH 1 3 5\na OK SEARCH completed")
	c.want("UID SEARCH UNSEEN", "* SEARCH 3 5\na OK UID SEARCH completed")
	c.want(`SEARCH SUBJECT "NUMBER 4"`, "* SEARCH 3\na OK SEARCH completed")
	c.want("SEARCH TEXT nowhere", "* SEARCH\na OK SEARCH completed")
	c.want("UID SEARCH 2:3 UID 3:4", "* SEARCH 3 4\na OK UID SEARCH completed")
	c.want("SEARCH 100", "* SEARCH\na OK SEARCH completed")
	c.want("UID SEARCH UID 100:*", "* SEARCH 6\na OK UID SEARCH completed")
	c.want("SEARCH RETURN () SEEN", `* ESEARCH (TAG "a") ALL 1,3,5`+"\na OK SEARCH completed")
	c.want("UID SEARCH RETURN (MIN MAX COUNT ALL) 1:3", `* ESEARCH (TAG "a") UID MIN 2 MAX 4 COUNT 3 ALL 2:4`+"\na OK UID SEARCH completed")
	c.want("UID SEARCH RETURN (MAX) SEEN", `* ESEARCH (TAG "a") UID MAX 6`+"\na OK UID SEARCH completed")
	c.want("SEARCH RETURN (MIN) UNSEEN", `* ESEARCH (TAG "a") MIN 2`+"\na OK SEARCH completed")
	c.want("SEARCH RETURN (MIN COUNT) TEXT nowhere", `* ESEARCH (TAG "a") COUNT 0`+"\na OK SEARCH completed")
	c.want("SEARCH RETURN (ALL) TEXT nowhere", `* ESEARCH (TAG "a")`+"\na OK SEARCH completed")
	c.want("SEARCH CHARSET KOI8-R ALL", "a NO [BADCHARSET (US-ASCII UTF-8)] only US-ASCII and UTF-8 can be searched for")
}

// A mailbox that has all the keywords it may have says that no other can be made, and
// says so again to who tries (RFC 9051 §7.1).
func TestKeywordsFull(t *testing.T) {
	s := newServer(t)
	c, other := s.connect(), s.connect()
	c.append("INBOX", "", hello)
	c.ok("SELECT INBOX")
	other.ok("SELECT INBOX")
	wild, answer := `\*)] flags that are kept`, ""
	for n := 0; n < 1000; n += 50 {
		var names []string
		for i := range 50 {
			names = append(names, fmt.Sprint("k", n+i))
		}
		if n == 950 {
			if !strings.Contains(answer, wild) {
				t.Error("there is room, and it does not say so")
			}
			if said := c.do("STORE 1 +FLAGS (%s)", strings.Join(append(names, "more"), " ")); strings.Contains(said, "FLAGS") {
				t.Errorf("too many at once: %s", said)
			}
		}
		answer = c.do("STORE 1 FLAGS.SILENT (%s)", strings.Join(names, " "))
	}
	full := func(said, end string) {
		t.Helper()
		if strings.Count(said, "* OK [PERMANENTFLAGS (") != 1 || !strings.Contains(said, " k999)] flags that are kept\n") || !strings.HasSuffix(said, end) {
			t.Errorf("%.200s ... %.200s", said, said[max(0, len(said)-200):])
		}
	}
	full(answer, "a OK STORE completed")
	full(c.do("STORE 1 +FLAGS (more)"), "a NO [LIMIT] too many keywords, or one too long")
	full(other.do("STORE 1 +FLAGS (more)"), "a NO [LIMIT] too many keywords, or one too long")
	c.ok("STORE 1 +FLAGS (k0)")
	full(c.do("SELECT INBOX"), "a OK [READ-WRITE] SELECT completed")
}

// While one client speaks of messages by number, nobody's expunge moves them.
func TestNoExpungeBySequence(t *testing.T) {
	s := newServer(t)
	a, b := s.connect(), s.connect()
	for range 3 {
		a.append("INBOX", "", hello)
	}
	a.ok("SELECT INBOX")
	b.ok("SELECT INBOX")
	a.ok(`STORE 1 +FLAGS.SILENT \Deleted`)
	a.ok("EXPUNGE")
	b.want("FETCH 3 UID", `* 3 FETCH (UID 3)`+"\na OK FETCH completed")
	b.want("SEARCH ALL", "* SEARCH 1 2 3\na OK SEARCH completed")
	b.want(`STORE 2 +FLAGS (x)`, `* FLAGS (\Answered \Flagged \Deleted \Seen \Draft x)
* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft x \*)] flags that are kept
* 2 FETCH (FLAGS (x))
a OK STORE completed`)
	b.want("FETCH 1 RFC822.SIZE", fmt.Sprintf("* 1 FETCH (RFC822.SIZE %d)\na OK FETCH completed", len(hello)))
	b.want("FETCH 1:2 BODY.PEEK[TEXT]", "* 2 FETCH (BODY[TEXT] {11}\r\nHi there.\r\n)\na NO [EXPUNGEISSUED] some of the messages have been expunged")
	b.want("UID FETCH 3 UID", "* 3 FETCH (UID 3)\n* 1 EXPUNGE\na OK UID FETCH completed")
	a.want("NOOP", `* FLAGS (\Answered \Flagged \Deleted \Seen \Draft x)
* OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft x \*)] flags that are kept
* 1 FETCH (FLAGS (\Recent x))
a OK NOOP completed`)
}

func TestIdle(t *testing.T) {
	s := newServer(t)
	a, b := s.connect(), s.connect()
	a.ok("SELECT INBOX")
	a.send("i IDLE\r\n")
	if got := a.line(); got != "+ idling" {
		t.Fatal(got)
	}
	start := time.Now()
	b.append("INBOX", "", hello)
	if got := a.line() + "\n" + a.line(); got != "* 1 EXISTS\n* 1 RECENT" {
		t.Error(got)
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("told after %v", d)
	}
	s.deliver("2.M1P1.host", "Subject: x\n\ny\n")
	if got := a.line() + "\n" + a.line(); got != "* 2 EXISTS\n* 2 RECENT" {
		t.Error(got)
	}
	b.ok("SELECT INBOX")
	b.ok(`STORE 1 +FLAGS (\Deleted)`)
	b.ok("EXPUNGE")
	if got := a.line(); got != `* 1 FETCH (FLAGS (\Recent \Deleted))` && got != "* 1 EXPUNGE" {
		t.Error(got)
	}
	a.send("DONE\r\n")
	if got := a.answer("i"); !strings.HasSuffix(got, "i OK IDLE completed") {
		t.Error(got)
	}
	a.send("i IDLE\r\n")
	a.line()
	a.send("NOOP\r\n")
	if got := a.answer("i"); got != "i BAD DONE expected" {
		t.Error(got)
	}
}

func TestMailboxes(t *testing.T) {
	s := newServer(t)
	c := s.connect()
	c.want("CREATE Sent", "a OK [MAILBOXID (@)] CREATE completed")
	c.want("CREATE Sent", "a NO [ALREADYEXISTS] mailbox exists already")
	c.want("CREATE INBOX", "a NO [ALREADYEXISTS] mailbox exists already")
	c.want("CREATE a.b.", "a OK [MAILBOXID (@)] CREATE completed")
	c.want("CREATE INBOX.c", "a OK [MAILBOXID (@)] CREATE completed")
	c.want("CREATE Entw&APw-rfe", "a OK [MAILBOXID (@)] CREATE completed")
	c.want("CREATE ../x", "a NO [CANNOT] this mailbox name cannot be used")
	c.want("CREATE INBOX.inbox", "a NO [CANNOT] this mailbox name cannot be used")
	c.want("DELETE INBOX", "a NO [CANNOT] not possible with INBOX")
	c.want("DELETE nowhere", "a NO [NONEXISTENT] no such mailbox")
	c.want("SUBSCRIBE INBOX.Sent", "a OK SUBSCRIBE completed")
	c.want(`LSUB "" *`, `* LSUB () "." "Sent"`+"\na OK LSUB completed")
	c.want("RENAME c INBOX.d", "a OK RENAME completed")
	c.want("RENAME nowhere e", "a NO [NONEXISTENT] no such mailbox")
	c.want("RENAME d Sent", "a NO [ALREADYEXISTS] mailbox exists already")
	c.want(`LIST "" %`, `* LIST (\HasNoChildren) "." "INBOX"
* LIST (\HasNoChildren) "." "Entw&APw-rfe"
* LIST (\HasNoChildren) "." "Sent"
* LIST (\Noselect \HasChildren) "." "a"
* LIST (\HasNoChildren) "." "d"
a OK LIST completed`)
	c.want(`LIST "" "INBOX.d"`, `* LIST (\HasNoChildren) "." "INBOX.d"`+"\na OK LIST completed")
	c.want(`LIST "" ""`, `* LIST (\Noselect) "." ""`+"\na OK LIST completed")
	c.want(`LIST "" (d a%) RETURN (STATUS (MESSAGES))`, `* LIST (\NonExistent \HasChildren) "." "a"
* LIST (\HasNoChildren) "." "d"
* STATUS "d" (MESSAGES 0)
a OK LIST completed`)
	c.want("STATUS INBOX.d (MESSAGES)", `* STATUS "INBOX.d" (MESSAGES 0)`+"\na OK STATUS completed")
	c.want("UNSUBSCRIBE Sent", "a OK UNSUBSCRIBE completed")
	c.ok("ENABLE UTF8=ACCEPT")
	c.want(`STATUS "Entwürfe" (MESSAGES)`, `* STATUS "Entwürfe" (MESSAGES 0)`+"\na OK STATUS completed")
}

// One failing message does not keep the others back, and what went wrong stays
// in the log.
func TestServerBug(t *testing.T) {
	s := newServer(t)
	c := s.connect()
	c.append("INBOX", "", hello)
	c.append("INBOX", "", hello)
	c.ok("SELECT INBOX")
	files, err := filepath.Glob(filepath.Join(s.maildir, "cur", "*"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(files[0], 0o700); err != nil {
		t.Fatal(err)
	}
	got := c.do("FETCH 1:2 BODY.PEEK[TEXT]")
	if strings.Count(got, "Hi there.") != 1 || strings.Contains(got, "Maildir") || strings.Contains(got, "a OK") {
		t.Errorf("got %s", got)
	}
}

// Work goes by what is there, not by how large a set the client can think up.
func TestHugeSets(t *testing.T) {
	s := newServer(t)
	c := s.connect()
	c.append("INBOX", "", hello)
	c.append("INBOX", "", hello)
	c.ok("SELECT INBOX")
	var overlapping, apart strings.Builder
	for i := range 2500 {
		fmt.Fprintf(&overlapping, "%d:%d,", 1+i, 4294967295-i)
		fmt.Fprintf(&apart, "%d,", 10+2*i)
	}
	for _, set := range []string{"1:4294967295", "4294967295:1", "*:1", "1:*", overlapping.String() + "*", apart.String() + "1:2"} {
		c.want("UID FETCH "+set+" UID", "* 1 FETCH (UID 1)\n* 2 FETCH (UID 2)\na OK UID FETCH completed")
		c.want("UID SEARCH UID "+set, "* SEARCH 1 2\na OK UID SEARCH completed")
		c.ok("UID STORE %s +FLAGS.SILENT (x)", set)
		c.ok("UID COPY %s INBOX", set)
		c.ok(`UID STORE 3:* +FLAGS.SILENT \Deleted`)
		c.ok("UID EXPUNGE 3:4294967295")
	}
	c.want("FETCH 1:4294967295 UID", "a BAD no message has this sequence number")
	c.ok(`STORE 1:2 +FLAGS.SILENT \Deleted`)
	c.ok("EXPUNGE")
	c.want("FETCH 1:* UID", "a OK FETCH completed")
	c.want("UID FETCH 1:* UID", "a OK UID FETCH completed")
	c.want("FETCH 1 UID", "a BAD no message has this sequence number")
	c.want("SEARCH RETURN (MAX) *", `* ESEARCH (TAG "a")`+"\na OK SEARCH completed")
}

// A mailbox that someone else deletes takes the session along.
func TestDeletedByOther(t *testing.T) {
	s := newServer(t)
	a, b := s.connect(), s.connect()
	a.ok("CREATE x")
	a.ok("SELECT x")
	b.ok("DELETE x")
	a.send("a NOOP\r\n")
	if got := a.line(); got != "* BYE the selected mailbox has been deleted" {
		t.Error(got)
	}
	if a.wait() == nil {
		t.Error("Serve says that all is well")
	}
	a = s.connect()
	b.ok("CREATE y")
	a.ok("SELECT y")
	a.send("a IDLE\r\n")
	a.line()
	b.ok("DELETE y")
	if got := a.line(); got != "* BYE the selected mailbox has been deleted" {
		t.Error(got)
	}
	a.wait()
}

// What others do to a message while it is fetched is told as it is in the end.
func TestSeenMeetsOthers(t *testing.T) {
	s := newServer(t)
	a, b := s.connect(), s.connect()
	a.append("INBOX", "", hello)
	a.append("INBOX", "", hello)
	a.ok("SELECT INBOX")
	b.ok("SELECT INBOX")
	b.ok(`STORE 1 +FLAGS (\Flagged)`)
	a.want("FETCH 1 BODY[TEXT]", "* 1 FETCH (BODY[TEXT] {11}\r\nHi there.\r\n FLAGS (\\Recent \\Seen))\n"+
		"* 1 FETCH (FLAGS (\\Recent \\Flagged \\Seen))\n* 1 FETCH (FLAGS (\\Recent \\Flagged \\Seen))\na OK FETCH completed")
	b.ok(`STORE 2 +FLAGS.SILENT (\Deleted)`)
	b.ok("EXPUNGE")
	a.want(`STORE 1:2 +FLAGS (\Answered)`, "* 1 FETCH (FLAGS (\\Recent \\Answered \\Flagged \\Seen))\n"+
		"a NO [EXPUNGEISSUED] some of the messages have been expunged")
	a.want("COPY 2 INBOX", "a NO [EXPUNGEISSUED] some of the messages have been expunged")
	a.want("NOOP", "* 2 EXPUNGE\n* 1 RECENT\na OK NOOP completed")
}

// Where there is no message to do something to, it is done.
func TestNothingToDo(t *testing.T) {
	s := newServer(t)
	c := s.connect()
	c.ok("SELECT INBOX")
	c.want("STORE 1:* FLAGS ()", "a OK STORE completed")
	c.want("UID STORE 1:9 FLAGS ()", "a OK UID STORE completed")
	c.want("COPY 1 INBOX", "a BAD no message has this sequence number")
	c.want("STORE 1 FLAGS ()", "a BAD no message has this sequence number")
	c.want("UID MOVE 1:* INBOX", "a OK UID MOVE completed")
	c.want("UID EXPUNGE 1:*", "a OK UID EXPUNGE completed")
	c.want("SEARCH LARGER 10", "* SEARCH\na OK SEARCH completed")
	c.append("INBOX", "", hello)
	c.want("SEARCH LARGER 10", "* SEARCH 1\na OK SEARCH completed")
	c.want("RENAME INBOX.inbox x", "a NO [NONEXISTENT] no such mailbox")
	c.want("RENAME x INBOX.inbox", "a NO [CANNOT] this mailbox name cannot be used")
	c.want("SUBSCRIBE INBOX.inbox", "a NO [CANNOT] this mailbox name cannot be used")
}

// Commands that come in one piece are answered in one piece, and in order.
func TestPipeline(t *testing.T) {
	s := newServer(t)
	c := s.connect()
	c.send("a APPEND INBOX {5+}\r\nx: y\n\r\nb SELECT INBOX\r\nc FETCH 1 BODY.PEEK[]\r\nd IDLE\r\nDONE\r\ne LOGOUT\r\n")
	got := c.answer("e")
	for _, want := range []string{"a OK [APPENDUID", "\nb OK [READ-WRITE]", "BODY[] {6}\r\nx: y\r\n)\nc OK", "\n+ idling\nd OK IDLE", "\n* BYE logging out\ne OK"} {
		_, rest, ok := strings.Cut(got, want)
		if !ok {
			t.Fatalf("no %q in %s", want, got)
		}
		got = rest
	}
}

// A large message that is fetched in pieces is read once, and comes out whole.
func TestFetchInPieces(t *testing.T) {
	s := newServer(t)
	c := s.connect()
	text := "Subject: x\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 20000)
	c.append("INBOX", "", text)
	c.append("INBOX", "", hello)
	c.ok("SELECT INBOX")
	var got strings.Builder
	piece := func(from int) string {
		answer := c.ok("UID FETCH 1 BODY.PEEK[]<%d.50000>", from)
		_, body, _ := strings.Cut(answer, "}\r\n")
		return strings.TrimSuffix(body, ")")
	}
	got.WriteString(piece(0))
	files, err := filepath.Glob(filepath.Join(s.maildir, "cur", "*"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, f := range files { // what is read now is read from memory
		if err := os.Truncate(f, 5); err != nil {
			t.Fatal(err)
		}
	}
	for from := 50000; from < len(text); from += 50000 {
		got.WriteString(piece(from))
	}
	if got.String() != text {
		t.Errorf("got %d octets, want %d", got.Len(), len(text))
	}
}

// A search that fails has saved nothing (RFC 5182 §2.1).
func TestSaveFails(t *testing.T) {
	s := newServer(t)
	c := s.connect()
	c.append("INBOX", "", hello)
	c.append("INBOX", "", hello)
	c.ok("SELECT INBOX")
	c.ok("SEARCH RETURN (SAVE) ALL")
	c.want("SEARCH $", "* SEARCH 1 2\na OK SEARCH completed")
	files, err := filepath.Glob(filepath.Join(s.maildir, "cur", "*"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	if err := os.Truncate(files[1], 1<<31); err != nil { // too large to be read
		t.Fatal(err)
	}
	if got := c.do("SEARCH RETURN (SAVE) TEXT x"); !strings.HasPrefix(got, "a NO [SERVERBUG]") {
		t.Errorf("got %s", got)
	}
	c.want("SEARCH $", "* SEARCH\na OK SEARCH completed")
}

package session

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is in the cache is answered without the message, and as before.
func TestFetchKept(t *testing.T) {
	s := newServer(t)
	texts := []string{
		"From: Ann <ann@example.org>\nSubject: first\nX-Own: 1\nsubject: second\n\nHi.\n",
		"To: b@c,\n d@e\nReferences: <a@b>\n <c@d>\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\none\n--x\nContent-Type: text/html\n\ntwo\n--x--\n",
		"no header\n\n",
		"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nDate: Mon, 2 Feb 2026 10:00:00 +0100\nMessage-ID: <m@x>",
		"\nSubject: of the text\n",
		"Subject \t: odd\nFrom: \"a\x00b\" <c@d>\n\n\x00\n",
	}
	const n = 72 // enough for the answer to one command to be kept
	for i := range n {
		s.deliver(fmt.Sprintf("%d.M1P1.host", 1000+i), texts[i%len(texts)])
	}
	c := s.connect()
	c.ok("SELECT INBOX")
	commands := []string{
		"FETCH 1:* (ENVELOPE BODY BODYSTRUCTURE)",
		"FETCH 1:* FULL",
		"UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT To date references)])",
		"FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[HEADER.FIELDS (From)])",
		"SEARCH SUBJECT grü OR FROM ann SENTSINCE 1-Jan-2026",
		"SORT (SUBJECT FROM) UTF-8 ALL",
	}
	var before []string
	for _, command := range commands {
		before = append(before, c.do("%s", command))
	}
	// Nobody looks into the messages any more.
	cur := filepath.Join(s.maildir, "cur")
	entries, err := os.ReadDir(cur)
	if err != nil || len(entries) != n {
		t.Fatal(len(entries), err)
	}
	for _, e := range entries {
		if err := os.WriteFile(filepath.Join(cur, e.Name()), []byte("Subject: no\n\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, command := range commands {
		if after := c.do("%s", command); after != before[i] {
			t.Errorf("%s: %q, not %q", command, after, before[i])
		}
	}
	// But for what the cache does not have.
	c.want("FETCH 1 BODY.PEEK[HEADER.FIELDS (X-Own Subject)]", "* 1 FETCH (BODY[HEADER.FIELDS (X-Own Subject)] {15}\r\nSubject: no\r\n\r\n)\na OK FETCH completed")
}

// What NOTIFY has told of new messages is in the cache.
func TestNotifyKept(t *testing.T) {
	s := newServer(t)
	c := s.connect()
	c.ok("SELECT INBOX")
	c.ok("NOTIFY SET (SELECTED (MessageNew (ENVELOPE) MessageExpunge))")
	c.send("a NOOP\r\na NO") // and all that comes is told at once
	c.answer("a")
	const n = 72 // enough for the answer to be kept
	for i := range n {
		s.deliver(fmt.Sprintf("%d.M1P1.host", 1000+i), "Subject: first\n\nHi.\n")
	}
	c.send("OP\r\n")
	c.answer("a")
	entries, err := filepath.Glob(filepath.Join(s.maildir, "cur", "*"))
	if err != nil || len(entries) != n {
		t.Fatal(len(entries), err)
	}
	for _, e := range entries {
		if err := os.WriteFile(e, []byte("Subject: no\n\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.do("FETCH %d ENVELOPE", n); !strings.Contains(got, "first") {
		t.Error(got)
	}
}

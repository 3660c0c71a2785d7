package session

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/message"
	"mailstead/imapserver/wire"
)

// largeText makes a message of some megaoctets, with a part in base64 and one that
// has what must not be sent as it is; ends are its line ends.
func largeText(ends string) string {
	r := rand.New(rand.NewPCG(3, 4))
	line := func() string {
		b := make([]byte, r.IntN(120))
		for i := range b {
			b[i] = byte(' ' + r.IntN(90))
		}
		return string(b) + "\n"
	}
	var text, encoded strings.Builder
	for text.Len() < 2<<20 {
		text.WriteString(line())
	}
	text.WriteString("a\x00b\rc\n")
	for encoded.Len() < 2<<20 {
		encoded.WriteString(base64.StdEncoding.EncodeToString([]byte(line() + strings.Repeat("x", 60))[:60]) + "\n")
	}
	whole := "Subject: large\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\n" + text.String() +
		"\n--b\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n" + encoded.String() + "\n--b--\n"
	return strings.ReplaceAll(whole, "\n", ends)
}

// sent is a message as clients get it.
func sent(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
	return strings.ReplaceAll(text, "\x00", "\x80")
}

// A large message is read in pieces, and is what it would be if it was read whole.
func TestLargeMessages(t *testing.T) {
	for _, ends := range []string{"\n", "\r\n"} {
		s := newServer(t)
		text := largeText(ends)
		s.deliver("1000.M1P1.host", text)
		c := s.connect()
		c.ok("SELECT INBOX")
		want := sent(text)
		get := func(item string) string {
			t.Helper()
			return strings.TrimSuffix(strings.TrimPrefix(c.ok("FETCH 1 (%s)", item), "* 1 FETCH ("), ")")
		}
		same := func(item, name, octets string) {
			t.Helper()
			if got := get(item); got != fmt.Sprintf("%s {%d}\r\n%s", name, len(octets), octets) {
				t.Errorf("%s: %d octets instead of %d: %.200q", item, len(got), len(octets), got)
			}
		}
		if got := get("RFC822.SIZE"); got != fmt.Sprint("RFC822.SIZE ", len(want)) {
			t.Error(got)
		}
		same("BODY.PEEK[]", "BODY[]", want)
		parsed := message.Parse([]byte(want))
		for name, sec := range map[string]*imap.FetchItemBodySection{
			"1": {Part: []int{1}}, "2": {Part: []int{2}}, "2.MIME": {Part: []int{2}, Specifier: imap.PartSpecifierMIME},
			"TEXT": {Specifier: imap.PartSpecifierText}, "HEADER": {Specifier: imap.PartSpecifierHeader},
			"HEADER.FIELDS (SUBJECT)": {Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"SUBJECT"}},
		} {
			b, _ := parsed.Section(sec)
			same("BODY.PEEK["+name+"]", "BODY["+name+"]", string(b))
			for range 20 {
				off, n := rand.IntN(len(b)+10), 1+rand.IntN(len(b)+10)
				piece := cut(b, &imap.SectionPartial{Offset: int64(off), Size: int64(n)})
				same(fmt.Sprintf("BODY.PEEK[%s]<%d.%d>", name, off, n), fmt.Sprintf("BODY[%s]<%d>", name, off), string(piece))
			}
		}
		for off := 0; off < len(want); off += 300_000 {
			same(fmt.Sprintf("BODY.PEEK[]<%d.300000>", off), fmt.Sprintf("BODY[]<%d>", off), want[off:min(off+300_000, len(want))])
		}
		decoded, _, err := parsed.Binary([]int{2})
		if err != nil {
			t.Fatal(err)
		}
		same("BINARY.PEEK[2]", "BINARY[2]", string(decoded))
		same("BINARY.PEEK[2]<1000.10>", "BINARY[2]<1000>", string(decoded[1000:1010]))
		if got := get("BODY.PEEK[9] BINARY.SIZE[2] ENVELOPE BODYSTRUCTURE PREVIEW BODY.PEEK[9]<0.5>"); got !=
			fmt.Sprintf("BODY[9] NIL BINARY.SIZE[2] %d ENVELOPE %s BODYSTRUCTURE %s PREVIEW %q BODY[9]<0> NIL", len(decoded),
				parsed.AppendEnvelope(nil), parsed.AppendBodyStructure(nil, true), parsed.Preview()) {
			t.Errorf("%q", got)
		}
		if len(parsing) > 0 || len(decoding) > 0 {
			t.Error("a place was not given back")
		}
	}
}

// The name of a field may have what <partial> begins with.
func TestLargeFieldNames(t *testing.T) {
	s := newServer(t)
	s.deliver("1000.M1P1.host", "X<a: 1\nX<b: 2\n"+largeText("\n"))
	c := s.connect()
	c.ok("SELECT INBOX")
	got := c.ok("FETCH 1 (BODY.PEEK[HEADER.FIELDS (X<a)] BODY.PEEK[HEADER.FIELDS (X<b)] BODY.PEEK[HEADER.FIELDS (X<b)]<3.1>)")
	if want := "* 1 FETCH (BODY[HEADER.FIELDS (X<a)] {10}\r\nX<a: 1\r\n\r\n BODY[HEADER.FIELDS (X<b)] {10}\r\nX<b: 2\r\n\r\n" +
		" BODY[HEADER.FIELDS (X<b)]<3> {1}\r\n:)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Of a header that is large, fields are read from the file, too, as often as a client
// asks for them at once.
func TestLargeHeader(t *testing.T) {
	s := newServer(t)
	var header strings.Builder
	for n := range 6_000 {
		fmt.Fprintf(&header, "X-%d: %s\n folded\n", n%7, strings.Repeat("text ", 40))
	}
	fmt.Fprintf(&header, "X-1: %s\nTo: last\n", strings.Repeat("long ", 100_000))
	text := header.String() + "\nbody\n"
	s.deliver("1000.M1P1.host", text)
	c := s.connect()
	c.ok("SELECT INBOX")
	raw := []byte(sent(text))
	parsed := message.Parse(raw)
	for name, sec := range map[string]*imap.FetchItemBodySection{
		"HEADER.FIELDS (X-1)":         {Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"X-1"}},
		"HEADER.FIELDS.NOT (X-1 X-2)": {Specifier: imap.PartSpecifierHeader, HeaderFieldsNot: []string{"X-1", "X-2"}},
		"HEADER.FIELDS (To)":          {Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"To"}},
	} {
		b, _ := parsed.Section(sec)
		if got, want := c.ok("FETCH 1 (BODY.PEEK[%s])", name), fmt.Sprintf("* 1 FETCH (BODY[%s] {%d}\r\n%s)", name, len(b), b); got != want {
			t.Errorf("%s: %d octets instead of %d", name, len(got), len(want))
		}
		for range 5 {
			off, n := rand.IntN(len(b)+10), 1+rand.IntN(len(b)+10)
			want := cut(b, &imap.SectionPartial{Offset: int64(off), Size: int64(n)})
			got := c.ok("FETCH 1 (BODY.PEEK[%s]<%d.%d>)", name, off, n)
			if want := fmt.Sprintf("* 1 FETCH (BODY[%s]<%d> {%d}\r\n%s)", name, off, len(want), want); got != want {
				t.Errorf("%s<%d.%d>: %d octets instead of %d", name, off, n, len(got), len(want))
			}
		}
		item := &wire.FetchItem{Kind: wire.FetchSection, Section: sec}
		if e := extractOf(parsed, raw, item); len(e.text) > fewOctets || len(b) <= fewOctets && string(e.text) != string(b) {
			t.Errorf("%s: %d octets are kept", name, len(e.text))
		}
	}
}

// A message that becomes shorter while it is sent ends the session: what would be
// sent in place of the rest would be taken for it.
func TestLargeShrinks(t *testing.T) {
	s := newServer(t)
	s.deliver("1000.M1P1.host", largeText("\r\n"))
	c := s.connect()
	c.ok("SELECT INBOX")
	c.ok("FETCH 1 (BODY.PEEK[]<0.10>)")
	if err := os.Truncate(filepath.Join(s.maildir, "cur", "1000.M1P1.host:2,"), 1000); err != nil {
		t.Fatal(err)
	}
	c.send("a FETCH 1 (BODY.PEEK[]<500.100000>)\r\n")
	if got, ended := c.answerOrEnd(); !ended || strings.Contains(got, "a OK") {
		t.Errorf("%.200q", got)
	}
}

// Clients that take nothing cost no memory in proportion to what they ask for, and
// no descriptor once they have left.
func TestLargeStalled(t *testing.T) {
	s := newServer(t)
	s.deliver("1000.M1P1.host", largeText("\n")+strings.Repeat("and more\n", 600<<10))
	c := s.connect()
	c.ok("SELECT INBOX")
	files := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	c.ok("FETCH 1 (BODY.PEEK[1])")
	for _, what := range []string{"BODY.PEEK[]", "BODY.PEEK[1]", "BODY.PEEK[TEXT]<5.8000000>", "(BODYSTRUCTURE BODY.PEEK[])"} {
		before, open := heap(), files()
		stalled := s.stalled(20, what)
		if grown := heap() - before; grown > 20<<20 {
			t.Errorf("%s: %d octets for 20 clients that take nothing of ten megaoctets", what, grown)
		}
		for _, p := range stalled {
			p.conn.Close()
		}
		for until := time.Now().Add(10 * time.Second); files() > open && time.Now().Before(until); {
			time.Sleep(10 * time.Millisecond)
		}
		if left := files() - open; left > 0 {
			t.Errorf("%s: %d descriptors are left", what, left)
		}
	}
}

// Two clients that are slow to take what is decoded keep others waiting for a while, and
// no longer.
func TestLargeDecodedSlowly(t *testing.T) {
	was := decodePatience
	t.Cleanup(func() { decodePatience = was }) // when the server is gone
	decodePatience = 100 * time.Millisecond
	s := newServer(t)
	s.deliver("1000.M1P1.host", largeText("\n"))
	s.deliver("1001.M1P1.host", largeText("\n"))
	var slow []*peer
	for range cap(decoding) {
		p := s.connect()
		p.ok("SELECT INBOX")
		p.send("b FETCH 1 BINARY.PEEK[2]\r\n")
		p.br.Peek(1)
		slow = append(slow, p)
	}
	c := s.connect()
	c.ok("SELECT INBOX")
	if said := c.do("FETCH 1:2 BINARY.PEEK[2]"); !strings.Contains(said, " NO [LIMIT] ") {
		t.Errorf("%.300q", said)
	}
	for _, p := range slow {
		p.conn.Close()
	}
	for try := 0; !strings.Contains(c.do("FETCH 1 BINARY.PEEK[2]"), " OK "); try++ {
		if try == 100 {
			t.Fatal("those who have left have a place")
		}
	}
}

package session

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// randomText makes a message of lines that end in CRLF, of any octets but NUL, CR
// and LF; some lines are long, or look like something else.
func randomText(r *rand.Rand) string {
	var b strings.Builder
	b.WriteString("Subject: x\r\n\r\n")
	for range r.IntN(20) {
		switch r.IntN(8) {
		case 0:
			b.WriteString(")\r\n")
		case 1:
			b.WriteString("a LOGOUT\r\n")
		case 2:
			b.WriteString(" {3+}\r\n")
		}
		for range r.IntN(200) * (1 + 20*r.IntN(2)) {
			c := byte(1 + r.IntN(255))
			if c != '\r' && c != '\n' {
				b.WriteByte(c)
			}
		}
		b.WriteString("\r\n")
	}
	return b.String()
}

func literal(s string) string { return fmt.Sprintf("{%d+}\r\n%s", len(s), s) }

// What is appended is what is fetched, to the octet, however it came.
func TestRoundTrip(t *testing.T) {
	c := newServer(t).connect()
	c.ok("CREATE Box")
	c.ok("SELECT INBOX")
	r := rand.New(rand.NewPCG(1, 2))
	for range 25 {
		one, two := randomText(r), randomText(r)
		c.ok("STORE 1:* +FLAGS.SILENT (\\Deleted)")
		c.ok("EXPUNGE")
		c.ok("APPEND INBOX %s ~%s", literal(one), literal(two))
		c.ok("APPEND INBOX ~%s", literal(one))
		uid := strings.Fields(c.ok("FETCH 3 UID"))[4]
		n := 1 + r.IntN(len(one)-1)
		c.ok("APPEND Box CATENATE (URL \"/INBOX/;UID=%[1]s/;PARTIAL=0.%[2]d\" URL \"/INBOX/;UID=%[1]s/;PARTIAL=%[2]d\" TEXT %[3]s)",
			strings.TrimSuffix(uid, ")"), n, literal(two))
		c.ok("REPLACE 3 INBOX %s", literal(two))
		for seq, want := range []string{one, two, two} {
			fetched(t, c, seq+1, want)
		}
		c.ok("SELECT Box")
		fetched(t, c, 1, one+two)
		c.ok("STORE 1 +FLAGS.SILENT (\\Deleted)")
		c.ok("EXPUNGE")
		c.ok("SELECT INBOX")
	}
}

func fetched(t *testing.T, c *peer, seq int, want string) {
	t.Helper()
	got := c.ok("FETCH %d (RFC822.SIZE BODY.PEEK[])", seq)
	if whole := fmt.Sprintf("* %d FETCH (RFC822.SIZE %d BODY[] {%d}\r\n%s)", seq, len(want), len(want), want); got != whole {
		t.Errorf("got %.300q\nwant %.300q", got, whole)
	}
}

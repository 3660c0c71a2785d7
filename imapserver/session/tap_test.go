package session

import (
	"io"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/transcript"
)

// overheard is what a tap has told.
type overheard struct{ syncBuffer }

func listenTo(tap *Tap) *overheard {
	o := &overheard{}
	tap.Listen(transcript.New(false, func(l transcript.Line) { io.WriteString(o, l.Text+"\n") }))
	return o
}

// has waits for a line.
func (o *overheard) has(t *testing.T, line string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(o.String(), line+"\n"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %q in\n%.2000s", line, o)
		}
	}
}

// Who comes while a message is under way hears none of it, and all that follows.
func TestTapWithinMessages(t *testing.T) {
	s := newServer(t)
	s.deliver("1.M1P1.host", "Subject: large\r\n\r\n"+strings.Repeat("secret {900000}\r\n", 30_000))
	s.params.Tap = new(Tap)
	c := s.connect()
	c.send("z APPEND INBOX {24}\r\n")
	c.line()
	c.send("Subject: x\r\n")
	hears := listenTo(s.params.Tap)
	c.send("\r\nsecret\r\n\r\n\r\n")
	c.answer("z")
	c.do("SELECT INBOX")
	hears.has(t, "a OK [READ-WRITE] SELECT completed")

	c.send("b FETCH 1 BODY.PEEK[]\r\n")
	head, err := c.br.ReadString('\n')
	if err != nil || !strings.Contains(head, "BODY[] {") {
		t.Fatal(head, err)
	}
	tells := listenTo(s.params.Tap) // most of it waits until it is read
	for line := ""; !strings.HasSuffix(line, ")\r\n") && err == nil; {
		line, err = c.br.ReadString('\n')
	}
	c.answer("b")
	c.do("NOOP")
	for _, o := range []*overheard{hears, tells} {
		if strings.Contains(o.String(), "secret") {
			t.Errorf("told:\n%.2000s", o)
		}
	}
	if want := "a NOOP\na OK NOOP completed\n"; tells.String() != want {
		t.Errorf("told %.2000q, not %q", tells, want)
	}

	c.send("c IDLE\r\n")
	c.line()
	idles := listenTo(s.params.Tap)
	s.deliver("2.M1P1.host", "Subject: new\r\n\r\n")
	idles.has(t, "* 3 EXISTS")
	c.send("DONE\r\n")
	c.answer("c")
	idles.has(t, "DONE")
}

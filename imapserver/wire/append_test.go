package wire

import (
	"io"
	"strings"
	"testing"
)

// readAppend reads an APPEND to its end: its messages with "|" between them,
// URLs of CATENATE in "<>".
func readAppend(c *Append) (string, error) {
	var b strings.Builder
	for m := c.First; ; {
		for {
			p, err := m.Part()
			if err != nil {
				return b.String(), err
			}
			if p == nil {
				break
			}
			if p.Text == nil {
				b.WriteString("<" + p.URL + ">")
			} else if _, err := io.Copy(&b, p.Text); err != nil {
				return b.String(), err
			}
		}
		next, err := c.Next()
		if next == nil {
			return b.String(), err
		}
		b.WriteString("|")
		m = next
	}
}

func TestAppend(t *testing.T) {
	in := "a APPEND x (\\Seen) \" 1-Feb-2026 03:04:05 +0100\" {5}\r\nhello\r\n" +
		"b APPEND x {5+}\r\nworld\r\n" +
		"c APPEND x {5+}\r\nunread\r\n" + // one octet too many
		"d APPEND x {5}\r\n" + // refused before it is sent
		"e APPEND x {5+}\r\nunread!\r\n" + // forgotten
		"f NOOP\r\n"
	c := newClient(in, &PostAuth)
	next := func(tag string) Command {
		t.Helper()
		req, err := c.ReadCommand(Authenticated)
		if err != nil || req.Tag != tag {
			t.Fatalf("command %s: got %v, %v", tag, req, err)
		}
		return req.Command
	}
	a := next("a").(*Append)
	if got := c.said(); got != "" {
		t.Errorf("said %q before the message was wanted", got)
	}
	first := a.First
	if b, err := readAppend(a); b != "hello" || err != nil || c.said() != "+ go ahead\r\n" {
		t.Errorf("message: %q, %v", b, err)
	}
	if got := AppendDateTime(nil, first.Date); string(got) != `" 1-Feb-2026 03:04:05 +0100"` || a.Mailbox != "x" || len(first.Flags) != 1 {
		t.Errorf("arguments: %+v %+v", a, first)
	}
	if b, err := readAppend(next("b").(*Append)); b != "world" || err != nil || c.said() != "" {
		t.Errorf("message that was sent at once: %q, %v", b, err)
	}
	if _, err := readAppend(next("c").(*Append)); err == nil {
		t.Error("garbage after a message was taken")
	}
	if err := next("d").(*Append).Close(); err != nil {
		t.Error(err)
	}
	next("e")
	next("f")
}

// Several messages, and messages in parts, are read one after the other; so is
// what comes after one that is refused.
func TestAppendParts(t *testing.T) {
	limits := PostAuth
	limits.Message, limits.Items = 10, 4
	for _, tt := range []struct{ in, want, said string }{
		{"{3}\r\nabc {2+}\r\nde", "abc|de", "+ go ahead\r\n"},
		{"{1+}\r\na (\\Seen) \" 1-Feb-2026 03:04:05 +0100\" ~{3+}\r\nb\x00c", "a|b\x00c", ""},
		{"CATENATE (URL \"/x\" TEXT {2+}\r\nab URL {2+}\r\n/y TEXT ~{1+}\r\n\x00) {1+}\r\nz", "</x>ab</y>\x00|z", ""},
		{"CATENATE (TEXT {5+}\r\n12345 TEXT {6+}\r\n123456)", "!12345", ""},
		{"CATENATE (TEXT {5+}\r\n12345 TEXT {6}\r\n", "!12345", ""},
		{"CATENATE (TEXT {1+}\r\na", "!a", ""},
		{"CATENATE (TEXT {1+}\r\na URL x URL x URL x URL x)", "!a<x><x><x>", ""},
		{"CATENATE (TEXT {1+}\r\naURL x)", "!a", ""},
		{"{1+}\r\na {1+}\r\na {1+}\r\na {1+}\r\na {1+}\r\na", "!a|a|a|a", ""},
		{"{1+}\r\na {11+}\r\n12345678901", "!a", ""},
		{"{1+}\r\na {11}\r\n", "!a", ""},
		{"{1+}\r\na (", "!a", ""},
		{"{1+}\r\na ", "!a", ""},
	} {
		c := newClient("a APPEND x "+strings.TrimSuffix(tt.in, "\r\n")+"\r\nb NOOP\r\n", &limits)
		req, err := c.ReadCommand(Authenticated)
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
			continue
		}
		got, err := readAppend(req.Command.(*Append))
		if err != nil {
			if got = "!" + got; !refusal(err) {
				t.Errorf("%q: %v", tt.in, err)
			}
		}
		if said := c.said(); got != tt.want || said != tt.said {
			t.Errorf("%q: got %q, said %q", tt.in, got, said)
		}
		if req, err := c.ReadCommand(Authenticated); err != nil || req.Tag != "b" {
			t.Errorf("%q: then %v, %v", tt.in, req, err)
		}
	}
}

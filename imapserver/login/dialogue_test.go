package login

import (
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

func TestGreetings(t *testing.T) {
	s := start(t, nil)
	const before = "* OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL- SASL-IR ID ENABLE IDLE STARTTLS"
	for listener, want := range map[string]string{
		"imap":  before + " LOGINDISABLED LOGIN-REFERRALS] ",
		"plain": before + " AUTH=PLAIN AUTH=LOGIN LOGIN-REFERRALS] ",
	} {
		s.dial(listener).want(want)
	}
	s.dialTLS("mail.example").want("* OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL- SASL-IR ID ENABLE IDLE AUTH=PLAIN AUTH=LOGIN LOGIN-REFERRALS] ")
}

func TestStartTLS(t *testing.T) {
	s := start(t, nil)
	c := s.dial("imap")
	c.want("* OK ")
	c.send("a LOGIN alice right\r\nb AUTHENTICATE PLAIN\r\n")
	c.want("a NO [PRIVACYREQUIRED] ", "b NO [PRIVACYREQUIRED] ")
	c = c.starttls("mail.example", s.roots)
	// No second greeting: the next octets are the answer to this.
	c.send("a CAPABILITY\r\n")
	c.want("* CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL- SASL-IR ID ENABLE IDLE AUTH=PLAIN AUTH=LOGIN LOGIN-REFERRALS", "a OK ")
	c.send("b STARTTLS\r\n")
	c.want("b BAD ")
	c.send("c LOGIN alice right\r\n")
	c.want("c OK echo")
	c.send("hello\r\nbye\r\n")
	c.want("hello", "gone")
	if rest := c.end(); rest != "" {
		t.Errorf("%q after the end", rest)
	}
}

// TestStartTLSInjection is CVE-2011-0411 and its many children: whatever comes
// in the clear behind STARTTLS, cut anywhere into two segments, is never taken
// for something that was said under TLS.
func TestStartTLSInjection(t *testing.T) {
	s := start(t, func(l *Limits) { l.PerSource, l.NewMinute = 1000, 10000 })
	const injected = "a STARTTLS\r\nb NOOP\r\nc LOGIN alice right\r\n"
	for cut := strings.Index(injected, "\n"); cut <= len(injected); cut++ {
		c := s.dial("imap")
		c.want("* OK ")
		c.send(injected[:cut])
		time.Sleep(time.Millisecond)
		c.Write([]byte(injected[cut:])) // unless it is closed already
		c.Conn.(*net.TCPConn).CloseWrite()
		said, _ := readAll(c)
		if cut == len(injected) && said != "" {
			t.Errorf("all in one segment: %q", said)
		}
		if said = strings.TrimPrefix(said, "a OK Begin TLS now.\r\n"); strings.ContainsAny(said, "bc") && strings.Contains(said, " OK") {
			t.Errorf("cut at %d: %q", cut, said)
		}
	}
	if len(s.echo.opened) != 0 {
		t.Error("an injected LOGIN was executed")
	}
}

func readAll(c *client) (string, error) {
	var b strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			return b.String(), err
		}
	}
}

func TestLiteralOverStartTLS(t *testing.T) {
	s := start(t, nil)
	c := s.dial("imap")
	c.want("* OK ")
	// The literal swallows the STARTTLS: nothing of it is a command.
	c.send("a LOGIN {12}\r\n")
	c.want("+ ")
	c.send("b STARTTLS\r\n x\r\n")
	c.want("a NO [PRIVACYREQUIRED] ")
	c.send("c NOOP\r\n")
	c.want("c OK ")
}

func TestLogins(t *testing.T) {
	plain := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, tt := range []struct {
		name  string
		lines []string // what the client sends, and what it wants after "> "
	}{
		{"LOGIN", []string{"a LOGIN alice right", "> a OK echo"}},
		{"LOGIN with literals", []string{"a LOGIN {5}", "> + ", "alice {5+}", "right", "> a OK echo"}},
		{"LOGIN quoted", []string{`a login "alice" "right"`, "> a OK echo"}},
		{"PLAIN with initial response", []string{"a AUTHENTICATE PLAIN " + plain("\x00alice\x00right"), "> a OK echo"}},
		{"PLAIN", []string{"a AUTHENTICATE PLAIN", "> + ", plain("alice\x00alice\x00right"), "> a OK echo"}},
		{"AUTHENTICATE LOGIN", []string{"a AUTHENTICATE LOGIN", "> + " + plain("Username:"), plain("alice"), "> + " + plain("Password:"), plain("right"), "> a OK echo"}},
		{"wrong, then right", []string{"a LOGIN alice wrong", "> a NO [AUTHENTICATIONFAILED] ", "b LOGIN alice right", "> b OK echo"}},
		{"aborted, then right", []string{"a AUTHENTICATE PLAIN", "> + ", "*", "> a BAD ", "b LOGIN alice right", "> b OK echo"}},
		{"authzid", []string{"a AUTHENTICATE PLAIN " + plain("bob\x00alice\x00right"), "> a NO [AUTHENTICATIONFAILED] "}},
		{"trailing data", []string{"a AUTHENTICATE PLAIN " + plain("\x00alice\x00right\x00"), "> a BAD "}},
		{"bad base64", []string{"a AUTHENTICATE PLAIN !!!!", "> a BAD "}},
		{"empty initial response", []string{"a AUTHENTICATE PLAIN =", "> a BAD "}},
		{"unknown mechanism", []string{"a AUTHENTICATE CRAM-MD5", "> a NO "}},
		{"NUL in the name", []string{"a AUTHENTICATE LOGIN", "> + ", plain("alice\x00"), "> + ", plain("right"), "> a NO "}},
		{"empty password", []string{`a LOGIN alice ""`, "> a NO [AUTHENTICATIONFAILED] "}},
		{"not before login", []string{"a ENABLE UTF8=ACCEPT", "> a BAD ", "b SELECT INBOX", "> b BAD "}},
		{"ID", []string{`a ID ("name" "x" "version" "1")`, `> * ID ("name" "Mailstead")`, "> a OK "}},
		{"LOGOUT", []string{"a LOGOUT", "> * BYE ", "> a OK "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, nil)
			c := s.dial("plain")
			c.want("* OK ")
			for _, line := range tt.lines {
				if want, ok := strings.CutPrefix(line, "> "); ok {
					c.want(want)
				} else {
					c.send(line + "\r\n")
				}
			}
		})
	}
}

func TestPipelineGoesToTheWorker(t *testing.T) {
	s := start(t, nil)
	c := s.dialTLS("mail.example")
	big := strings.Repeat("x", 3000)
	c.send("a LOGIN alice right\r\n" + big + "\r\nsecond\r\nbye\r\n")
	c.want("* OK ", "a OK echo", big, "second", "gone")
	if rest := c.end(); rest != "" {
		t.Errorf("%q after the end", rest)
	}
}

func TestNoWorker(t *testing.T) {
	s := start(t, nil)
	s.echo.refuse = errors.New("no process left")
	c := s.dial("plain")
	c.want("* OK ")
	c.send("a LOGIN alice right\r\n")
	if line := c.line(); !strings.HasPrefix(line, "a NO [UNAVAILABLE] ") || strings.Contains(line, "process") {
		t.Errorf("%q", line)
	}
	if n := s.Sessions(); n != 0 {
		t.Errorf("%d sessions", n)
	}
	c.send("b NOOP\r\n")
	c.want("b OK ")
}

func TestForeignProtocols(t *testing.T) {
	s := start(t, nil)
	for _, first := range []string{
		"GET / HTTP/1.1\r\nHost: mail.example\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\n\r\na LOGIN alice right\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"CUSTOM /x HTTP/1.1\r\n\r\na LOGIN alice right\r\n",
		"EHLO mail.example\r\n",
		"SSH-2.0-OpenSSH_9.2\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
	} {
		c := s.dial("plain")
		c.want("* OK ")
		c.send(first)
		if said := c.end(); said != "" {
			t.Errorf("%.20q was answered %q", first, said)
		}
	}
	// Cut so that the first look shows nothing, the tag still does.
	c := s.dial("plain")
	c.want("* OK ")
	c.send("PO")
	time.Sleep(5 * time.Millisecond)
	c.send("ST / HTTP/1.1\r\nb LOGIN alice right\r\n")
	if said := c.end(); said != "" {
		t.Errorf("a POST in two segments was answered %q", said)
	}
	if len(s.echo.opened) != 0 {
		t.Error("a LOGIN in a request of HTTP was executed")
	}
}

package siege_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// injections are what somebody in the middle puts behind STARTTLS, so that it
// might be taken for something that was said under TLS.
var injections = []string{
	"b LOGIN alice wonder\r\n",
	"b NOOP\r\n",
	"b CAPABILITY\r\nc LOGIN alice wonder\r\n",
	"b AUTHENTICATE PLAIN AGFsaWNlAHdvbmRlcg==\r\n",
	"b AUTHENTICATE PLAIN\r\nAGFsaWNlAHdvbmRlcg==\r\n",
	"b LOGIN alice {6+}\r\nwonder\r\n",
	"b LOGIN alice {6}\r\n",       // a literal that stays open over the upgrade
	"b LOGIN {200+}\r\n",          // which would swallow what the client says then
	"b LOGIN alice ",              // a line that the client would end
	"b",                           // a tag
	"\r\n",                        // an empty line
	"b NOOP\r\nc STARTTLS\r\n",    // another upgrade
	"b ID (\"name\" \"evil\"\r\n", // a command that is no command
	" ",
}

// TestInjection sends each of them behind STARTTLS, cut into two segments after
// every octet (T07, CVE-2011-0411 and those after it): the connection ends, and
// nothing is answered but STARTTLS.
func TestInjection(t *testing.T) {
	d := start(t, open())
	splits := 0
	for _, injected := range injections {
		text := "a STARTTLS\r\n" + injected
		for cut := 0; cut <= len(text); cut++ {
			c := d.dial(t, "imap")
			if cut > 0 {
				c.send(text[:cut])
				time.Sleep(time.Millisecond / 2)
			}
			c.Write([]byte(text[cut:])) // unless it is closed already
			c.Conn.(interface{ CloseWrite() error }).CloseWrite()
			said, _ := c.rest()
			said = strings.TrimPrefix(said, "a OK Begin TLS now.\r\n")
			if strings.Trim(said, "\x15\x03\x01\x02\x00\x16") != "" && !strings.HasPrefix(said, "\x15\x03") { // an alert of TLS
				t.Errorf("%q cut at %d was answered %q", injected, cut, said)
			}
			c.Close()
			splits++
		}
	}
	if strings.Contains(d.said(), "msg=login ") || strings.Contains(d.said(), `msg="login failed"`) {
		t.Error("an injected login was tried")
	}
	t.Logf("%d splits", splits)
}

// TestInjectionBeforeTLS sends each of them in one segment with STARTTLS, and then
// shakes hands, as the client does who knows nothing of what somebody has put before
// its ClientHello (T07): there is no TLS under which it could be executed.
func TestInjectionBeforeTLS(t *testing.T) {
	d := start(t, open())
	for _, injected := range injections {
		c := d.dial(t, "imap")
		c.send("a STARTTLS\r\n" + injected)
		c.r.ReadString('\n') // unless it is closed already
		up := tls.Client(c.Conn, d.trust())
		if up.Handshake() != nil {
			continue
		}
		up.Write([]byte("z LOGOUT\r\n"))
		said, err := io.ReadAll(up)
		t.Errorf("%q is followed by TLS, under which is said %q, %v", injected, said, err)
	}
}

// TestStateAfterStartTLS looks for anything that was said in the clear and counts
// under TLS (T07).
func TestStateAfterStartTLS(t *testing.T) {
	d := start(t, open())
	// A name that was said in the clear is not the client's.
	c := d.dial(t, "imap")
	c.send("a ID (\"name\" \"evil\")\r\n")
	c.until("a OK ")
	c = d.starttls(c)
	c.send("b LOGIN alice wonder\r\nc LOGOUT\r\n")
	c.until("c OK ")
	if log := d.said(); strings.Contains(log, "evil") || !strings.Contains(log, "msg=login ") {
		t.Errorf("log: %s", log)
	}
	// A SASL exchange in the clear is refused before anything of it is sent, and
	// what would have been its answer is no command's.
	c = d.dial(t, "imap")
	c.send("a AUTHENTICATE PLAIN\r\n")
	c.until("a NO [PRIVACYREQUIRED]")
	c = d.starttls(c)
	c.send("AGFsaWNlAHdvbmRlcg==\r\nb NOOP\r\n")
	if line := c.until("b "); !strings.HasPrefix(line, "b OK") {
		t.Errorf("%q", line)
	}
	// A literal that was announced in the clear is read in the clear.
	c = d.dial(t, "imap")
	c.send("a LOGIN {12}\r\n")
	c.until("+ ")
	c.send("s STARTTLS\r\n x\r\n")
	c.until("a NO [PRIVACYREQUIRED]")
	c = d.starttls(c)
	c.send("b NOOP\r\n")
	c.until("b OK")
}

// TestStartTLSSanity asks for TLS where there can be none (T08).
func TestStartTLSSanity(t *testing.T) {
	d := start(t, open())
	capabilities := func(c *client) string {
		c.send("cap CAPABILITY\r\n")
		return c.until("* CAPABILITY ")
	}
	clear := d.dial(t, "imap")
	if caps := capabilities(clear); !strings.Contains(caps, " LOGINDISABLED") || strings.Contains(caps, "AUTH=") {
		t.Errorf("in the clear: %s", caps)
	}
	clear.send("a LOGIN alice wonder\r\nb AUTHENTICATE PLAIN AGFsaWNlAHdvbmRlcg==\r\nb2 AUTHENTICATE LOGIN\r\n")
	for _, want := range []string{"a NO [PRIVACYREQUIRED]", "b NO [PRIVACYREQUIRED]", "b2 NO [PRIVACYREQUIRED]"} {
		clear.until(want)
	}
	for name, c := range map[string]*client{"after STARTTLS": d.starttls(d.dial(t, "imap")), "on imaps": d.dial(t, "imaps")} {
		if caps := capabilities(c); strings.Contains(caps, "LOGINDISABLED") || strings.Contains(caps, "STARTTLS") || !strings.Contains(caps, "AUTH=PLAIN") {
			t.Errorf("%s: %s", name, caps)
		}
		c.send("a STARTTLS\r\n")
		c.until("a BAD ")
		// Inside of an exchange it is a response that is no base64.
		c.send("b AUTHENTICATE PLAIN\r\n")
		c.until("+ ")
		c.send("c STARTTLS\r\n")
		c.until("b BAD ")
		c.send("d LOGIN alice wonder\r\ne STARTTLS\r\n")
		c.until("d OK ")
		c.until("e BAD ")
	}
	for _, listener := range []string{"imap", "plain"} {
		c := d.dial(t, listener)
		c.send("a STARTTLS x\r\n")
		c.until("a BAD ")
		c = d.dial(t, listener)
		c.send(fmt.Sprintf("a STARTTLS%s\r\n", " "))
		c.until("a BAD ")
	}
}

package login

import (
	"testing"
)

// What is switched off on a listener is neither offered there before login nor
// taken, and the worker is told which listener it was.
func TestSwitchedOff(t *testing.T) {
	s := start(t, nil)
	c := testConfig()
	c.Listeners[2].Off = []string{"SASL-IR", "ID", "AUTH=LOGIN", "QUOTA-IS-NONE"}
	if s.Update(c, s.bundles) == nil {
		t.Error("a name that is no capability's is taken")
	}
	c.Listeners[2].Off = c.Listeners[2].Off[:3]
	if err := s.Update(c, s.bundles); err != nil {
		t.Fatal(err)
	}
	s.dial("imap").want("* OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL- SASL-IR ID ")
	client := s.dial("plain")
	client.want("* OK [CAPABILITY IMAP4rev1 LITERAL- ENABLE IDLE STARTTLS AUTH=PLAIN LOGIN-REFERRALS] ")
	client.send("a ID NIL\r\nb AUTHENTICATE PLAIN =\r\nc AUTHENTICATE LOGIN\r\nd LOGIN alice right\r\n")
	client.want("a BAD ", "b BAD ", "c NO ", "d OK echo")
	if o := s.echo.opened; len(o) != 1 || o[0].Listener != "plain" {
		t.Errorf("%d sessions: %+v", len(o), o)
	}
}

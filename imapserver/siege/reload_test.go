package siege_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestLimitsAreReloaded changes what login counts and what auth counts, which may
// be processes of their own, while a session is there.
func TestLimitsAreReloaded(t *testing.T) {
	d := start(t, open())
	session := d.login(t)
	wrong := func(n int) (said string) {
		c := d.dial(t, "plain")
		for i := range n {
			c.send(fmt.Sprintf("a%d LOGIN alice wrong%d\r\n", i, i))
			line, err := c.r.ReadString('\n')
			if said += line; err != nil || strings.HasPrefix(line, "* BYE") {
				break
			}
		}
		return said
	}
	if said := wrong(2); strings.Count(said, "AUTHENTICATIONFAILED") != 2 {
		t.Errorf("before: %q", said)
	}
	d.conf.Limits["failedLogins"] = 1
	d.configure()
	d.reload()
	if said := wrong(2); strings.Count(said, "AUTHENTICATIONFAILED") != 1 || !strings.Contains(said, "* BYE Too many failed logins.") {
		t.Errorf("with one refusal a connection: %q", said)
	}
	d.conf.Limits["guessesPerUser"] = 2
	d.configure()
	d.reload()
	c := d.dial(t, "plain")
	c.send("a LOGIN bob wrong1\r\n")
	c.until("a NO [AUTHENTICATIONFAILED]")
	c = d.dial(t, "plain")
	c.send("a LOGIN bob wrong2\r\n")
	c.until("a NO [LIMIT]")
	session.send("a NOOP\r\n")
	session.until("a OK ")
}

package imapserver

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/config"
)

// TestSessionFaults ends sessions by a fault of ours, one after another: each is counted, and
// after some the client is turned away.
func TestSessionFaults(t *testing.T) {
	dir := t.TempDir()
	cert := issue(t, time.Now().Add(time.Hour), "mail.example")
	i, addr, log := inline(t, testConfig(dir), []config.User{testUser(t, dir, "alice"), testUser(t, dir, "bob")}, cert)
	i.mail.neighbours = nil // which every session asks
	trust := &tls.Config{ServerName: "mail.example", RootCAs: pool(t, cert)}
	login := func(user string) string {
		c := dialTLS(t, addr["imaps"], trust)
		defer c.Close()
		c.until("* OK ")
		c.send("a LOGIN " + user + " pw-" + user + "\r\n")
		line, _ := c.r.ReadString('\n')
		return line
	}
	faults := func() float64 { return numbers(i.metrics(t.Context()))["mailstead_faults_total session"] }
	ended := 0
	for deadline := time.Now().Add(30 * time.Second); ; {
		if strings.HasPrefix(login("alice"), "a NO [LIMIT] ") {
			break
		}
		ended++
		for faults() < float64(ended) {
			if time.Now().After(deadline) {
				t.Fatalf("%v of %d faults are counted, and nobody is turned away", faults(), ended)
			}
			time.Sleep(time.Millisecond)
		}
	}
	if n := strings.Count(log.String(), "session lost to a fault of ours"); n != ended || ended > 20 {
		t.Errorf("%d sessions, %d in the log", ended, n)
	}
	if said := login("bob"); strings.HasPrefix(said, "a NO") {
		t.Errorf("another user: %q", said)
	}
}

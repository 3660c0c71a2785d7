package imapserver

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
)

// TestVisitLogin has a login serve a client that auth gives it, as one that has come by
// the network, whatever the limits are.
func TestVisitLogin(t *testing.T) {
	l := *impatient(time.Minute)
	l.Full, l.Begin, l.PerSource = 0, 0, 0
	f := startLogin(t, &l, testConfig(t.TempDir()))
	if !refused(t, f.addr) {
		t.Fatal("the limits of the test are none")
	}
	ours, theirs, err := handoff.StreamPair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	f.Send(&handoff.Visit{Stream: theirs})
	theirs.Close()
	c := newClient(t, tls.Client(ours, &tls.Config{ServerName: "mail.example", RootCAs: pool(t, f.cert)}))
	c.until("* OK")
	c.send("a LOGOUT\r\n")
	c.until("a OK")
	// What is no connection ends nothing.
	f.Send(&handoff.Visit{Stream: f.board})
	if s, _ := f.state(true); s.Error != "" {
		t.Error(s.Error)
	}
}

// TestVisitParted finds the login of a listener.
func TestVisitParted(t *testing.T) {
	p := startParted(t, partedConfig(t.TempDir()))
	one, _ := p.login("imap")
	p.login("imaps")
	visit := func(listener string) error {
		ours, theirs, err := handoff.StreamPair()
		if err != nil {
			t.Fatal(err)
		}
		ours.Close()
		return p.Visit(listener, theirs)
	}
	waitUntil(t, func() bool { return visit("imap") == nil })
	receive[*handoff.Visit](t, one).Stream.Close()
	if err := visit("other"); err == nil || !strings.Contains(err.Error(), "no login") {
		t.Errorf("a listener that there is not: %v", err)
	}
}

// TestVisit goes by the control socket, to a daemon of one process.
func TestVisit(t *testing.T) {
	dir := t.TempDir()
	conf := testConfig(dir)
	log, stop := run(t, write(t, dir, conf, nil, issue(t, time.Now().Add(time.Hour), "mail.example")))
	defer stop()
	waitUntil(t, func() bool { return strings.Contains(log.String(), "serving") })
	c, err := control.Visit(t.Context(), conf.Control, "imap")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	newClient(t, c).until("* OK")
	if _, err := control.Visit(t.Context(), conf.Control, "other"); err == nil || !strings.Contains(err.Error(), `there is no listener "other"`) {
		t.Errorf("a listener that there is not: %v", err)
	}
}

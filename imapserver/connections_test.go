package imapserver

import (
	"context"
	"crypto/tls"
	"io"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
)

// asking asks a daemon of this process about connections.
func asking(t *testing.T, s server) func(control.Request) control.Status {
	r := &running{server: s, log: Options{}.log()}
	return func(q control.Request) control.Status { t.Helper(); return r.answer(t.Context(), q) }
}

// idles waits until a session is said to be in a command and to wait for something.
func idles(t *testing.T, ask func(control.Request) control.Status, id, command, waits string) control.Connection {
	t.Helper()
	var last control.Status
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		last = ask(control.Request{Verb: control.VerbSessions, ID: id, Explain: true})
		if len(last.Connected) == 1 && last.Connected[0].Doing != nil && last.Connected[0].Doing.Command == command && last.Connected[0].Doing.Waits == waits {
			return last.Connected[0]
		}
	}
	t.Fatalf("no %q that waits for %q: %+v", command, waits, last.Connected)
	panic("not reached")
}

// aboutAlice goes through what can be asked of a session that has logged in.
func aboutAlice(t *testing.T, c *client, ask func(control.Request) control.Status) {
	t.Helper()
	all := ask(control.Request{Verb: control.VerbSessions})
	if len(all.Connected) != 1 || all.Error != "" {
		t.Fatalf("%+v", all)
	}
	s := all.Connected[0]
	if s.User != "alice" || s.Listener != "imaps" || s.Address != "127.0.0.1" || !strings.HasPrefix(s.TLS, "TLS 1.") || s.Client != "Test 7" || s.Doing != nil {
		t.Errorf("%+v", s)
	}
	c.send("s EXAMINE INBOX\r\n")
	c.until("s OK")
	s = idles(t, ask, s.ID, "", "the client to say something")
	if d := s.Doing; d.State != "selected" || d.Mailbox != "INBOX" || !d.ReadOnly || d.Commands != 1 || d.In != int64(len("s EXAMINE INBOX\r\n")) || d.Out == 0 {
		t.Errorf("%+v", d)
	}
	c.send("i IDLE\r\n")
	c.until("+ ")
	idles(t, ask, s.ID, "IDLE", "the client, or news to tell it")
	for _, q := range []control.Request{{User: "bob"}, {User: "bob", Explain: true}, {User: "alice", ID: "other"}} {
		q.Verb = control.VerbSessions
		if got := ask(q); len(got.Connected) != 0 {
			t.Errorf("%+v: %+v", q, got.Connected)
		}
	}
	for _, q := range []control.Request{{ID: "other"}, {}} {
		q.Verb = control.VerbEndSession
		if got := ask(q); got.Error == "" {
			t.Errorf("%+v is no error", q)
		}
	}
	if got := ask(control.Request{Verb: control.VerbEndSession, ID: s.ID}); got.Error != "" {
		t.Error(got.Error)
	}
	if all := ask(control.Request{Verb: control.VerbSessions}); len(all.Connected) > 0 {
		t.Errorf("the session is still there: %+v", all.Connected)
	}
	if said, err := io.ReadAll(c.r); !strings.HasPrefix(string(said), "* BYE ") || err != nil {
		t.Errorf("its client hears %q %v", said, err)
	}
}

func TestConnections(t *testing.T) {
	dir := t.TempDir()
	cert := issue(t, time.Now().Add(time.Hour), "mail.example")
	i, addr, _ := inline(t, testConfig(dir), []config.User{testUser(t, dir, "alice"), testUser(t, dir, "bob")}, cert)
	c := dialTLS(t, addr["imaps"], &tls.Config{ServerName: "mail.example", RootCAs: pool(t, cert)})
	c.send("d ID (\"name\" \"Test\" \"version\" \"7\")\r\na LOGIN alice pw-alice\r\n")
	c.until("a OK")
	aboutAlice(t, c, asking(t, i))
	c = dialTLS(t, addr["imaps"], &tls.Config{ServerName: "mail.example", RootCAs: pool(t, cert)})
	c.send("a LOGIN bob pw-bob\r\n")
	c.until("a OK")
	namedLater(t, c, asking(t, i))
}

// namedLater wants a session to be called by what its client says after the login.
func namedLater(t *testing.T, c *client, ask func(control.Request) control.Status) {
	t.Helper()
	c.send("l ID (\"name\" \"Later\" \"version\" \"8\")\r\n")
	c.until("l OK")
	for _, s := range ask(control.Request{Verb: control.VerbSessions}).Connected {
		if s.Client == "Later 8" && s.Doing == nil {
			return
		}
	}
	t.Errorf("no client is called by its name: %+v", ask(control.Request{Verb: control.VerbSessions}).Connected)
}

// TestConnectionsOfProcesses: the same where each role is a process, for a user who
// shares the worker with others.
func TestConnectionsOfProcesses(t *testing.T) {
	p := startProcesses(t)
	ask := func(q control.Request) control.Status {
		st, err := control.Ask(context.Background(), p.c.Control, q)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	trust := &tls.Config{ServerName: "mail.example", RootCAs: pool(t, p.cert)}
	c := dialTLS(t, p.st.Listeners[1].Address, trust)
	c.send("d ID (\"name\" \"Test\" \"version\" \"7\")\r\na LOGIN alice pw-alice\r\n")
	c.until("a OK")
	aboutAlice(t, c, ask)

	// Of one uid's worker only those of the user who is named are told.
	for _, user := range []string{"virtual1", "virtual2"} {
		c := dialTLS(t, p.st.Listeners[1].Address, trust)
		c.send("a LOGIN " + user + " pw-" + user + "\r\n")
		c.until("a OK")
		namedLater(t, c, ask)
	}
	st := ask(control.Request{Verb: control.VerbSessions, User: "virtual1", Explain: true})
	if len(st.Connected) != 1 || st.Connected[0].User != "virtual1" || st.Connected[0].Doing == nil {
		t.Errorf("%+v", st.Connected)
	}
}

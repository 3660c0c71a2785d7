package proxy

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailstead/imapserver/config"
)

func sasl(rest string) (userPassword [2]string, err error) {
	_, encoded, _ := strings.Cut(rest, " ")
	plain, err := base64.StdEncoding.DecodeString(encoded)
	parts := strings.Split(string(plain), "\x00")
	if err == nil && len(parts) == 3 {
		userPassword = [2]string{parts[1], parts[2]}
	}
	return userPassword, err
}

// A connection is kept if all that was done on it can be undone, and the server is
// told what has to be.
func TestKept(t *testing.T) {
	for _, tt := range []struct {
		name, say string
		kept      bool
		undo      string // the last commands of the server's
	}{
		{"nothing", "", true, "NOOP"},
		{"no mailbox", "a NOOP\r\nb LIST \"\" *\r\n", true, "NOOP"},
		{"a mailbox", "a SELECT INBOX\r\nb FETCH 1 BODY[]\r\n", true, "UNSELECT"},
		{"one that was closed", "a SELECT INBOX\r\nb CLOSE\r\n", true, "CHECK"},
		{"one that was closed, and another", "a SELECT INBOX\r\nb CLOSE\r\nc EXAMINE INBOX\r\n", true, "UNSELECT"},
		{"NOTIFY", "a select INBOX\r\nb notify SET (selected (MessageNew))\r\n", true, "UNSELECT NOTIFY NONE"},
		{"IDLE", "a SELECT INBOX\r\nb IDLE\r\nDONE\r\n", true, "UNSELECT"},
		{"a literal", "a APPEND INBOX {5+}\r\nhello\r\n", true, "NOOP"},
		{"words in a literal", "a APPEND INBOX {17+}\r\nx ENABLE MODSEQ\r\n\r\n", true, "NOOP"},
		{"LOGIN again", "a LOGIN bob right\r\nb UNAUTHENTICATE\r\nc AUTHENTICATE PLAIN AGJvYgByaWdodA==\r\nd STARTTLS\r\n", true, "NOOP"},

		{"ENABLE", "a ENABLE CONDSTORE\r\n", false, ""},
		{"CONDSTORE by SELECT", "a SELECT INBOX (CONDSTORE)\r\n", false, ""},
		{"CONDSTORE by FETCH", "a SELECT INBOX\r\nb FETCH 1 (modseq)\r\n", false, ""},
		{"CONDSTORE behind a long set", "a SELECT INBOX\r\nb FETCH " + strings.Repeat("1,", 4000) + "1 (FLAGS) (CHANGEDSINCE 1)\r\n", false, ""},
		{"an unknown command", "a XSPECIAL\r\n", false, ""},
		{"no command", "a NOOP\r\n\r\n", false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t).start()
			p := f.front(nil)
			v := visit(t, p, "alice", "right", tt.say+"out LOGOUT\r\n")
			said := v.end()
			if !strings.Contains(said, "out OK ") || !strings.HasPrefix(said, "in OK [CAPABILITY IMAP4rev1 LITERAL+ ID UNSELECT IDLE NOTIFY ENABLE] Logged in.\r\n") {
				t.Errorf("the client heard %q", said)
			}
			c := f.logins()[0]
			if n := count(p).Idle; n == 1 != tt.kept {
				t.Errorf("%d are kept; the server heard %q", n, c.said)
			}
			if tt.kept {
				if last := strings.Join(c.said, " "); !strings.HasSuffix(last, tt.undo) {
					t.Errorf("the server heard %q, and not %q last", c.said, tt.undo)
				}
				return
			}
			<-c.closed
		})
	}
}

// Answers that belong to nobody are not the client's, and mail that looks like a
// response goes through as it is.
func TestPassedOn(t *testing.T) {
	f := newFake(t).start()
	p := f.front(nil)
	v := visit(t, p, "alice", "right", "")
	v.until("in OK ")
	v.send("a FETCH 1 BODY[]\r\n")
	if said := v.until("a OK "); said != "* 1 FETCH (BODY[] {18}\r\n* CAPABILITY STARTT FLAGS ())\r\na OK Done.\r\n" {
		t.Errorf("%q", said)
	}
	v.send("b CAPABILITY\r\n")
	if said := v.until("b OK "); said != "* CAPABILITY IMAP4rev1 LITERAL+ ID UNSELECT IDLE NOTIFY ENABLE\r\nb OK Done.\r\n" {
		t.Errorf("%q", said)
	}
	v.send("c APPEND INBOX {5}\r\n")
	v.until("+ ")
	v.send("hello\r\nd LOGIN {3}\r\n")
	v.until("c OK ")
	v.until("d BAD ") // and no literal
	v.send("e IDLE\r\n")
	v.until("+ ")
	v.send("DONE\r\nf NOOP\r\n")
	v.until("f OK ")
	v.leave()
	if n := count(p); n.Idle != 1 {
		t.Errorf("%+v", n)
	}
}

// After COMPRESS octets are copied, and the connection is closed in the end.
func TestVeiled(t *testing.T) {
	f := newFake(t)
	f.odd = func(c *fakeConn, tag, word string) bool {
		if word == "COMPRESS" {
			fmt.Fprintf(c, "%s OK Now.\r\n", tag)
			b := make([]byte, 5)
			c.r.Read(b)
			c.Write(append([]byte("\x00* CAPABILITY STARTTLS\r\n"), b...))
			c.Close()
		}
		return word == "COMPRESS"
	}
	p := f.start().front(nil)
	for _, tag := range []string{"a", strings.Repeat("a", 62), strings.Repeat("a", 1000)} {
		v := visit(t, p, "alice", "right", "")
		v.send(tag + " COMPRESS DEFLATE\r\n")
		v.until(tag + " OK ")
		v.send("\x01\x02\n\xff\x00")
		if rest := v.end(); rest != "\x00* CAPABILITY STARTTLS\r\n\x01\x02\n\xff\x00" {
			t.Errorf("%q", rest)
		}
		if n := count(p); n.Idle != 0 {
			t.Errorf("%+v", n)
		}
	}
}

// A client whose session is ended hears BYE of the proxy, whatever its server does.
func TestEnded(t *testing.T) {
	for name, ahead := range map[string]string{"idle": "", "in IDLE": "a IDLE\r\n", "in a command": "a XHANG\r\n"} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			hangs := make(chan bool, 1)
			f.odd = func(c *fakeConn, tag, word string) bool {
				if word == "XHANG" {
					hangs <- true
				}
				return word == "XHANG"
			}
			p := f.start().front(nil)
			v := visit(t, p, "alice", "right", ahead)
			switch v.until("in OK "); name {
			case "in IDLE":
				v.until("+ ")
			case "in a command":
				<-hangs
			}
			v.client.End()
			if said := v.end(); said != "* BYE The session was ended.\r\n" {
				t.Errorf("%q", said)
			}
			<-f.logins()[0].closed
			if n := count(p); n.Idle != 0 {
				t.Errorf("%+v", n)
			}
		})
	}
}

// Capabilities that are switched off are not shown, and their command is refused.
func TestOff(t *testing.T) {
	f := newFake(t)
	f.caps += " QRESYNC"
	f.start()
	p := f.front(nil)
	c := f.config(nil)
	c.Listeners[0].Off = []string{"IDLE", "COMPRESS=DEFLATE", "MOVE", "CONDSTORE", "QUOTA"}
	reload(t, p, c)
	v := visit(t, p, "alice", "right", "")
	if said := v.until("in OK "); strings.Contains(said, "IDLE") || strings.Contains(said, "QRESYNC") || !strings.Contains(said, "UNSELECT") {
		t.Errorf("%q", said)
	}
	refused := []string{
		"IDLE", "COMPRESS DEFLATE", "MOVE 1 x", "UID MOVE 1 x", "uid  move 1 x", "ENABLE condstore", "ENABLE UTF8=ACCEPT QRESYNC", "GETQUOTA x",
	}
	for _, say := range refused {
		v.send("a " + say + "\r\n")
		v.until("a BAD ")
	}
	for _, line := range []string{" UID | MOVE 1 x", " UID MO|VE 1 x", " UID M|OVE 1 x", " ENABLE UTF8=ACCEPT COND|STORE"} { // in two pieces
		first, rest, _ := strings.Cut(line, "|")
		tag := strings.Repeat("x", 1<<10-len(first))
		v.send(tag + first + rest + "\r\n")
		v.until(tag + " BAD ")
	}
	v.send("b UID FETCH 1 FLAGS\r\nc ENABLE UTF8=ACCEPT\r\n")
	v.until("c OK ")
	v.leave()
	for _, said := range f.logins()[0].said {
		if word, _, _ := strings.Cut(said, " "); word == "MOVE" || word == "GETQUOTA" || strings.HasPrefix(strings.ToUpper(said), "UID MOVE") || word == "ENABLE" && said != "ENABLE UTF8=ACCEPT" {
			t.Errorf("the server has heard %q", said)
		}
	}
}

// So it is with those that all commands of a kind need, that have no command of their name,
// or have a number behind it.
func TestOffOthers(t *testing.T) {
	f := newFake(t)
	f.caps += " THREAD=REFS THREAD=REFERENCES APPENDLIMIT APPENDLIMIT=5"
	f.start()
	p := f.front(nil)
	c := f.config(nil)
	c.Listeners[0].Off = []string{"THREAD=REFS"}
	reload(t, p, c)
	v := visit(t, p, "alice", "right", "a THREAD REFERENCES UTF-8 ALL\r\n")
	if said := v.until("in OK "); strings.Contains(said, "THREAD=REFS") || !strings.Contains(said, "THREAD=REFERENCES") || !strings.Contains(said, "APPENDLIMIT=5") {
		t.Errorf("%q", said)
	}
	v.until("a BAD ") // of the fake
	v.leave()
	c.Listeners[0].Off = []string{"ENABLE", "THREAD=REFS", "THREAD=REFERENCES", "THREAD=ORDEREDSUBJECT", "APPENDLIMIT"}
	reload(t, p, c)
	v = visit(t, p, "bob", "right", "")
	if said := v.until("in OK "); strings.Contains(said, "THREAD") || strings.Contains(said, "APPENDLIMIT") {
		t.Errorf("%q", said)
	}
	for _, say := range []string{"ENABLE CONDSTORE", "THREAD REFERENCES UTF-8 ALL", "UID THREAD REFERENCES UTF-8 ALL"} {
		v.send("a " + say + "\r\n")
		v.until("a BAD ")
	}
	v.leave()
	heard := func(i int) string { return strings.Join(f.logins()[i].said, "\n") }
	if !strings.Contains(heard(0), "\nTHREAD ") || strings.Contains(heard(1), "\nENABLE ") || strings.Contains(heard(1), "\nTHREAD ") || strings.Contains(heard(1), "UID THREAD") {
		t.Errorf("the server has heard %q and %q", heard(0), heard(1))
	}
}

// A client that is gone in the middle leaves nothing behind that could be kept.
func TestVanished(t *testing.T) {
	for name, say := range map[string]string{
		"in a FETCH":                             "a SELECT INBOX\r\nb FETCH 1 BODY[]\r\n",
		"in a command":                           "a SELECT INBOX\r\nb FET",
		"in a literal":                           "a APPEND INBOX {500+}\r\nhello",
		"without a word":                         "",
		"between two":                            "a SELECT INBOX\r\n",
		"in IDLE":                                "a IDLE\r\n",
		"with LOGOUT in the middle of a literal": "a APPEND INBOX {500+}\r\nhello\r\nb LOGOUT\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			reached := make(chan struct{})
			f.odd = func(c *fakeConn, tag, word string) bool {
				if word == "FETCH" {
					close(reached)
					<-c.closing()
				}
				return word == "FETCH"
			}
			p := f.start().front(nil)
			v := visit(t, p, "alice", "right", say)
			v.until("in OK ")
			if strings.Contains(say, "FETCH") {
				<-reached
			}
			v.Close()
			<-v.done
			c := f.logins()[0]
			<-c.closed
			if n := count(p); n.Idle != 0 || n.Kept != 0 {
				t.Errorf("%+v", n)
			}
		})
	}
}

// closing is closed when the far end has closed.
func (c *fakeConn) closing() <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		b := make([]byte, 1)
		for {
			if _, err := c.Conn.Read(b); err != nil {
				return
			}
		}
	}()
	return gone
}

// Logins side by side: nobody is given what is another's, and none is given twice.
func TestNeverShared(t *testing.T) {
	f := newFake(t).start()
	p := f.front(map[string]int64{"proxyKeptPerUser": 3})
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 30 {
				user := fmt.Sprintf("user%d", (g+i)%5)
				v := visit(t, p, user, "right", "")
				v.send("a NAMESPACE\r\n")
				if said := v.until("a OK "); !strings.Contains(said, "* NAMESPACE "+user+"\r\n") {
					t.Errorf("%s heard %q", user, said)
				}
				v.leave()
			}
		})
	}
	all.Wait()
	n := count(p)
	if n.Reused == 0 || n.Logins != 240 || n.Idle > 15 {
		t.Errorf("%+v", n)
	}
	for _, c := range f.logins() {
		for i, said := range c.said {
			// Each session begins with NOOP and ends so; two at once would be NAMESPACE twice.
			if said == "NAMESPACE" && slices.Contains(c.said[i+1:min(len(c.said), i+2)], "NAMESPACE") {
				t.Fatalf("two at once: %q", c.said)
			}
		}
	}
}

// The server goes, hangs or talks nonsense in the middle of a session.
func TestServerInTheMiddle(t *testing.T) {
	for _, tt := range []struct {
		name string
		odd  func(c *fakeConn, tag string)
		hear string
	}{
		{"gone", func(c *fakeConn, _ string) { c.Close() }, "* BYE [UNAVAILABLE] "},
		{"gone in a literal", func(c *fakeConn, _ string) { fmt.Fprint(c, "* 1 FETCH (BODY[] {100}\r\nhalf"); c.Close() }, "half"},
		{"BYE", func(c *fakeConn, _ string) { fmt.Fprint(c, "* BYE Shutdown.\r\n"); c.Close() }, "* BYE Shutdown.\r\n"},
		{"an endless line", func(c *fakeConn, _ string) { fmt.Fprint(c, "* SEARCH"+strings.Repeat(" 1", 1<<20)); c.Close() }, " 1 1 1"},
		{"no response", func(c *fakeConn, _ string) { fmt.Fprint(c, "\x00\xff{5}\r\n\r\n* \r\n{\r\n"); c.Close() }, "\x00\xff{5}\r\n"},
		{"a literal of any size", func(c *fakeConn, _ string) { fmt.Fprint(c, "* X {999999999999999999}\r\n"); c.Close() }, "* X {9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.odd = func(c *fakeConn, tag, word string) bool {
				if word == "FETCH" {
					tt.odd(c, tag)
				}
				return word == "FETCH"
			}
			p := f.start().front(nil)
			v := visit(t, p, "alice", "right", "a FETCH 1 BODY[]\r\n")
			if said := v.end(); !strings.Contains(said, tt.hear) {
				t.Errorf("%.200q", said)
			}
			if n := count(p); n.Idle != 0 {
				t.Errorf("%+v", n)
			}
		})
	}
}

// A server that does not undo a session in time, or says more than it was asked,
// costs the client nothing, and is not kept.
func TestNotUndone(t *testing.T) {
	for name, odd := range map[string]func(c *fakeConn, tag string){
		"it hangs":             func(*fakeConn, string) {},
		"it refuses":           func(c *fakeConn, tag string) { fmt.Fprintf(c, "%s NO Not now.\r\n", tag) },
		"it says BYE":          func(c *fakeConn, tag string) { fmt.Fprint(c, "* BYE Bye.\r\n"); c.Close() },
		"an answer too many":   func(c *fakeConn, tag string) { fmt.Fprintf(c, "zz OK\r\n%s OK\r\n", tag) },
		"something afterwards": func(c *fakeConn, tag string) { fmt.Fprintf(c, "%s OK\r\n* 1 EXPUNGE\r\n", tag) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.odd = func(c *fakeConn, tag, word string) bool {
				if word == "UNSELECT" {
					odd(c, tag)
				}
				return word == "UNSELECT"
			}
			p := f.start().front(nil)
			v := visit(t, p, "alice", "right", "")
			v.send("a SELECT INBOX\r\n")
			v.until("a OK ")
			brief, err := p.Prepare(f.config(map[string]int64{"proxyPatience": 1}))
			if err != nil {
				t.Fatal(err)
			}
			brief()
			v.leave()
			await(t, "let go", func() bool { return count(p).Idle == 0 })
			<-f.logins()[0].closed
		})
	}
}

// A server without UNSELECT is asked for what is not there.
func TestWithoutUnselect(t *testing.T) {
	f := newFake(t)
	f.caps = "IMAP4rev1 AUTH=PLAIN SASL-IR"
	p := f.start().front(nil)
	visit(t, p, "alice", "right", "a SELECT INBOX\r\nout LOGOUT\r\n").end()
	c := f.logins()[0]
	if n := len(c.said); count(p).Idle != 1 || n < 3 || c.said[n-1] != "CHECK" || !strings.HasPrefix(c.said[n-2], "EXAMINE ") {
		t.Errorf("%q", c.said)
	}
	f2 := newFake(t)
	f2.caps = f.caps
	f2.odd = func(c *fakeConn, tag, word string) bool {
		if word == "EXAMINE" { // and the old one stays
			fmt.Fprintf(c, "%s NO\r\n", tag)
		}
		return word == "EXAMINE"
	}
	p = f2.start().front(nil)
	visit(t, p, "alice", "right", "a SELECT INBOX\r\nout LOGOUT\r\n").end()
	if n := count(p).Idle; n != 0 {
		t.Errorf("a mailbox is still selected on what is kept")
	}
}

// The configuration may change under sessions.
func TestReload(t *testing.T) {
	f, other := newFake(t).start(), newFake(t).start()
	p := f.front(nil)
	visit(t, p, "alice", "right", "out LOGOUT\r\n").end()
	stays := visit(t, p, "bob", "right", "")
	stays.until("in OK ")
	again, _ := p.Prepare(f.config(map[string]int64{"proxyKept": 50}))
	again()
	if n := count(p).Idle; n != 1 {
		t.Errorf("after a reload %d are kept", n)
	}
	stays.send("a NOOP\r\n")
	stays.until("a OK ")
	away, err := p.Prepare(other.config(nil))
	if err != nil {
		t.Fatal(err)
	}
	away()
	if said := stays.end(); !strings.HasPrefix(said, "* BYE Your mail is on another server now.") {
		t.Errorf("%q", said)
	}
	if n := count(p).Idle; n != 0 {
		t.Errorf("%d are kept to a server that is gone", n)
	}
	visit(t, p, "alice", "right", "out LOGOUT\r\n").end()
	if len(other.logins()) != 1 {
		t.Error("the other server has not been asked")
	}
	gone, _ := p.Prepare(&config.Config{})
	gone()
	if p.Has("webmail") {
		t.Error("the listener is still there")
	}
}

// At a stop clients hear BYE.
func TestClose(t *testing.T) {
	f := newFake(t).start()
	p := f.front(nil)
	v := visit(t, p, "alice", "right", "")
	v.until("in OK ")
	visit(t, p, "bob", "right", "out LOGOUT\r\n").end()
	p.Close()
	if said := v.end(); said != "* BYE The server is shutting down.\r\n" {
		t.Errorf("%q", said)
	}
	for _, c := range f.logins() {
		<-c.closed
	}
}

// TestReloadWaitsForNobody: a client that takes nothing holds up no reload, and with it
// everybody else's login.
func TestReloadWaitsForNobody(t *testing.T) {
	f, other := newFake(t).start(), newFake(t).start()
	p := f.front(nil)
	v := visit(t, p, "alice", "right", "")
	v.until("in OK ")
	fr := p.front("webmail")
	fr.mu.Lock()
	for s := range fr.sessions {
		s.mu.Lock() // as who writes to the client has it
		defer s.mu.Unlock()
	}
	fr.mu.Unlock()
	done := make(chan bool)
	go func() {
		reload(t, p, other.config(nil))
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("the reload waits")
	}
}

package session

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"mailstead/imapserver/oracle"
	"mailstead/imapserver/wire"
)

// fragile is a connection whose Write panics once, at the first octet of what a
// command says: in its handler where that is long, and right behind it elsewhere.
type fragile struct {
	script
	quiet  int // octets that are let through
	broken bool
}

func (c *fragile) Write(p []byte) (int, error) {
	if c.quiet -= len(p); c.quiet < 0 && !c.broken {
		c.broken = true
		panic("broken on purpose")
	}
	return c.script.Write(p)
}

// handlers has an invocation of each command that is valid after login; two where
// it may be about another's mailbox.
var handlers = map[string]string{
	"CAPABILITY": "", "NOOP": "", "LOGOUT": "", "ID": " NIL", "UNAUTHENTICATE": "", "ENABLE": " CONDSTORE", "SELECT": " INBOX", "EXAMINE": " INBOX",
	"CREATE": " new", "DELETE": " new", "RENAME": " Box Box2", "SUBSCRIBE": " Box", "UNSUBSCRIBE": " Box", "LIST": ` "" * RETURN (STATUS (MESSAGES))`, "LSUB": ` "" *`, "XLIST": ` "" *`,
	"NAMESPACE": "", "STATUS": " INBOX (MESSAGES)", "GETQUOTA": ` ""`, "GETQUOTAROOT": " INBOX", "SETQUOTA": ` "" ()`, "GETACL": " INBOX",
	"SETACL": " INBOX bob lr", "DELETEACL": " INBOX bob", "LISTRIGHTS": " INBOX bob", "MYRIGHTS": " INBOX", "GETMETADATA": " INBOX /private/x",
	"SETMETADATA": ` INBOX (/private/x "y")`, "APPEND": " INBOX {5+}\r\nx: y\n", "COMPRESS": " DEFLATE", "IDLE": "\r\nDONE",
	"ESEARCH": " IN (personal) ALL", "NOTIFY": " SET STATUS (PERSONAL (MessageNew MessageExpunge))", "CHECK": "", "CLOSE": "", "UNSELECT": "", "EXPUNGE": "",
	"UID EXPUNGE": " 1", "SEARCH": " TEXT one", "UID SEARCH": " ALL", "SORT": " (SUBJECT) UTF-8 ALL", "UID SORT": " (SUBJECT) UTF-8 ALL",
	"THREAD": " REFERENCES UTF-8 ALL", "UID THREAD": " REFERENCES UTF-8 ALL", "CANCELUPDATE": ` "x"`, "FETCH": " 1:* (ENVELOPE BODY[])", "UID FETCH": " 1:* (BODYSTRUCTURE BODY[])",
	"STORE": " 1 +FLAGS (x)", "UID STORE": " 1 -FLAGS (x)", "COPY": " 1 Box", "UID COPY": " 1 Box", "UIDBATCHES": " 1000", "REPLACE": " 1 INBOX {5+}\r\nx: y\n",
	"UID REPLACE": " 1 INBOX {5+}\r\nx: y\n", "MOVE": " 1 Box", "UID MOVE": " 1 Box",
}

// TestPanics has a fault of ours in each command: it ends that session, is in the
// log, and keeps nobody else waiting for a lock that the session held.
func TestPanics(t *testing.T) {
	account := freshAccount(t, "Subject: one\n\none\n", "Subject: two\n\n"+strings.Repeat("two\n", 20000), "Subject: three\n\nthree\n")
	serve := func(c *fragile, a Params) (log string, err error) {
		var b syncBuffer
		defer func() { // as whoever runs a session does
			if r := recover(); r != nil {
				log, err = b.String()+"session panicked at its end", fmt.Errorf("%v", r)
			}
		}()
		limits := wire.PostAuth
		a.User, a.Log, a.Limits = "alice", slog.New(slog.NewTextHandler(&b, nil)), &limits
		err = Serve(t.Context(), c, a)
		return b.String(), err
	}
	healthy := func(name string) {
		t.Helper()
		c := &fragile{script: script{in: strings.NewReader("a CREATE Box\r\nb APPEND INBOX {12+}\r\nSubject: x\n\n\r\nc SELECT INBOX\r\nd STORE 1 +FLAGS (y)\r\ne COPY 1 Box\r\nf FETCH 1:* BODY.PEEK[]\r\ng SEARCH TEXT one\r\nh STATUS Box (MESSAGES)\r\ni LOGOUT\r\n")}, broken: true}
		log, err := serve(c, Params{Account: account})
		if err := oracle.Responses(c.out.Bytes()); err != nil {
			t.Fatalf("after %s: %v", name, err)
		}
		for _, tag := range []string{"b", "c", "d", "e", "f", "g", "h", "i"} {
			if !strings.Contains(c.out.String(), "\r\n"+tag+" OK ") {
				t.Fatalf("after %s, %s fails: %v\n%s\n%.2000s", name, tag, err, log, c.out.String())
			}
		}
	}
	inside := 0
	for _, row := range wire.Commands {
		if row.States&(wire.Authenticated|wire.Selected) == 0 {
			continue
		}
		args, known := handlers[row.Name]
		if !known {
			t.Errorf("no invocation of %s", row.Name)
			continue
		}
		// The greeting of a SELECT is let through.
		begun := &fragile{script: script{in: strings.NewReader("x SELECT INBOX\r\n")}, broken: true}
		if _, err := serve(begun, Params{Account: account}); err == nil && begun.out.Len() == 0 {
			t.Fatal("nothing is said")
		}
		c := &fragile{script: script{in: strings.NewReader("x SELECT INBOX\r\ny " + row.Name + args + "\r\n")}, quiet: begun.out.Len()}
		log, err := serve(c, Params{Account: account})
		if !c.broken || strings.Count(log, "session panicked") != 1 || err == nil {
			t.Errorf("%s: %v, log: %.500s", row.Name, err, log)
		}
		healthy(row.Name)
		if row.States&wire.Authenticated != 0 { // without an account, in the handler itself
			c := &fragile{script: script{in: strings.NewReader("y " + row.Name + args + "\r\n")}, broken: true}
			if log, _ := serve(c, Params{}); strings.Contains(log, "session panicked") {
				inside++
				if !strings.Contains(c.out.String(), "* BYE internal error ") || strings.Contains(c.out.String(), "nil pointer") {
					t.Errorf("%s: the client is told %q", row.Name, c.out.String())
				}
			}
		}
	}
	if inside < 15 {
		t.Errorf("only %d handlers had a fault inside", inside)
	}
}

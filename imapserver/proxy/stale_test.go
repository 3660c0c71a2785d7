package proxy

import (
	"fmt"
	"testing"
)

// What was kept and is dead costs a client nothing: it gets another connection.
func TestStale(t *testing.T) {
	for name, odd := range map[string]func(c *fakeConn, tag string){
		"hangs":    func(*fakeConn, string) {},
		"closes":   func(c *fakeConn, _ string) { c.Close() },
		"says BYE": func(c *fakeConn, _ string) { fmt.Fprint(c, "* BYE Idle.\r\n"); c.Close() },
		"refuses":  func(c *fakeConn, tag string) { fmt.Fprintf(c, "%s BAD Who?\r\n", tag) },
		"garbage":  func(c *fakeConn, _ string) { fmt.Fprint(c, "\x00\xff\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			dead := make(chan bool, 1)
			f.odd = func(c *fakeConn, tag, word string) bool {
				select {
				case <-dead:
					odd(c, tag)
					return true
				default:
					return false
				}
			}
			p := f.start().front(nil)
			visit(t, p, "alice", "right", "out LOGOUT\r\n").end()
			dead <- true
			v := visit(t, p, "alice", "right", "")
			v.until("in OK ")
			v.send("a NAMESPACE\r\n")
			v.until("a OK ")
			v.leave()
			if n := count(p); n.Stale != 1 || n.Reused != 0 || n.Idle != 1 || len(f.logins()) != 2 {
				t.Errorf("%+v", n)
			}
		})
	}
}

// A password that was changed is good for what is kept until the new one is used.
func TestPasswordChanged(t *testing.T) {
	f := newFake(t).start()
	p := f.front(nil)
	visit(t, p, "alice", "right", "out LOGOUT\r\n").end()
	f.pass.Store("new")
	if v, err := p.Check(t.Context(), credentials("alice", "guess")); v.User != "" || err != nil || count(p).Idle != 1 {
		t.Errorf("a wrong password: %+v %v %+v", v, err, count(p))
	}
	visit(t, p, "alice", "new", "out LOGOUT\r\n").end()
	<-f.logins()[0].closed
	if v, err := p.Check(t.Context(), credentials("alice", "right")); v.User != "" || err != nil {
		t.Errorf("the old password: %+v %v", v, err)
	}
	if n := count(p); n.Idle != 1 || n.Reused != 0 || n.Refused != 2 {
		t.Errorf("%+v", n)
	}
}

// A login whose session never begins keeps nothing.
func TestNeverBegun(t *testing.T) {
	f := newFake(t).start()
	p := f.front(nil)
	c := credentials("alice", "right")
	if _, err := p.Check(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	l := p.claim(c.ID, nil)
	if l == nil || p.claim(c.ID, nil) != nil {
		t.Fatal("claimed never, or twice")
	}
	l.end()
	<-f.logins()[0].closed
}

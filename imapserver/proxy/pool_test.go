package proxy

import (
	"fmt"
	"net"
	"testing"
	"time"

	"mailstead/imapserver/limit"
)

var limits = limit.Proxy{Kept: 5, KeptPerUser: 2, KeptTime: time.Hour, Recheck: time.Hour}

// pooled is a link of which the far end can be closed.
func pooled(t *testing.T, p *pool, user, password string, checked time.Time) (*link, net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	l := newLink(&server{}, near)
	l.user, l.digest, l.checked = user, p.digest(user, password), checked
	p.born(l)
	return l, far
}

// closed waits until the proxy has closed its end.
func closed(t *testing.T, far net.Conn) {
	t.Helper()
	far.SetReadDeadline(time.Now().Add(20 * time.Second))
	b := make([]byte, 100)
	for {
		if _, err := far.Read(b); err != nil {
			if isTimeout(err) {
				t.Fatal("it is still open")
			}
			return
		}
	}
}

func TestPoolGives(t *testing.T) {
	p, now := newPool(limits), time.Now()
	l, _ := pooled(t, p, "alice", "right", now)
	if !p.keep(l, now) {
		t.Fatal("not kept")
	}
	if p.take("alice", p.digest("alice", "wrong"), now) != nil || p.take("bob", p.digest("alice", "right"), now) != nil {
		t.Error("given to somebody else")
	}
	if p.digest("alice", "right") == p.digest("alicer", "ight") || p.digest("a", "b") == newPool(limits).digest("a", "b") {
		t.Error("digests say nothing of who it is, or are no secret of the process")
	}
	if got := p.take("alice", p.digest("alice", "right"), now); got != l {
		t.Error("not given")
	}
	if p.take("alice", p.digest("alice", "right"), now) != nil {
		t.Error("given twice")
	}
	p.done(l)
	if len(p.users) != 0 || p.kept() != 0 {
		t.Error("somebody is remembered of whom there is nothing")
	}
}

func TestPoolBounds(t *testing.T) {
	p, now := newPool(limits), time.Now()
	for i := range 8 {
		for range 3 {
			l, _ := pooled(t, p, fmt.Sprint("user", i), "right", now)
			if !p.keep(l, now) {
				t.Fatal("not kept")
			}
		}
		if n := len(p.users[fmt.Sprint("user", i)].kept); n > limits.KeptPerUser {
			t.Errorf("%d are kept of one user", n)
		}
	}
	if n := p.kept(); n != limits.Kept {
		t.Errorf("%d are kept", n)
	}
	if _, old := p.users["user0"]; old {
		t.Error("the oldest is still there")
	}
	all := func(*link) bool { return true }
	fewer := limits
	fewer.KeptPerUser = 1
	p.limit(fewer, all)
	if n := p.kept(); n != 3 {
		t.Errorf("%d of three users are kept, and one of each may be", n)
	}
	none := limits
	none.Kept = 0
	p.limit(none, all)
	if n := p.kept(); n != 0 {
		t.Errorf("%d are kept, and none may be", n)
	}
	l, _ := pooled(t, p, "bob", "right", now)
	if p.keep(l, now) {
		t.Error("kept, and nothing may be")
	}
}

// A password is good for as long as the server may be taken at its word.
func TestPoolRecheck(t *testing.T) {
	p, now := newPool(limits), time.Now()
	l, far := pooled(t, p, "alice", "right", now)
	p.keep(l, now)
	if p.take("alice", l.digest, now.Add(limits.Recheck)) != nil {
		t.Error("taken")
	}
	closed(t, far)
	l, _ = pooled(t, p, "alice", "right", now)
	if p.keep(l, now.Add(limits.Recheck)) {
		t.Error("kept")
	}
}

// Another password that is good ends what was kept, and what comes back, of the old.
func TestPoolPassword(t *testing.T) {
	p, now := newPool(limits), time.Now()
	kept, far := pooled(t, p, "alice", "old", now)
	out, _ := pooled(t, p, "alice", "old", now)
	p.keep(kept, now)
	pooled(t, p, "alice", "new", now)
	closed(t, far)
	if p.keep(out, now) || p.take("alice", p.digest("alice", "old"), now) != nil {
		t.Error("the old password is still good for something")
	}
}

// BYE, an end, anything said and time end what is kept.
func TestPoolWatches(t *testing.T) {
	for name, end := range map[string]func(far net.Conn){
		"BYE":      func(far net.Conn) { fmt.Fprint(far, "* BYE Idle for too long.\r\n") },
		"end":      func(far net.Conn) { far.Close() },
		"anything": func(far net.Conn) { fmt.Fprint(far, "x") },
		"close":    nil,
	} {
		t.Run(name, func(t *testing.T) {
			p, now := newPool(limits), time.Now()
			l, far := pooled(t, p, "alice", "right", now)
			p.keep(l, now)
			if end == nil {
				p.close()
			} else {
				end(far)
			}
			closed(t, far)
			await(t, "forgotten", func() bool { return p.kept() == 0 })
			if p.take("alice", l.digest, now) != nil {
				t.Error("taken")
			}
		})
	}
	brief := limits
	brief.KeptTime = time.Millisecond
	p, now := newPool(brief), time.Now()
	l, far := pooled(t, p, "alice", "right", now)
	p.keep(l, now)
	closed(t, far)
	await(t, "forgotten", func() bool { return p.kept() == 0 })
}

package store

import (
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// gate stops the first sync of a directory of INBOX, once it is armed, until it is
// let go.
type gate struct {
	dir     string
	armed   atomic.Bool
	once    sync.Once
	reached chan bool
	proceed chan bool
}

func newGate(dir string) *gate {
	return &gate{dir: dir, reached: make(chan bool), proceed: make(chan bool)}
}

func (g *gate) trace(op maildir.Op) error {
	if g.armed.Load() && op.Call == "syncdir" && strings.TrimSuffix(op.Path, "/") == g.dir {
		g.once.Do(func() { g.reached <- true; <-g.proceed })
	}
	return nil
}

// held holds that neither of two commands is answered while one is stopped, and lets
// it go.
func (g *gate) held(t *testing.T, what string, done chan error) {
	t.Helper()
	select {
	case err := <-done:
		t.Errorf("%s: answered before it was synced: %v", what, err)
		done <- err
	case <-time.After(200 * time.Millisecond):
	}
	g.proceed <- true
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestAgreed: who asks for what another session is just doing is not answered before
// that survives a power cut.
func TestAgreed(t *testing.T) {
	flag := func(v *View) error { return v.Store(t.Context(), []SeqNum{1}, StoreAdd, []imap.Flag{imap.FlagFlagged}) }
	expunge := func(v *View) error { return v.Expunge(t.Context(), nil) }
	for what, command := range map[string]func(*View) error{"store": flag, "expunge": expunge} {
		dir := newMaildir(t)
		g := newGate(filepath.Join(dir, "cur"))
		a := openWith(t, Options{Maildir: dir, unwatched: true, ops: &maildir.Ops{Trace: g.trace}})
		appendMessage(t, a, "INBOX", mail1, imap.FlagDeleted)
		one, two := selectBox(t, a, "INBOX", false), selectBox(t, a, "INBOX", false)
		g.armed.Store(true)
		done := make(chan error, 2)
		go func() { done <- command(one) }()
		<-g.reached
		go func() { done <- command(two) }()
		g.held(t, what, done)
	}
}

// TestExpungeWaitsForNew: of two sessions that remove what is in new at once, neither
// is answered before new has been synced.
func TestExpungeWaitsForNew(t *testing.T) {
	dir := newMaildir(t)
	cur, sub := newGate(filepath.Join(dir, "cur")), newGate(filepath.Join(dir, "new"))
	trace := func(op maildir.Op) error {
		cur.trace(op)
		return sub.trace(op)
	}
	a := openWith(t, Options{Maildir: dir, unwatched: true, ops: &maildir.Ops{Trace: trace}})
	one, two := selectBox(t, a, "INBOX", false), selectBox(t, a, "INBOX", false)
	deliver(t, dir, "1.a", mail1)
	deliver(t, dir, "2.b", mail1)
	poll(t, selectBox(t, a, "INBOX", true)) // finds them, and leaves them where they are
	for _, v := range []*View{one, two} {
		if _, err := v.Poll(t.Context(), true, false); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(files(t, dir, "new")); n != 2 || one.Len() != 2 {
		t.Fatalf("%d are in new, %d are known", n, one.Len())
	}
	cur.armed.Store(true)
	sub.armed.Store(true)
	done := make(chan error, 2)
	go func() { done <- one.Remove(t.Context(), 1) }()
	<-cur.reached
	go func() { done <- two.Remove(t.Context(), 2) }()
	for len(files(t, dir, "new")) > 0 {
		time.Sleep(time.Millisecond)
	}
	cur.proceed <- true
	<-sub.reached
	sub.held(t, "remove", done)
}

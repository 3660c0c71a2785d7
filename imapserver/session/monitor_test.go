package session

import (
	"strings"
	"testing"
)

// A goroutine's trace, as the runtime writes it.
const traced = `goroutine 71 [sync.Mutex.Lock, 3 minutes]:
internal/sync.runtime_SemacquireMutex(0x0, 0x0, 0x1)
	/go/src/runtime/sema.go:95 +0x25
internal/sync.(*Mutex).lockSlow(0xc000)
	/go/src/internal/sync/mutex.go:149 +0x15d
mailstead/imapserver/store.(*View).unlink(0xc000, {0x1, 0x2}, 0xc1)
	/src/imapserver/store/expunge.go:60 +0x99
mailstead/imapserver/session.(*session).expunge(0xc0)
	/src/imapserver/session/store.go:60 +0x99
created by mailstead/imapserver.(*mail).start in goroutine 1
	/src/imapserver/mail.go:88 +0xaa

goroutine 7 [running]:
mailstead/imapserver/session.(*session).search(0xc0)
	/src/imapserver/session/search.go:1 +0x1
`

func TestWaitOf(t *testing.T) {
	for number, want := range map[uint64][2]string{
		71: {"the lock of the mailbox", "store.(*View).unlink"},
		7:  {"", "session.(*session).search"},
		1:  {"", ""},
	} {
		if what, where := waitOf([]byte(traced), number); what != want[0] || where != want[1] {
			t.Errorf("goroutine %d: %q in %q", number, what, where)
		}
	}
}

// A wait that the runtime calls by another name one day is still told, by that name.
func TestMonitorFindsItself(t *testing.T) {
	m := &Monitor{}
	ready, done, over := make(chan bool), make(chan bool), make(chan bool)
	go func() {
		m.begin(nil)
		close(ready)
		<-done
		close(over)
	}()
	<-ready
	for range 1000 {
		what, where := m.Wait(LookAtStacks())
		if what == "another session's work" && strings.HasPrefix(where, "session.TestMonitorFindsItself") {
			close(done)
			<-over
			return
		}
	}
	t.Error("not found")
}

package store

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// A RENAME to the name of a mailbox that another program has removed, and that a session still
// has, waits for that one's lock with no other mailbox's in hand: a COPY may have the first
// and wait for the second.
func TestRenameLockOrder(t *testing.T) {
	a := openUnwatched(t, newMaildir(t))
	create(t, a, "Gone", "Box")
	appendMessage(t, a, "Box", mail1)
	gone, box := selectBox(t, a, "Gone", false), selectBox(t, a, "Box", false)
	if err := os.RemoveAll(filepath.Join(a.dir, ".Gone")); err != nil {
		t.Fatal(err)
	}
	gone.mb.mu.Lock() // as a COPY to Box has
	done := make(chan error, 1)
	go func() { done <- a.Rename(t.Context(), "Box", "Gone") }()
	time.Sleep(200 * time.Millisecond)
	if box.mb.mu.TryLock() {
		box.mb.mu.Unlock()
	} else {
		t.Error("it waits for a lock with another in hand that comes after it")
	}
	gone.mb.mu.Unlock()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if poll(t, box); box.Name() != "Gone" || box.Len() != 1 {
		t.Errorf("%s has %d messages", box.Name(), box.Len())
	}
}

// STATUS without a look into a mailbox does not take the marks for what there is where a session
// has the mailbox by the time that it reads them.
func TestStatusOfMarks(t *testing.T) {
	a := openUnwatched(t, newMaildir(t))
	create(t, a, "Box")
	appendMessage(t, a, "Box", mail1)
	a = reopen(t, a)
	time.Sleep(200 * time.Millisecond) // or the times of the directories would not be gone by
	v := selectBox(t, a, "Box", false)
	if err := v.Store(t.Context(), []SeqNum{1}, StoreAdd, []imap.Flag{"word"}); err != nil {
		t.Fatal(err)
	}
	poll(t, v)
	a.mu.Lock()
	mb := a.boxes[".Box"]
	delete(a.boxes, ".Box") // as it was when STATUS looked
	a.mu.Unlock()
	st, ok, err := a.quickStatus("Box")
	a.mu.Lock()
	a.boxes[".Box"] = mb
	a.mu.Unlock()
	if err != nil || ok && (st.HighestModSeq > v.HighestModSeq() || st.UIDNext > v.UIDNext()) {
		t.Errorf("HIGHESTMODSEQ %d instead of %d, UIDNEXT %d instead of %d, %v", st.HighestModSeq, v.HighestModSeq(), st.UIDNext, v.UIDNext(), err)
	}
}

package transfer_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"mailstead/imapserver/dialogue"
	"mailstead/reconcile/transfer"
)

// TestVerifyTwice names a message that the notes know as two which are here, and not
// one that the user has copied.
func TestVerifyTwice(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	src := &held{validity: "a", texts: texts(3)}
	dir := filepath.Join(t.TempDir(), "journal")
	run(t, src.Open, here, dir, transfer.Options{})
	c := client(t, here)
	put(t, c, "INBOX", text(1), when) // UID 4
	put(t, c, "INBOX", text(2), when)
	files, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	verify := func() []transfer.Difference { return verified(t, src.Open, here, dir) }
	if got := verify(); len(got) != 0 {
		t.Errorf("copies of the user's are named: %v", got)
	}
	f, err := os.OpenFile(files[0], os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fmt.Fprint(f, "a-1\t4\t\n")
	want := transfer.Difference{Mailbox: "INBOX", ID: "a-1", What: "is here twice, in INBOX as the UIDs 2 and 4"}
	if got := verify(); len(got) != 1 || got[0] != want {
		t.Errorf("%v, not %v", got, want)
	}
}

// many is a source of which nothing but a list is held.
type many struct {
	held
	folders, messages int

	mu     sync.Mutex
	listed int
	most   uint64 // octets in use when a folder has been listed
}

func (m *many) Open(context.Context) (transfer.Source, error) { return m, nil }

func (m *many) Mailboxes(context.Context) (all []transfer.Mailbox, err error) {
	for i := range m.folders {
		name := fmt.Sprint("F", i)
		all = append(all, transfer.Mailbox{Name: name, Levels: []string{name}, Validity: "a", Messages: m.messages})
	}
	return all, nil
}

func (m *many) List(_ context.Context, _ transfer.Mailbox, each func(transfer.Entry)) error {
	for i := range m.messages {
		each(transfer.Entry{ID: fmt.Sprint(i), Date: when.Unix() + int64(i), Size: 1000})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.listed++; m.listed%(1+m.folders/8) == 0 || m.folders == 1 {
		m.most = max(m.most, inUse())
	}
	return nil
}

// verified gives what differs between a source and what the journal has brought of it.
func verified(t *testing.T, open transfer.Opener, here *dialogue.Account, dir string) []transfer.Difference {
	t.Helper()
	j, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	_, differences, err := (&transfer.Transfer{Open: open, Target: target(t, here, ""), Journal: j, Progress: silent{}}).Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return differences
}

func inUse() uint64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// TestMemory looks at a million messages: in a thousand folders they take no more than
// those of a few do.
func TestMemory(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	for _, c := range []struct{ folders, messages, most int }{
		{1000, 1000, 4 << 20},
		{1, 1_000_000, 110 << 20}, // the slice has room for a quarter more
	} {
		src := &many{folders: c.folders, messages: c.messages}
		before := inUse()
		run(t, src.Open, here, filepath.Join(t.TempDir(), "journal"), transfer.Options{DryRun: true})
		took := int64(src.most) - int64(before)
		t.Logf("%d folders of %d messages: %d octets", c.folders, c.messages, took)
		if src.most == 0 || took > int64(c.most) {
			t.Errorf("%d folders of %d messages take %d octets", c.folders, c.messages, took)
		}
	}
}

package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/config"
	delivery "mailstead/imapserver/deliver"
	"mailstead/imapserver/maildir"
)

// TestCrashDelivery has the store find what was delivered before a power cut, and the
// limits as they were set: "deliver" of TestCrashOwn looks at the rest.
func TestCrashDelivery(t *testing.T) {
	c, _ := recordDeliveries(t)
	at := filepath.Join(fastDir(t), "Maildir")
	writeDisk(t, at, c.disk(c.cuts[len(c.cuts)-1], crashModels[1], nil))
	a := openAccount(t, at)
	if limits, used, err := a.Quota(); err != nil || limits.Messages != 100 || used.Messages != 4 {
		t.Errorf("limits %+v, used %+v, %v", limits, used, err)
	}
}

// recordDeliveries records some deliveries, one of which makes maildirsize. texts are
// those of the messages, with their numbers; 0 was there before.
func recordDeliveries(t *testing.T) (c *crashFS, texts map[string]int) {
	t.Helper()
	dir := crashNothing(t)
	c = newCrashFS(t, dir)
	c.moment(maildir.Op{Call: "the first"})
	d := delivery.New(&maildir.Ops{Trace: c.trace}, 1<<20, func(text string, args ...any) { t.Error(text, args) })
	place := delivery.Place{Maildir: dir, Quota: &config.Quota{Messages: 100}}
	texts = map[string]int{"Subject: old\n\nbody\n": 0}
	for n := range 3 {
		text := fmt.Sprintf("Subject: %d\n\n%s\n", n, strings.Repeat("body ", 30_000*n)) // in several writes
		texts[text] = n + 1
		if err := d.Deliver(place, delivery.Envelope{NoSender: true}, strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n"))); err != nil {
			t.Fatal(err)
		}
		c.ack()
	}
	return c, texts
}

// crashDelivery cuts the power before each call of some deliveries: what was
// acknowledged is there, and nothing else than whole messages is.
func crashDelivery(t *testing.T) (faults []string) {
	c, texts := recordDeliveries(t)
	disks := 0
	for _, cut := range c.cuts {
		for _, m := range crashModels {
			for seed := range m.seeds {
				disks++
				disk := c.disk(cut, m, rand.New(rand.NewPCG(uint64(cut.index), uint64(seed))))
				if err := checkDelivered(disk, cut, texts); err != nil {
					faults = append(faults, fmt.Sprintf("%v, %s: %v", cut, m.name, err))
				}
			}
		}
	}
	t.Logf("%d moments, %d disks", len(c.cuts), disks)
	return faults
}

// checkDelivered looks at what a disk holds after a cut.
func checkDelivered(disk []crashFile, cut crashCut, texts map[string]int) error {
	there := map[int]int{}
	for _, f := range disk {
		if f.dir || filepath.Dir(f.path) != "new" {
			continue
		}
		n, whole := texts[string(f.data)]
		if !whole {
			return fmt.Errorf("%s is no message: %.50q", f.path, f.data)
		}
		there[n]++
	}
	for n := range cut.acked {
		if there[n+1] != 1 {
			return fmt.Errorf("message %d, acknowledged, is there %d times", n, there[n+1])
		}
	}
	return nil
}

// crashDeliveryDeleted cuts the power after a delivery whose mailbox was deleted
// before it was acknowledged: the message is in INBOX.
func crashDeliveryDeleted(t *testing.T) []string {
	dir := crashNothing(t)
	lists, gone := filepath.Join(dir, ".Lists"), filepath.Join(dir, "gone")
	if err := maildir.MakeTree(lists, true); err != nil {
		t.Fatal(err)
	}
	run := func(ops *maildir.Ops) error {
		deleted := false
		trace := func(op maildir.Op) error {
			if op.Call == "syncdir" && !deleted {
				deleted = true
				if err := errors.Join(ops.RenameNew(lists, gone), ops.SyncDir(dir)); err != nil {
					return err
				}
			}
			if deleted { // the folder is still called what it was when it was opened
				op.Path = strings.Replace(op.Path, lists, gone, 1)
			}
			return ops.Trace(op)
		}
		d := delivery.New(&maildir.Ops{Trace: trace}, 1<<20, func(string, ...any) {}) // it says that it was deleted
		return d.Deliver(delivery.Place{Maildir: dir}, delivery.Envelope{NoSender: true, Mailbox: "Lists"}, strings.NewReader("Subject: x\r\n\r\nhi\r\n"))
	}
	return crashAfter(t, dir, run, func(dir string) error {
		if there := files(t, dir, "new"); len(there) != 2 {
			return fmt.Errorf("in new are %q", there)
		}
		return nil
	})
}

// TestDeliveryIsSeen: a session that waits is told of a delivery, and both count
// by the same file.
func TestDeliveryIsSeen(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	if err := a.Create(t.Context(), "Lists"); err != nil {
		t.Fatal(err)
	}
	if err := a.SetQuota(Limits{Messages: 3}); err != nil {
		t.Fatal(err)
	}
	v, err := a.Select(context.Background(), "Lists", false)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	d := delivery.New(&maildir.Ops{}, 1<<20, func(text string, args ...any) { t.Error(text, args) })
	for n := range 4 {
		err := d.Deliver(delivery.Place{Maildir: dir}, delivery.Envelope{Mailbox: "lists"}, strings.NewReader("Subject: x\n\nhi\n"))
		if full := n == 3; (err != nil) != full || full && err.Error() != delivery.ErrFull.Error() {
			t.Errorf("message %d: %v", n, err)
		}
	}
	for v.Len() < 3 { // or the test's own time is over
		<-v.Wake()
		if _, err := v.Poll(t.Context(), true, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, used, err := a.Quota(); err != nil || used.Messages != 3 {
		t.Errorf("used %+v, %v", used, err)
	}
}

// TestDeliveriesBesideSessions delivers while sessions expunge what comes, rename
// the mailbox and delete it: each message that was acknowledged is found by one of
// them once, in the mailbox or in INBOX, and the count of the quota is right.
func TestDeliveriesBesideSessions(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	if err := errors.Join(a.Create(t.Context(), "Lists"), a.SetQuota(Limits{Messages: 100_000})); err != nil {
		t.Fatal(err)
	}
	const deliverers, each = 4, 100
	var acknowledged sync.Map
	var deliveries, sessions sync.WaitGroup
	for i := range deliverers {
		deliveries.Go(func() {
			d := delivery.New(&maildir.Ops{}, 1<<20, func(string, ...any) {}) // there is no such mailbox now and then
			for n := range each {
				subject := fmt.Sprintf("%d-%d", i, n)
				err := d.Deliver(delivery.Place{Maildir: dir}, delivery.Envelope{Mailbox: "Lists"}, strings.NewReader("Subject: "+subject+"\n\nx\n"))
				if err == nil {
					acknowledged.Store(subject, true)
				}
			}
		})
	}
	over := make(chan struct{})
	sessions.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-over:
				return
			default:
				a.Rename(context.Background(), "Lists", "Other")
				a.Rename(context.Background(), "Other", "Lists")
			}
		}
	})
	found := map[string]int{}
	deliverDone := make(chan struct{})
	go func() { deliveries.Wait(); close(deliverDone) }()
	for done := false; !done; {
		select {
		case <-deliverDone:
			close(over)
			sessions.Wait()
			done = true
		default:
		}
		for _, box := range []string{"Lists", "Other", "INBOX"} {
			takeAll(t, a, box, found)
		}
	}
	missing := 0
	acknowledged.Range(func(subject, _ any) bool {
		if found[subject.(string)] != 1 {
			t.Errorf("message %s was found %d times", subject, found[subject.(string)])
		}
		missing++
		return missing < 1000
	})
	if _, used, err := a.Quota(); err != nil || used != (Usage{}) {
		t.Errorf("used %+v, %v", used, err)
	}
}

// TestDeletedWhileDelivered holds a delivery at each of its calls while a session
// deletes the mailbox up to each of its own: the message is in INBOX, and told of, or
// was not acknowledged, and what maildirsize says is what there is.
func TestDeletedWhileDelivered(t *testing.T) {
	for _, row := range []struct {
		box  string
		keep time.Duration
	}{
		{"Lists", 0}, {"Lists", time.Hour}, {"Trash", 0}, // whose messages do not count
	} {
		moved, rescued := 0, 0
		for at, begun := 1, true; begun; at++ {
			for until, ended := 1, false; begun && !ended; until++ {
				rescued, begun, ended = deletedWhileDelivered(t, row.box, row.keep, at, until)
				moved += rescued
			}
		}
		if moved == 0 {
			t.Errorf("%+v: no message was taken to INBOX", row)
		}
	}
}

// deletedWhileDelivered is one of them. begun is false if a delivery has less calls, and
// ended is true if a deletion has.
func deletedWhileDelivered(t *testing.T, box string, keep time.Duration, at, until int) (rescued int, begun, ended bool) {
	t.Helper()
	dir := newMaildir(t)
	var deletion func(maildir.Op) error
	a := openWith(t, Options{Maildir: dir, unwatched: true, ops: &maildir.Ops{Trace: func(op maildir.Op) error {
		if deletion != nil {
			return deletion(op)
		}
		return nil
	}}})
	if err := errors.Join(a.Create(t.Context(), box), a.SetQuota(Limits{Messages: 100})); err != nil {
		t.Fatal(err)
	}
	appendMessage(t, a, box, "Subject: there before\r\n\r\nx\r\n")
	a.SetKeep(keep)
	paused, resume, deleted := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	calls := 0
	deletion = func(maildir.Op) error {
		if calls++; calls == until {
			close(paused)
			<-resume
		}
		return nil
	}
	n := 0
	d := delivery.New(&maildir.Ops{Trace: func(maildir.Op) error {
		if n++; n == at {
			begun = true
			go func() { deleted <- a.Delete(context.Background(), box) }()
			select {
			case <-paused:
			case err := <-deleted:
				ended = true
				deleted <- err
			}
		}
		return nil
	}}, 1<<20, func(text string, _ ...any) { rescued += strings.Count(text, "was deleted while") })
	acknowledged := d.Deliver(delivery.Place{Maildir: dir}, delivery.Envelope{Mailbox: box}, strings.NewReader("x")) == nil
	if !begun {
		return 0, false, false
	}
	_, still := os.Lstat(filepath.Join(dir, "."+box)) // it was delivered, and then deleted
	close(resume)
	if err := <-deleted; err != nil {
		t.Fatal(err)
	}
	there, err := maildir.CountAll(dir, nil)
	_, used, qerr := a.Quota()
	if err := errors.Join(err, qerr); err != nil {
		t.Fatal(err)
	}
	if used != there || rescued > int(there.Messages) || acknowledged != (there.Messages == 1) && still != nil {
		t.Errorf("%s, kept for %v, at call %d, until call %d of deletion: acknowledged is %v, rescued %d, used %+v, there %+v", box, keep, at, until, acknowledged, rescued, used, there)
	}
	return rescued, begun, ended
}

// takeAll expunges all that there is in a mailbox, and notes what it was.
func takeAll(t *testing.T, a *Account, box string, found map[string]int) {
	t.Helper()
	v, err := a.Select(context.Background(), box, false)
	if errors.Is(err, ErrNotFound) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := v.Poll(context.Background(), true, true); err != nil && !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	var all []SeqNum
	var subjects []string
	for n := SeqNum(1); int(n) <= v.Len(); n++ {
		text, err := v.Read(context.Background(), n)
		if err != nil {
			return // renamed meanwhile: the next look finds it
		}
		_, subject, _ := strings.Cut(string(text), "Subject: ")
		subject, _, _ = strings.Cut(subject, "\r")
		all, subjects = append(all, n), append(subjects, subject)
	}
	if len(all) == 0 || v.Store(context.Background(), all, StoreAdd, []imap.Flag{imap.FlagDeleted}) != nil || v.Expunge(context.Background(), nil) != nil {
		return
	}
	for _, subject := range subjects {
		found[subject]++
	}
}

package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// TestConcurrent has many sessions work on a few mailboxes that come, go and
// change their names. Whatever happens must be one of the errors that callers
// know, and what remains must be sound.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(fastDir(t), "Maildir")
	copyTree(t, dir, newMaildir(t))
	a := openAccount(t, dir)
	create(t, a, "A", "B")
	known := []error{ErrNotFound, ErrExists, ErrExpunged}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 5))
			for n := range 60 {
				err := concurrentStep(a, rnd, fmt.Sprintf("Subject: %d-%d\r\n\r\n", i, n))
				ok := err == nil
				for _, k := range known {
					ok = ok || errors.Is(err, k)
				}
				if !ok {
					t.Errorf("session %d, step %d: %v", i, n, err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatal("sessions wait for each other")
	}
	before := observe(t, a)
	a = reopen(t, a)
	after := observe(t, a)
	for name, box := range before.boxes {
		if err := sameBox(after.boxes[name], box); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// concurrentStep is one session: it selects some mailbox and does a few things
// in it, or does something to mailboxes.
func concurrentStep(a *Account, rnd *rand.Rand, body string) error {
	ctx := context.Background()
	names := []string{"INBOX", "A", "B"}
	name, other := names[rnd.IntN(3)], names[rnd.IntN(3)]
	switch rnd.IntN(12) {
	case 0:
		return a.Create(ctx, names[1+rnd.IntN(2)])
	case 1:
		return a.Delete(ctx, names[1+rnd.IntN(2)])
	case 2:
		return a.Rename(ctx, "A", "B")
	case 3:
		return a.Subscribe(ctx, name, rnd.IntN(2) == 0)
	case 4:
		_, err := a.List(ctx)
		return err
	case 5:
		_, err := a.Status(ctx, name, true)
		return err
	}
	v, err := a.Select(ctx, name, false)
	if err != nil {
		return err
	}
	defer v.Close()
	for range 4 {
		if err := concurrentCommand(a, v, rnd, name, other, body); err != nil {
			return err
		}
		if _, err := v.Poll(ctx, rnd.IntN(2) == 0, rnd.IntN(2) == 0); err != nil {
			return err
		}
	}
	return nil
}

func concurrentCommand(a *Account, v *View, rnd *rand.Rand, name, other, body string) error {
	ctx := context.Background()
	if v.Len() == 0 || rnd.IntN(3) == 0 {
		_, _, err := tryAppend(a, name, body, time.Time{}, "Work")
		return err
	}
	n := SeqNum(1 + rnd.IntN(v.Len()))
	var err error
	switch rnd.IntN(5) {
	case 0:
		_, err = v.Copy(ctx, []SeqNum{n}, here(v, other))
	case 1:
		_, err = v.Move(ctx, []SeqNum{n}, here(v, other))
	case 2:
		err = v.Store(ctx, []SeqNum{n}, StoreAdd, []imap.Flag{imap.FlagDeleted, "x"})
	case 3:
		err = v.Expunge(ctx, nil)
	case 4:
		_, err = v.Read(ctx, n)
	}
	return err
}

package store

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestFlood has many sessions wait in one mailbox while mail comes in all the
// time. How often the Maildir is looked at depends on neither the sessions nor, in
// proportion, on the messages; and in the end everyone knows of every message.
func TestFlood(t *testing.T) {
	sessions, messages, each := 500, 1000, time.Millisecond
	if os.Getenv("MAILSTEAD_HOSTILE") != "" {
		sessions, messages = 10_000, 10_000
	}
	dir := newMaildir(t)
	a := openAccount(t, dir)
	var wakes atomic.Int64
	var all sync.WaitGroup
	var mb *mailbox
	start := time.Now()
	for range sessions {
		v := selectBox(t, a, "INBOX", false)
		mb = v.mb
		all.Go(func() {
			for v.Len() < messages {
				select {
				case <-v.Wake():
				case <-time.After(5 * time.Minute):
					t.Error("no wake")
					return
				}
				wakes.Add(1)
				if _, err := v.Poll(context.Background(), true, false); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	before := mb.begun.Load()
	began := time.Now()
	for i := range messages {
		deliver(t, dir, fmt.Sprintf("1700000000.n%d.host", i), "Subject: x\n\n")
		time.Sleep(time.Until(began.Add(time.Duration(i+1) * each)))
	}
	took := time.Since(began)
	all.Wait()
	late := time.Since(began) - took
	looks := mb.begun.Load() - before
	t.Logf("%d sessions, %d messages in %v: %d looks, %d wakes; %v after the last delivery all knew of it; %v in all",
		sessions, messages, took, looks, wakes.Load(), late, time.Since(start))
	// A look is followed by a rest, however much happens.
	if most := uint64((took+late)/minWatchRest) + 10; looks > most {
		t.Errorf("%d looks in %v, want %d at most", looks, took+late, most)
	}
	a.watch.mu.Lock()
	defer a.watch.mu.Unlock()
	if len(a.watch.taps) != 2 {
		t.Errorf("%d directories are watched for one mailbox", len(a.watch.taps))
	}
}

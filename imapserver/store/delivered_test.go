package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"mailstead/imapserver/config"
	delivery "mailstead/imapserver/deliver"
	"mailstead/imapserver/maildir"
)

// TestCrashDelivery cuts the power before each call of some deliveries, one of
// which makes maildirsize: what was acknowledged is there, and nothing else than
// whole messages is. Then the store finds them, and the limits as they were set.
func TestCrashDelivery(t *testing.T) {
	dir := crashNothing(t)
	c := newCrashFS(t, dir)
	c.moment(maildir.Op{Call: "the first"})
	d := delivery.New(&maildir.Ops{Trace: c.trace}, 1<<20, func(text string, args ...any) { t.Error(text, args) })
	place := delivery.Place{Maildir: dir, Quota: &config.Quota{Messages: 100}}
	texts := map[string]int{"Subject: old\n\nbody\n": 0}
	for n := range 3 {
		text := fmt.Sprintf("Subject: %d\n\n%s\n", n, strings.Repeat("body ", 30_000*n)) // in several writes
		texts[text] = n + 1
		if err := d.Deliver(t.Context(), place, delivery.Envelope{NoSender: true}, strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n"))); err != nil {
			t.Fatal(err)
		}
		c.ack()
	}
	disks := 0
	for _, cut := range c.cuts {
		for _, m := range crashModels {
			for seed := range m.seeds {
				disk := c.disk(cut, m, rand.New(rand.NewPCG(uint64(cut.index), uint64(seed))))
				checkDelivered(t, disk, cut, texts, m.name)
				disks++
			}
		}
	}
	t.Logf("%d moments, %d disks", len(c.cuts), disks)
	at := filepath.Join(fastDir(t), "Maildir")
	writeDisk(t, at, c.disk(c.cuts[len(c.cuts)-1], crashModels[1], nil))
	a := openAccount(t, at)
	if limits, used, err := a.Quota(); err != nil || limits.Messages != 100 || used.Messages != 4 {
		t.Errorf("limits %+v, used %+v, %v", limits, used, err)
	}
}

// checkDelivered looks at what a disk holds after a cut.
func checkDelivered(t *testing.T, disk []crashFile, cut crashCut, texts map[string]int, model string) {
	t.Helper()
	there := map[int]int{}
	for _, f := range disk {
		if f.dir || filepath.Dir(f.path) != "new" {
			continue
		}
		n, whole := texts[string(f.data)]
		if !whole {
			t.Errorf("%v, %s: %s is no message: %.50q", cut, model, f.path, f.data)
		}
		there[n]++
	}
	for n := range cut.acked {
		if there[n+1] != 1 {
			t.Errorf("%v, %s: message %d, acknowledged, is there %d times", cut, model, n, there[n+1])
		}
	}
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
		err := d.Deliver(t.Context(), delivery.Place{Maildir: dir}, delivery.Envelope{Mailbox: "lists"}, strings.NewReader("Subject: x\n\nhi\n"))
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

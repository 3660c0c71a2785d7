package store

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestFirstContactIsLean: what the first look at very many messages needs beside the
// index that stays is in proportion to it. Before their records were made in place and
// their names lay together, these were 1,024 octets in 8 pieces for each message.
func TestFirstContactIsLean(t *testing.T) {
	const messages = 20_000
	dir := newMaildir(t)
	text := filepath.Join(dir, "tmp", "text")
	if err := os.WriteFile(text, []byte("Subject: x\n\ny\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range messages {
		name := fmt.Sprintf("%d.M%06dP4000V000000000000FE00I%016X.mx1.example.test,S=14:2,S", 1_700_000_000+i*7919%messages, i, i)
		if err := os.Link(text, filepath.Join(dir, "cur", name)); err != nil {
			t.Fatal(err)
		}
	}
	a := openUnwatched(t, dir)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	v := selectBox(t, a, "INBOX", false)
	runtime.ReadMemStats(&after)
	if n := v.Len(); n != messages {
		t.Fatalf("%d messages", n)
	}
	octets, pieces := (after.TotalAlloc-before.TotalAlloc)/messages, float64(after.Mallocs-before.Mallocs)/messages
	t.Logf("%d octets in %.2f pieces for each message", octets, pieces)
	if octets > 900 || pieces > 6 {
		t.Errorf("%d octets in %.2f pieces for each message", octets, pieces)
	}
}

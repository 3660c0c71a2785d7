package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mailstead/imapserver/maildir"
)

// BenchmarkExpungeKept expunges 1,000 of 20,000 messages: plainly, with what is kept
// aside, with the record of removals, whose Message-IDs are in the cache or are read,
// and with both.
func BenchmarkExpungeKept(b *testing.B) {
	for _, test := range []struct {
		name                   string
		keep, record, uncached bool
	}{
		{name: "plain"}, {name: "keep", keep: true}, {name: "record", record: true}, {name: "record-uncached", record: true, uncached: true},
		{name: "keep-record", keep: true, record: true}, {name: "keep-record-uncached", keep: true, record: true, uncached: true},
	} {
		b.Run(test.name, func(b *testing.B) {
			template := filepath.Join(fastDir(b), "Maildir")
			if err := maildir.MakeTree(template, false); err != nil {
				b.Fatal(err)
			}
			fillDeleted(b, template)
			for b.Loop() {
				b.StopTimer()
				dir := filepath.Join(fastDir(b), "Maildir") // what syncs take depends on the disk
				copyTree(b, dir, template)
				a := openWith(b, Options{Maildir: dir, unwatched: true})
				if test.keep {
					a.SetKeep(time.Hour)
				}
				v := selectBox(b, a, "INBOX", false)
				if !test.uncached {
					if err := a.fill.fill("."); err != nil {
						b.Fatal(err)
					}
				}
				told := 0
				if test.record {
					v.WatchRemovals(func(all []Removal) { told += len(all) })
				}
				b.StartTimer()
				if err := v.Expunge(context.Background(), nil); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if poll(b, v); v.Len() != 19_000 || test.record && told != 1000 {
					b.Fatal(v.Len(), told)
				}
				v.Close()
				a.Close()
				os.RemoveAll(dir)
				b.StartTimer()
			}
		})
	}
}

// BenchmarkDelete deletes a mailbox of 20,000 messages, for good and with what it has
// kept aside.
func BenchmarkDelete(b *testing.B) {
	for _, keep := range []time.Duration{0, time.Hour} {
		b.Run(fmt.Sprint(keep > 0), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				a := openWith(b, Options{Maildir: newMaildir(b), unwatched: true})
				a.SetKeep(keep)
				create(b, a, "Old")
				fill(b, a.dir+"/.Old", 20_000)
				selectBox(b, a, "Old", false).Close()
				b.StartTimer()
				if err := a.Delete(context.Background(), "Old"); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				a.Close()
				os.RemoveAll(a.dir)
				b.StartTimer()
			}
		})
	}
}

// fillDeleted makes 20,000 messages of which every twentieth is to be expunged.
func fillDeleted(b *testing.B, dir string) {
	old := time.Now().Add(-time.Hour)
	for i := range 20_000 {
		flags := "S"
		if i%20 == 0 {
			flags = "ST"
		}
		path := fmt.Sprintf("%s/cur/%d.M%dP17110V000000000000FE00I%016X_%d.mx1.example.test,S=60:2,%s", dir, 1_700_000_000+i/10, i%1000, i, i, flags)
		text := fmt.Sprintf("Subject: message %d\nFrom: a@example.org\nMessage-ID: <%d@example.org>\n\nThe body.\n", i, i)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			b.Fatal(err)
		}
	}
}

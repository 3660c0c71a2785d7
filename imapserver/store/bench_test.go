package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
)

// fill puts n messages into cur, as if they had been there for an hour.
func fill(tb testing.TB, box string, n int) {
	tb.Helper()
	old := time.Now().Add(-time.Hour)
	for i := range n {
		name := fmt.Sprintf("%d.M%dP17110V000000000000FE00I%016X_%d.mx1.example.test,S=60:2,S", 1_700_000_000+i/10, i%1000, i, i)
		path := filepath.Join(box, "cur", name)
		text := fmt.Sprintf("Subject: message %d\nFrom: a@example.org\n\nThe body.\n", i)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			tb.Fatal(err)
		}
	}
	for _, d := range []string{"cur", "new"} {
		if err := os.Chtimes(filepath.Join(box, d), old, old); err != nil {
			tb.Fatal(err)
		}
	}
}

func benchSelect(b *testing.B, a *Account) {
	v, err := a.Select(context.Background(), "INBOX", false)
	if err != nil {
		b.Fatal(err)
	}
	v.Close()
}

// BenchmarkSelectFirst is the first contact with 50,000 messages.
func BenchmarkSelectFirst(b *testing.B) {
	dir := newMaildir(b)
	fill(b, dir, 50_000)
	for b.Loop() {
		a := openAccount(b, dir)
		benchSelect(b, a)
		b.StopTimer()
		a.Close()
		os.RemoveAll(a.own)
		b.StartTimer()
	}
}

// BenchmarkSelectCold is a new process, with the index there.
func BenchmarkSelectCold(b *testing.B) {
	dir := newMaildir(b)
	fill(b, dir, 50_000)
	a := openAccount(b, dir)
	benchSelect(b, a)
	a.Close()
	for b.Loop() {
		a := openAccount(b, dir)
		benchSelect(b, a)
		b.StopTimer()
		a.Close()
		b.StartTimer()
	}
}

// BenchmarkSelectChanged is a new process after another program has changed
// one of the messages.
func BenchmarkSelectChanged(b *testing.B) {
	dir := newMaildir(b)
	fill(b, dir, 50_000)
	a := openAccount(b, dir)
	benchSelect(b, a)
	a.Close()
	name := files(b, dir, "cur")[0]
	for b.Loop() {
		b.StopTimer()
		next := name[:len(name)-1] + map[byte]string{'S': "F", 'F': "S"}[name[len(name)-1]]
		if err := os.Rename(filepath.Join(dir, "cur", name), filepath.Join(dir, "cur", next)); err != nil {
			b.Fatal(err)
		}
		name = next
		b.StartTimer()
		a := openAccount(b, dir)
		benchSelect(b, a)
		b.StopTimer()
		a.Close()
		b.StartTimer()
	}
}

// BenchmarkSelectWarm is a mailbox that is loaded.
func BenchmarkSelectWarm(b *testing.B) {
	dir := newMaildir(b)
	fill(b, dir, 50_000)
	a := openAccount(b, dir)
	benchSelect(b, a)
	for b.Loop() {
		benchSelect(b, a)
	}
}

// BenchmarkAppend is one message after the other into 50,000.
func BenchmarkAppend(b *testing.B) {
	dir := newMaildir(b)
	fill(b, dir, 50_000)
	a := openAccount(b, dir)
	benchSelect(b, a)
	for b.Loop() {
		appendMessage(b, a, "INBOX", mail1)
	}
}

// BenchmarkAppendMany is from 50 sessions at once.
func BenchmarkAppendMany(b *testing.B) {
	a := openAccount(b, newMaildir(b))
	b.SetParallelism(25)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			appendMessage(b, a, "INBOX", mail1)
		}
	})
}

// BenchmarkDeliver is how long it takes until a delivery wakes a session with
// 50,000 messages.
func BenchmarkDeliver(b *testing.B) {
	dir := newMaildir(b)
	fill(b, dir, 50_000)
	a := openAccount(b, dir)
	v := selectBox(b, a, "INBOX", false)
	for i := 0; b.Loop(); i++ {
		deliver(b, dir, fmt.Sprintf("%d.x%d", time.Now().Unix(), i), "a: b\n\nc\n")
		<-v.Wake()
		if u, err := v.Poll(context.Background(), true, false); err != nil || len(u) == 0 {
			b.Fatal(u, err)
		}
		b.StopTimer()
		time.Sleep(100 * time.Millisecond)
		for len(v.Wake()) > 0 {
			v.Poll(context.Background(), true, false)
		}
		b.StartTimer()
	}
}

func benchStore(b *testing.B, flag imap.Flag) {
	dir := newMaildir(b)
	fill(b, dir, 50_000)
	a := openAccount(b, dir)
	v := selectBox(b, a, "INBOX", false)
	for i := 0; b.Loop(); i++ {
		op := []StoreOp{StoreAdd, StoreRemove}[i%2]
		if err := v.Store(context.Background(), []SeqNum{25_000}, op, []imap.Flag{flag}); err != nil {
			b.Fatal(err)
		}
		if _, err := v.Poll(context.Background(), true, true); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStoreFlag changes one of 50,000 messages, and polls.
func BenchmarkStoreFlag(b *testing.B) { benchStore(b, imap.FlagFlagged) }

// BenchmarkStoreKeyword does so with a keyword.
func BenchmarkStoreKeyword(b *testing.B) { benchStore(b, "Work") }

// BenchmarkStoreAll changes 20,000 messages at once.
func BenchmarkStoreAll(b *testing.B) {
	dir := newMaildir(b)
	fill(b, dir, 20_000)
	a := openAccount(b, dir)
	v := selectBox(b, a, "INBOX", false)
	all := allSeqs(v)
	for i := 0; b.Loop(); i++ {
		op := []StoreOp{StoreAdd, StoreRemove}[i%2]
		if err := v.Store(context.Background(), all, op, []imap.Flag{imap.FlagFlagged}); err != nil {
			b.Fatal(err)
		}
	}
}

func allSeqs(v *View) []SeqNum {
	all := make([]SeqNum, v.Len())
	for i := range all {
		all[i] = SeqNum(i + 1)
	}
	return all
}

// BenchmarkCopyKeywords copies 167 messages with keywords into a mailbox of
// 6,814 that have some, which takes Courier seconds.
func BenchmarkCopyKeywords(b *testing.B) {
	dir := newMaildir(b)
	fill(b, dir, 167)
	a := openAccount(b, dir)
	ctx := context.Background()
	if err := a.Create(ctx, "Box"); err != nil {
		b.Fatal(err)
	}
	fill(b, filepath.Join(dir, ".Box"), 6814)
	v, w := selectBox(b, a, "INBOX", false), selectBox(b, a, "Box", false)
	for _, x := range []*View{v, w} {
		if err := x.Store(ctx, allSeqs(x), StoreAdd, []imap.Flag{"$Label1", "Work"}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := v.Copy(ctx, allSeqs(v), here(v, "Box")); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkExpunge removes 10,000 messages that are copies.
func BenchmarkExpunge(b *testing.B) {
	dir := newMaildir(b)
	fill(b, dir, 10_000)
	a := openAccount(b, dir)
	ctx := context.Background()
	v := selectBox(b, a, "INBOX", false)
	for b.Loop() {
		b.StopTimer()
		if err := a.Create(ctx, "Box"); err != nil {
			b.Fatal(err)
		}
		if _, err := v.Copy(ctx, allSeqs(v), here(v, "Box")); err != nil {
			b.Fatal(err)
		}
		w := selectBox(b, a, "Box", false)
		if err := w.Store(ctx, allSeqs(w), StoreAdd, []imap.Flag{imap.FlagDeleted}); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := w.Expunge(ctx, nil); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		w.Close()
		if err := a.Delete(ctx, "Box"); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkSize counts the octets of messages that no one has read.
func BenchmarkSize(b *testing.B) {
	dir := newMaildir(b)
	fill(b, dir, 5000)
	a := openAccount(b, dir)
	v := selectBox(b, a, "INBOX", false)
	var total atomic.Int64
	for b.Loop() {
		for n := SeqNum(1); int(n) <= v.Len(); n++ {
			v.told.at(int(n) - 1).size.Store(sizeUnknown)
			size, err := v.Size(context.Background(), n)
			if err != nil {
				b.Fatal(err)
			}
			total.Add(size)
		}
	}
}

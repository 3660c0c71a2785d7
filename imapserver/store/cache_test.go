package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/message"
)

// cachedBox is an account whose INBOX has n messages, all of them in the cache.
func cachedBox(t *testing.T, n int) *Account {
	t.Helper()
	dir := newMaildir(t)
	fill(t, dir, n)
	a := openUnwatched(t, dir)
	selectBox(t, a, "INBOX", true)
	fillNow(t, a)
	return a
}

// fillNow does what the background would do.
func fillNow(t *testing.T, a *Account) {
	t.Helper()
	if err := a.fill.fill("."); err != nil {
		t.Fatal(err)
	}
}

// inCache counts the messages that a new View finds in the cache. What it finds
// must be what is in the message.
func inCache(t *testing.T, a *Account) int {
	t.Helper()
	v, err := a.Select(context.Background(), "INBOX", true)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	k := v.Reading()
	defer k.Close()
	found := 0
	for n := SeqNum(1); int(n) <= v.Len(); n++ {
		raw, err := v.Read(context.Background(), n)
		if err != nil {
			t.Fatal(err)
		}
		all := true
		for p := range PartCount {
			have, ok := k.Part(n, p)
			want, _ := partsOf(message.Parse(raw))(p, nil)
			if ok && string(have) != string(want) {
				t.Fatalf("message %d, part %d: %q, not %q", n, p, have, want)
			}
			all = all && ok
		}
		if all {
			found++
		}
	}
	return found
}

// cacheFile is the file of INBOX, the only mailbox.
func cacheFile(t *testing.T, a *Account) string {
	t.Helper()
	list := files(t, a.own, cacheDir)
	if len(list) != 1 {
		t.Fatalf("files in the cache: %q", list)
	}
	return filepath.Join(a.own, cacheDir, list[0])
}

func TestCache(t *testing.T) {
	const n = 2*blockMessages + 10
	a := cachedBox(t, n)
	if have := inCache(t, a); have != n {
		t.Errorf("%d messages are in the cache, want %d", have, n)
	}
	a = reopen(t, a)
	if have := inCache(t, a); have != n {
		t.Errorf("opened again: %d messages are in the cache, want %d", have, n)
	}
	// New messages come in behind, and sizes have become known on the way.
	appendMessage(t, a, "INBOX", "Subject: later\r\n\r\nHi.\r\n")
	selectBox(t, a, "INBOX", true)
	fillNow(t, a)
	if have := inCache(t, a); have != n+1 {
		t.Errorf("after an append: %d messages are in the cache", have)
	}
	v := selectBox(t, a, "INBOX", true)
	if size := v.told.at(0).size.Load(); size == sizeUnknown {
		t.Error("the size of a message that was read is not known")
	}
	// It may be removed at any time.
	if err := os.RemoveAll(filepath.Join(a.own, cacheDir)); err != nil {
		t.Fatal(err)
	}
	a = reopen(t, a)
	if have := inCache(t, a); have != 0 {
		t.Errorf("without a file, %d messages are in the cache", have)
	}
}

// Whatever happens to the file, it is not believed.
func TestCacheDamage(t *testing.T) {
	a := cachedBox(t, 3)
	path := cacheFile(t, a)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	try := func(data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		mb := a.boxes["."]
		mb.closeCache()
		mb.cache.Store(nil)
		if inCache(t, a) < 3 {
			lost++
		}
	}
	for i := range whole {
		data := append([]byte(nil), whole...)
		data[i] ^= 0x81
		try(data)
	}
	for i := range whole {
		try(whole[:i])
	}
	if lost != 2*len(whole) {
		t.Errorf("of %d damages, %d were noticed", 2*len(whole), lost)
	}
	// It is made anew then.
	a.boxes["."].cache.Load().tried = 0
	fillNow(t, a)
	if have := inCache(t, a); have != 3 {
		t.Errorf("%d messages are in the cache again, want 3", have)
	}
}

// What was read of messages in another way than now is not used.
func TestCacheOfBefore(t *testing.T) {
	a := cachedBox(t, 3)
	path := cacheFile(t, a)
	block, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint32(block, 0x4d734362)
	binary.BigEndian.PutUint32(block[blockHead-4:], crc32.Checksum(block[:blockHead-4], castagnoli))
	if err := os.WriteFile(path, block, 0o600); err != nil {
		t.Fatal(err)
	}
	a = reopen(t, a)
	if have := inCache(t, a); have != 0 {
		t.Errorf("%d messages are in the cache", have)
	}
	fillNow(t, a)
	if have := inCache(t, a); have != 3 {
		t.Errorf("%d messages are in the cache again, want 3", have)
	}
}

// A file that is cut off while it is read costs no more than what it held.
func TestCacheCutWhileRead(t *testing.T) {
	a := cachedBox(t, 2*blockMessages)
	v := selectBox(t, a, "INBOX", true)
	k := v.Reading()
	defer k.Close()
	if _, ok := k.Part(1, PartEnvelope); !ok {
		t.Fatal("not in the cache")
	}
	if err := os.Truncate(cacheFile(t, a), int64(blockHead)); err != nil {
		t.Fatal(err)
	}
	if _, ok := k.Part(blockMessages+1, PartEnvelope); ok {
		t.Error("found in what was cut off")
	}
}

// A message has nothing of another one that had its UID.
func TestCacheOfAnother(t *testing.T) {
	a := cachedBox(t, 1)
	v := selectBox(t, a, "INBOX", true)
	r := *v.told.at(0)
	for _, c := range []struct {
		base string
		uid  imap.UID
		want bool
	}{{r.base, r.uid, true}, {r.base + "x", r.uid, false}, {r.base, r.uid + 1, false}} {
		k := v.Reading()
		if _, ok := k.find(&record{uid: c.uid}, baseHash(c.base), PartEnvelope); ok != c.want {
			t.Errorf("UID %d, base %q: %v", c.uid, c.base, ok)
		}
	}
	c, err := openCache(cacheFile(t, a), v.UIDValidity()+1, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if n := c.dir.Load().messages; n != 0 {
		t.Errorf("%d messages of another UIDVALIDITY", n)
	}
}

// Blocks in any order are found, and put in order when there are many.
func TestCacheTidy(t *testing.T) {
	const n = 200
	dir := newMaildir(t)
	fill(t, dir, n)
	a := openUnwatched(t, dir)
	v := selectBox(t, a, "INBOX", false)
	for i := range n {
		seq := SeqNum(i*77%n + 1)
		raw, err := v.Read(context.Background(), seq)
		if err != nil {
			t.Fatal(err)
		}
		var w blockWriter
		r := v.told.at(int(seq) - 1)
		w.add(r.uid, baseHash(r.base), partsOf(message.Parse(raw)))
		a.boxes["."].cached().write(&w)
	}
	if have := inCache(t, a); have != n {
		t.Errorf("%d messages are in the cache, want %d", have, n)
	}
	if err := v.Store(context.Background(), []SeqNum{1, 2, 3}, StoreAdd, []imap.Flag{imap.FlagDeleted}); err != nil {
		t.Fatal(err)
	}
	if err := v.Expunge(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	fillNow(t, a)
	d := a.boxes["."].cached().dir.Load()
	if len(d.blocks) != 1 || d.messages != n-3 || d.mixed != 0 {
		t.Errorf("%d blocks of %d messages, %d mixed", len(d.blocks), d.messages, d.mixed)
	}
	if have := inCache(t, a); have != n-3 {
		t.Errorf("put in order: %d messages are in the cache, want %d", have, n-3)
	}
	if list := files(t, a.own, cacheDir); len(list) != 1 {
		t.Errorf("left behind: %q", list)
	}
}

// What one command reads of many messages is kept, without a background.
func TestCacheKeep(t *testing.T) {
	dir := newMaildir(t)
	fill(t, dir, worthKeeping)
	a := openUnwatched(t, dir)
	v := selectBox(t, a, "INBOX", true)
	k := v.Reading()
	for n := SeqNum(1); n <= worthKeeping; n++ {
		raw, err := v.Read(context.Background(), n)
		if err != nil {
			t.Fatal(err)
		}
		k.Keep(n, message.Parse(raw))
	}
	k.Close()
	if have := inCache(t, a); have != worthKeeping {
		t.Errorf("%d messages are in the cache", have)
	}
}

// The background fills what has been selected, and ends with the account.
func TestCacheBackground(t *testing.T) {
	dir := newMaildir(t)
	fill(t, dir, 20)
	slot := make(chan struct{}, 1)
	a := openWith(t, Options{Maildir: dir, Background: slot})
	if err := a.Create(context.Background(), "gone"); err != nil {
		t.Fatal(err)
	}
	v := selectBox(t, a, "INBOX", true)
	k := v.Reading()
	defer k.Close()
	stray := filepath.Join(a.own, cacheDir, "4711")
	if err := os.WriteFile(stray, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); inCache(t, a) < 20; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the background does not fill the cache")
		}
	}
	if _, err := os.Stat(stray); err == nil {
		t.Error("the file of a mailbox that is no more is still there")
	}
	slot <- struct{}{} // another account's turn
	defer func() { <-slot }()
	appendMessage(t, a, "INBOX", "Subject: x\r\n\r\n")
	start := time.Now()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > fillDelay {
		t.Errorf("closing took %v", took)
	}
}

// A mailbox that is deleted leaves nothing of its messages.
func TestCacheDelete(t *testing.T) {
	ctx := context.Background()
	dir := newMaildir(t)
	a := openUnwatched(t, dir)
	if err := a.Create(ctx, "box"); err != nil {
		t.Fatal(err)
	}
	appendMessage(t, a, "box", "Subject: x\r\n\r\n")
	selectBox(t, a, "box", true)
	if err := a.fill.fill(".box"); err != nil {
		t.Fatal(err)
	}
	if path := cacheFile(t, a); !strings.Contains(path, cacheDir) {
		t.Fatal(path)
	}
	if err := a.Delete(ctx, "box"); err != nil {
		t.Fatal(err)
	}
	if list := files(t, a.own, cacheDir); len(list) != 0 {
		t.Errorf("left behind: %q", list)
	}
}

// A part that is too long is not cached, and the others of its message are.
func TestCacheLongPart(t *testing.T) {
	a := openUnwatched(t, newMaildir(t))
	appendMessage(t, a, "INBOX", fmt.Sprintf("From: a@b\r\nSubject: %s\r\n\r\n", strings.Repeat("x", maxPart)))
	v := selectBox(t, a, "INBOX", true)
	fillNow(t, a)
	k := v.Reading()
	defer k.Close()
	if _, ok := k.Part(1, PartEnvelope); ok {
		t.Error("an envelope of 64 KiB is in the cache")
	}
	if _, ok := k.Part(1, PartBody); !ok {
		t.Error("BODY is not in the cache")
	}
}

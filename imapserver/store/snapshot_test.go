package store

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/maildir"
	"mailstead/imapserver/oracle"
)

// TestSnapshot edits snapshots at random, beside a plain slice.
func TestSnapshot(t *testing.T) {
	rnd := rand.New(rand.NewPCG(8, 9))
	sets := newFlagsets()
	s := &snapshot{uidNext: 1}
	var plain []record
	type moment struct {
		s     *snapshot
		plain []record
	}
	var past []moment
	for round := range 300 {
		e := s.edit()
		past = append(past, moment{s, slices.Clone(plain)})
		for range rnd.IntN(10) {
			if len(plain) > 0 {
				i := rnd.IntN(len(plain))
				plain[i].modseq = ModSeq(round + 1)
				plain[i].set = sets.get([]string{":2,", ":2,S", ":2,T", ":2,ST"}[rnd.IntN(4)], "")
				e.set(plain[i])
			}
		}
		for range rnd.IntN(40) {
			r := record{uid: e.s.uidNext, modseq: ModSeq(round + 1), base: fmt.Sprint(e.s.uidNext), set: sets.get(":2,", "")}
			e.s.uidNext += imap.UID(1 + rnd.IntN(3))
			e.add(r)
			plain = append(plain, r)
		}
		gone := make(map[imap.UID]bool)
		share := 20
		if round%50 == 49 {
			share = 1 // nearly all
		}
		for _, r := range plain {
			if rnd.IntN(share+1) == 0 || share == 1 && rnd.IntN(10) > 0 {
				gone[r.uid] = true
			}
		}
		e.remove(gone)
		plain = slices.DeleteFunc(plain, func(r record) bool { return gone[r.uid] })
		s = e.done()
		checkSnapshot(t, s, plain)
		old := past[rnd.IntN(len(past))]
		checkSnapshot(t, old.s, old.plain) // it has not changed
		checkDiff(t, old.s, old.plain, s, plain)
	}
}

func checkSnapshot(t *testing.T, s *snapshot, plain []record) {
	t.Helper()
	unseen, deleted := 0, 0
	for i, r := range plain {
		if got := s.at(i); *got != r {
			t.Fatalf("message %d is %+v, want %+v", i, *got, r)
		}
		if n, ok := s.index(r.uid); n != i || !ok || *s.find(r.uid) != r {
			t.Fatalf("uid %d is found at %d, %v; want %d", r.uid, n, ok, i)
		}
		if r.set.sys&maildir.Seen == 0 {
			unseen++
		}
		if r.set.sys&maildir.Trashed != 0 {
			deleted++
		}
		if next := r.uid + 1; i+1 == len(plain) || plain[i+1].uid != next {
			if n, ok := s.index(next); n != i+1 || ok || s.find(next) != nil {
				t.Fatalf("uid %d, which is none, is found at %d, %v; want %d", next, n, ok, i+1)
			}
		}
	}
	if s.len != len(plain) || s.unseen != unseen || s.deleted != deleted {
		t.Fatalf("%d messages, %d unseen, %d deleted; want %d, %d, %d", s.len, s.unseen, s.deleted, len(plain), unseen, deleted)
	}
	if len(s.chunks) > 4 && len(s.chunks)*chunkLen > 8*s.len {
		t.Errorf("%d messages are in %d chunks", s.len, len(s.chunks))
	}
}

func checkDiff(t *testing.T, old *snapshot, oldPlain []record, now *snapshot, plain []record) {
	t.Helper()
	at := make(map[imap.UID]record)
	for _, r := range plain {
		at[r.uid] = r
	}
	var gone []int
	var changed, added []imap.UID
	last := imap.UID(0)
	for i, r := range oldPlain {
		if n, ok := at[r.uid]; !ok {
			gone = append(gone, i)
		} else if n.modseq != r.modseq {
			changed = append(changed, r.uid)
		}
		last = r.uid
	}
	for _, r := range plain {
		if r.uid > last {
			added = append(added, r.uid)
		}
	}
	d := diff(old, now)
	var gotChanged, gotAdded []imap.UID
	for _, r := range d.changed {
		gotChanged = append(gotChanged, r.uid)
	}
	for _, r := range d.added {
		if r.uid > last { // else it was gone before, too
			gotAdded = append(gotAdded, r.uid)
		}
	}
	if diff := cmp.Diff(gone, d.gone); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff(changed, gotChanged); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff(added, gotAdded); diff != "" {
		t.Fatal(diff)
	}
}

// FuzzLineEnds holds the two ways of adding CR, and the one of taking it away,
// to each other.
func FuzzLineEnds(f *testing.F) {
	for _, s := range []string{"", "\n", "\r\n", "\r", "a\r\r\nb\n\nc", "\r\n\r\n", "x\ny\r"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		oracle.Cost(t, len(data), func() { addCR(bytes.Clone(data)) })
		got := addCR(bytes.Clone(data))
		for i, c := range got {
			if c == '\n' && (i == 0 || got[i-1] != '\r') {
				t.Fatalf("%q: a bare LF in %q", data, got)
			}
		}
		if bytes.Contains(data, []byte("\n")) && strings.ReplaceAll(string(got), "\r\n", "\n") != strings.ReplaceAll(string(data), "\r\n", "\n") {
			t.Fatalf("%q becomes %q", data, got)
		}
		for _, hint := range []int64{-1, 0, 1, int64(len(data))} {
			if n, err := countCRLF(bytes.NewReader(data), hint); n != int64(len(got)) || err != nil {
				t.Fatalf("%q: counted %d, %v; want %d", data, n, err, len(got))
			}
		}
		if n, err := countCRLF(iotest.OneByteReader(bytes.NewReader(data)), 9); n != int64(len(got)) || err != nil {
			t.Fatalf("%q: counted %d, %v in single bytes; want %d", data, n, err, len(got))
		}
	})
}

func TestFirstUnseen(t *testing.T) {
	a := openUnwatched(t, newMaildir(t))
	v := selectBox(t, a, "INBOX", true)
	if n := v.FirstUnseen(); n != 0 {
		t.Errorf("of nothing: %d", n)
	}
	for i := range 3 {
		flags := []imap.Flag{imap.FlagSeen}
		if i == 1 {
			flags = nil
		}
		appendMessage(t, a, "INBOX", mail1, flags...)
	}
	v = selectBox(t, a, "INBOX", false)
	if n := v.FirstUnseen(); n != 2 {
		t.Errorf("of three: %d, want 2", n)
	}
	if err := v.Store(context.Background(), []SeqNum{2}, StoreAdd, []imap.Flag{imap.FlagSeen}); err != nil {
		t.Fatal(err)
	}
	if v = selectBox(t, a, "INBOX", false); v.FirstUnseen() != 0 {
		t.Error("all have been seen")
	}
}

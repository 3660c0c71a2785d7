package store

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"mailstead/imapserver/maildir"
)

// resyncClient is a client that knows a mailbox by what it was answered alone:
// its flags by UID, as of a mod-sequence.
type resyncClient struct {
	modseq ModSeq
	flags  map[imap.UID]string
}

// apply takes in the answer to SELECT with QRESYNC.
func (c *resyncClient) apply(t *testing.T, v *View) {
	t.Helper()
	since := v.Since(c.modseq)
	if c.modseq > v.HighestModSeq() {
		since = 0
	}
	gone, err := v.Vanished(since, Known{})
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(c.flags, func(uid imap.UID, _ string) bool { return gone.Contains(uid) })
	for n := SeqNum(1); int(n) <= v.Len(); n++ {
		if v.At(n).ModSeq > since {
			c.flags[v.UIDAt(n)] = flagString(v, n)
		}
	}
	c.modseq = v.HighestModSeq()
}

func flagString(v *View, n SeqNum) string {
	flags := slices.Clone(v.At(n).Flags)
	slices.Sort(flags)
	return fmt.Sprint(flags)
}

// holds compares the client with the mailbox.
func (c *resyncClient) holds(t *testing.T, v *View) {
	t.Helper()
	want := make(map[imap.UID]string)
	for n := SeqNum(1); int(n) <= v.Len(); n++ {
		want[v.UIDAt(n)] = flagString(v, n)
	}
	if diff := cmp.Diff(want, c.flags); diff != "" {
		t.Errorf("the client has something else than the mailbox: %s", diff)
	}
}

// watching is a client while it is connected: it takes in what Poll tells.
type watching struct {
	*resyncClient
	v    *View
	uids []imap.UID
}

func (w *watching) poll(t *testing.T, expunge bool) {
	t.Helper()
	updates, err := w.v.Poll(context.Background(), expunge, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range updates {
		switch u.Kind {
		case UpdateExpunge:
			delete(w.flags, w.uids[u.Seq-1])
			w.uids = slices.Delete(w.uids, int(u.Seq)-1, int(u.Seq))
		case UpdateExists:
			for n := len(w.uids); n < int(u.Seq); n++ {
				uid := w.v.UIDAt(SeqNum(n + 1))
				w.uids = append(w.uids, uid)
				w.flags[uid] = flagString(w.v, SeqNum(n+1))
			}
		case UpdateFlags:
			now, _ := w.v.Seq(u.UID)
			w.flags[u.UID] = flagString(w.v, now)
		}
	}
	w.modseq = w.v.HighestModSeq()
}

// resyncRun is an account to which random things happen.
type resyncRun struct {
	t       *testing.T
	rnd     *rand.Rand
	dir     string
	boots   int
	image   string // the Maildir as it was a while ago; "": none yet
	a       *Account
	doer    *View
	clients []*resyncClient
	online  []*watching
	n       int
	highest ModSeq
}

// TestResync holds the law of RFC 7162: whatever happens to a mailbox, by
// sessions, from outside, and however the server stops, a client that takes in
// what it is answered ends with just what is there.
func TestResync(t *testing.T) {
	t.Parallel()
	seeds := 12
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := &resyncRun{t: t, rnd: rand.New(rand.NewPCG(uint64(seed), 9))}
			r.dir = filepath.Join(fastDir(t), "Maildir")
			copyTree(t, r.dir, newMaildir(t))
			for range 3 {
				r.clients = append(r.clients, &resyncClient{flags: make(map[imap.UID]string)})
			}
			r.open()
			for range 300 {
				r.step()
				if t.Failed() {
					return
				}
			}
			r.stop()
		})
	}
}

func (r *resyncRun) open() {
	r.t.Helper()
	var err error
	if r.a, err = Open(context.Background(), Options{Maildir: r.dir, unwatched: true, anyFile: true, boot: fmt.Sprint(r.boots)}); err != nil {
		r.t.Fatal(err)
	}
	r.image = ""
	r.doer = r.pick()
	r.online = nil
	for _, c := range r.clients {
		v := r.pick()
		c.apply(r.t, v)
		c.holds(r.t, v)
		w := &watching{resyncClient: c, v: v}
		for n := range v.Len() {
			w.uids = append(w.uids, v.UIDAt(SeqNum(n+1)))
		}
		r.online = append(r.online, w)
	}
}

func (r *resyncRun) pick() *View {
	r.t.Helper()
	v, err := r.a.Select(context.Background(), "INBOX", false)
	if err != nil {
		r.t.Fatal(err)
	}
	if v.HighestModSeq() < r.highest {
		r.t.Errorf("HIGHESTMODSEQ is %d, was %d", v.HighestModSeq(), r.highest)
	}
	r.highest = v.HighestModSeq()
	return v
}

// keep copies the Maildir, for a power cut to come. What happens then until the
// cut is what a disk has not written. The marks it has: they are durable before
// anything is shown.
func (r *resyncRun) keep() {
	mb, s := r.doer.mb, r.doer.mb.snap.Load()
	if mb.row.modseqMark > s.modseq && mb.row.uidMark > s.uidNext {
		r.image = filepath.Join(fastDir(r.t), "Maildir")
		copyTree(r.t, r.image, r.dir)
	}
}

// stop ends the account in good order.
func (r *resyncRun) stop() {
	r.doer.Close()
	for _, w := range r.online {
		w.v.Close()
	}
	if err := r.a.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// crash goes on with what is in the files now; with cut, with what was when
// keep was called last.
func (r *resyncRun) crash(cut bool) {
	next := r.image
	if cut {
		r.boots++
	}
	if !cut || next == "" {
		next = filepath.Join(fastDir(r.t), "Maildir")
		copyTree(r.t, next, r.dir)
	}
	r.stop()
	r.dir = next
	r.open()
}

func (r *resyncRun) step() {
	ctx := context.Background()
	r.doer.mb.mu.Lock()
	r.doer.mb.cur.ctime, r.doer.mb.new.ctime = 0, 0 // the test is faster than some clocks
	r.doer.mb.mu.Unlock()
	var err error
	switch r.rnd.IntN(14) {
	case 0, 1, 2:
		r.n++
		_, _, err = tryAppend(r.a, "INBOX", fmt.Sprintf("Subject: %d\r\n\r\n", r.n), crashDate, imap.Flag(fmt.Sprint("k", r.rnd.IntN(5))))
	case 3, 4, 5:
		err = r.doer.Store(ctx, r.some(), StoreOp(r.rnd.IntN(3)), []imap.Flag{modelFlags[r.rnd.IntN(len(modelFlags))]})
	case 6:
		err = r.doer.Expunge(ctx, nil)
	case 7:
		_, err = r.doer.Move(ctx, r.some(), here(r.doer, "INBOX"))
	case 8:
		r.outside()
	case 9, 10:
		r.online[r.rnd.IntN(len(r.online))].poll(r.t, r.rnd.IntN(3) > 0)
	case 11:
		r.reconnect(r.rnd.IntN(len(r.online)))
	default:
		switch r.rnd.IntN(10) {
		case 0:
			r.stop()
			r.open()
		case 1:
			r.crash(false)
		case 2:
			r.crash(true)
		case 3, 4, 5:
			r.keep()
		}
	}
	if err == nil {
		_, err = r.doer.Poll(ctx, true, true)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// some gives a few messages.
func (r *resyncRun) some() (seqs []SeqNum) {
	for n := range r.doer.Len() {
		if r.rnd.IntN(4) == 0 {
			seqs = append(seqs, SeqNum(n+1))
		}
	}
	return seqs
}

// outside has another program remove a message, or flag it.
func (r *resyncRun) outside() {
	all := files(r.t, r.dir, "cur")
	if len(all) == 0 {
		return
	}
	path := filepath.Join(r.dir, "cur", all[r.rnd.IntN(len(all))])
	if r.rnd.IntN(2) == 0 {
		if err := os.Remove(path); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	base, _, _ := strings.Cut(path, ":2,")
	rename(r.t, path, base+":2,F")
}

// reconnect has a client lose its connection and come back.
func (r *resyncRun) reconnect(i int) {
	w := r.online[i]
	w.v.Close()
	w.v = r.pick()
	w.apply(r.t, w.v)
	w.holds(r.t, w.v)
	w.uids = nil
	for n := range w.v.Len() {
		w.uids = append(w.uids, w.v.UIDAt(SeqNum(n+1)))
	}
}

// A mailbox remembers so many expunges and no more; who has been away for
// longer is told all that is not there.
func TestGraves(t *testing.T) {
	dir := newMaildir(t)
	a := openUnwatched(t, dir)
	appendMessage(t, a, "INBOX", mail1)
	v := selectBox(t, a, "INBOX", false)
	old := &resyncClient{flags: make(map[imap.UID]string)}
	old.apply(t, v)
	expunge := func() {
		t.Helper()
		if err := v.Store(context.Background(), []SeqNum{1}, StoreAdd, []imap.Flag{imap.FlagDeleted}); err != nil {
			t.Fatal(err)
		}
		if err := v.Expunge(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		poll(t, v)
	}
	expunge()
	// As if maxGraves others had come and gone.
	mb := v.mb
	mb.mu.Lock()
	e := mb.snap.Load().edit()
	from := e.s.modseq
	e.s.modseq += maxGraves
	err := mb.commit(e.done(), true, nil, func(conn *sqlite.Conn) error {
		for n := range maxGraves {
			err := sqlitex.Execute(conn, "INSERT INTO expunged VALUES (?,?,?,?)", &sqlitex.ExecOptions{
				Args: []any{mb.row.id, int64(from) + int64(n) + 1, 1_000_000 + n, 1_000_000 + n},
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	mb.graves = -1
	mb.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	poll(t, v)
	late := &resyncClient{flags: make(map[imap.UID]string)}
	late.apply(t, v)
	appendMessage(t, a, "INBOX", mail2)
	poll(t, v)
	expunge()
	if mb.graves >= 0 {
		t.Error("nothing was forgotten")
	}
	a = reopen(t, a)
	v = selectBox(t, a, "INBOX", false)
	if v.Since(late.modseq) != late.modseq || v.Since(old.modseq) != 0 {
		t.Errorf("since %d: %d, since %d: %d", late.modseq, v.Since(late.modseq), old.modseq, v.Since(old.modseq))
	}
	old.apply(t, v)
	old.holds(t, v)
	late.apply(t, v)
	late.holds(t, v)
}

// What the client says that it knows narrows the answer.
func TestVanished(t *testing.T) {
	a := openUnwatched(t, newMaildir(t))
	for range 10 {
		appendMessage(t, a, "INBOX", mail1)
	}
	v := selectBox(t, a, "INBOX", false)
	before := v.HighestModSeq()
	drop := func(seqs ...SeqNum) {
		t.Helper()
		if err := v.Store(context.Background(), seqs, StoreAdd, []imap.Flag{imap.FlagDeleted}); err != nil {
			t.Fatal(err)
		}
		if err := v.Expunge(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		poll(t, v)
	}
	drop(3, 4)
	middle := v.HighestModSeq()
	drop(5, 8) // UIDs 7 and 10
	uids := func(r ...imap.UIDRange) imap.UIDSet { return r }
	pairs := Known{SeqMatch: imap.SeqSet{{Start: 1, Stop: 9}}, UIDMatch: uids(imap.UIDRange{Start: 1, Stop: 9})}
	for _, c := range []struct {
		since ModSeq
		known Known
		want  string
	}{
		{before, Known{}, "3:4,7,10"},
		{middle, Known{}, "7,10"},
		{v.HighestModSeq(), Known{}, ""},
		{before, Known{UIDs: uids(imap.UIDRange{Start: 4, Stop: 7}, imap.UIDRange{Start: 9, Stop: 4_000_000_000})}, "4,7,10"},
		{before, Known{UIDs: uids(imap.UIDRange{Start: 5, Stop: 6})}, ""},
		{0, Known{}, "3:4,7,10"},
		{0, pairs, "3:4,7,10"},
		{0, Known{SeqMatch: imap.SeqSet{{Start: 4, Stop: 5}}, UIDMatch: uids(imap.UIDRange{Start: 6, Stop: 6}, imap.UIDRange{Start: 8, Stop: 8})}, "10"},
		{0, Known{SeqMatch: imap.SeqSet{{Start: 1, Stop: 4_000_000_000}}, UIDMatch: uids(imap.UIDRange{Start: 1, Stop: 4_000_000_000})}, "3:4,7,10"},
	} {
		got, err := v.Vanished(c.since, c.known)
		if err != nil || got.String() != c.want {
			t.Errorf("vanished since %d, known %+v: %s, %v; want %s", c.since, c.known, got, err, c.want)
		}
	}
}

// STORE with UNCHANGEDSINCE leaves what has changed.
func TestStoreUnchanged(t *testing.T) {
	a := openUnwatched(t, newMaildir(t))
	for range 3 {
		appendMessage(t, a, "INBOX", mail1)
	}
	v, other := selectBox(t, a, "INBOX", false), selectBox(t, a, "INBOX", false)
	ctx, since := context.Background(), v.HighestModSeq()
	if err := other.Store(ctx, []SeqNum{2}, StoreAdd, []imap.Flag{imap.FlagSeen}); err != nil {
		t.Fatal(err)
	}
	modified, err := v.StoreUnchanged(ctx, []SeqNum{1, 2, 3}, StoreAdd, []imap.Flag{imap.FlagFlagged}, since)
	if err != nil || len(modified) != 1 || modified[0] != 2 {
		t.Errorf("modified: %v, %v", modified, err)
	}
	poll(t, v)
	if diff := cmp.Diff([]string{`[\Flagged]`, `[\Seen]`, `[\Flagged]`}, []string{flagString(v, 1), flagString(v, 2), flagString(v, 3)}); diff != "" {
		t.Error(diff)
	}
	if modified, err = v.StoreUnchanged(ctx, []SeqNum{1}, StoreAdd, []imap.Flag{imap.FlagSeen}, 0); err != nil || len(modified) != 1 {
		t.Errorf("modified: %v, %v", modified, err)
	}
}

// Where the index is lost, mod-sequences go on above all that were given: the
// UIDVALIDITY may stay.
func TestModSeqAfterLoss(t *testing.T) {
	dir := newMaildir(t)
	a := openUnwatched(t, dir)
	for range 5 {
		appendMessage(t, a, "INBOX", mail1)
	}
	v := selectBox(t, a, "INBOX", true)
	before := v.HighestModSeq()
	v.Close()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, maildir.OwnDir)); err != nil {
		t.Fatal(err)
	}
	v = selectBox(t, openUnwatched(t, dir), "INBOX", true)
	if v.HighestModSeq() <= before || v.At(1).ModSeq <= before {
		t.Errorf("HIGHESTMODSEQ is %d, MODSEQ %d, were %d", v.HighestModSeq(), v.At(1).ModSeq, before)
	}
}

package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/maildir"
)

// bodies reads all messages, sorted, and holds UIDs to be sound.
func bodies(t testing.TB, v *View) []string {
	t.Helper()
	var all []string
	last := imap.UID(0)
	for n := SeqNum(1); int(n) <= v.Len(); n++ {
		if uid := v.UIDAt(n); uid <= last || uid >= v.UIDNext() {
			t.Errorf("message %d has uid %d, after %d, uidnext %d", n, uid, last, v.UIDNext())
		} else {
			last = uid
		}
		all = append(all, read(t, v, n))
	}
	slices.Sort(all)
	return all
}

// TestIndexLost deletes the index, or all that is ours, at rest.
func TestIndexLost(t *testing.T) {
	for _, what := range []string{filepath.Join(maildir.OwnDir, indexFile), maildir.OwnDir} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(untar(t, "courier-A.tar.gz"), "Maildir")
			a := openAccount(t, dir)
			ctx := context.Background()
			create(t, a, "Own")
			ownUID := appendMessage(t, a, "Own", mail1)
			own := selectBox(t, a, "Own", false).UIDValidity()
			given := appendMessage(t, a, "INBOX", mail1)
			v := selectBox(t, a, "INBOX", false)
			before := lines(v)
			validity := v.UIDValidity()
			if err := v.Store(ctx, []SeqNum{SeqNum(v.Len())}, StoreAdd, []imap.Flag{imap.FlagDeleted}); err != nil {
				t.Fatal(err)
			}
			if err := v.Expunge(ctx, nil); err != nil {
				t.Fatal(err)
			}
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(dir, what)); err != nil {
				t.Fatal(err)
			}
			a = openAccount(t, dir)
			v = selectBox(t, a, "INBOX", false)
			if v.UIDValidity() != validity {
				t.Errorf("uidvalidity is %d, was %d", v.UIDValidity(), validity)
			}
			// Courier's file still has its UIDs; what came later has new ones.
			known := 0
			for _, line := range lines(v) {
				if slices.Contains(before, line) {
					known++
					continue
				}
				var uid imap.UID
				fmt.Sscan(line, &uid)
				if uid <= given {
					t.Errorf("%q: uid %d was given before", line, uid)
				}
			}
			if known < 20 {
				t.Errorf("of %q only %d are as before: %q", before, known, lines(v))
			}
			if uid := appendMessage(t, a, "INBOX", mail1); uid <= given {
				t.Errorf("uid %d was given before", uid)
			}
			// Courier's files are kept for it, too.
			v = selectBox(t, a, "Own", false)
			if v.UIDValidity() != own || v.Len() != 1 || v.UIDAt(1) != ownUID {
				t.Errorf("uidvalidity %d, was %d; %q", v.UIDValidity(), own, lines(v))
			}
		})
	}
}

// sidecars are files of other servers, each with a mailbox that it is about.
var sidecars = []struct{ fixture, top, box, file string }{
	{"courier-A", "Maildir", ".R&D", maildir.UIDDBFile},
	{"courier-A", "Maildir", ".R&D", filepath.Join(maildir.KeywordsDir, maildir.KeywordsList)},
	{"courier-A", "Maildir", ".", maildir.SubscriptionsFile},
	{"dovecot-A", "Maildir", ".Projects.Alpha.Sub", maildir.DovecotUIDListFile},
	{"dovecot-A", "Maildir", ".Projects.Alpha.Sub", maildir.DovecotKeywordsFile},
	{"dovecot-A", "Maildir", ".Projects.Alpha", maildir.DovecotACLFile},
	{"dovecot-A", "Maildir", ".", maildir.DovecotSubscriptionsFile},
	{"mbsync-A", "mbA/INBOX", ".", maildir.MbsyncUIDFile},
	{"mbsync-A", "mbA/INBOX", ".", maildir.MbsyncStateFile},
}

// TestSidecarsDamaged flips every byte of the files that other servers have
// left, and cuts them at every length: the mail is all there, and no message has
// a UID that was another one's.
func TestSidecarsDamaged(t *testing.T) {
	for _, s := range sidecars {
		t.Run(s.fixture+"/"+s.file, func(t *testing.T) {
			t.Parallel()
			whole := filepath.Join(fastDir(t), "Maildir")
			copyTree(t, whole, filepath.Join(untar(t, s.fixture+".tar.gz"), s.top))
			good, err := os.ReadFile(filepath.Join(whole, s.box, s.file))
			if errors.Is(err, os.ErrNotExist) {
				t.Skip("the fixture has none")
			}
			if err != nil {
				t.Fatal(err)
			}
			want := meet(t, whole, s.box, s.file, good)
			step := max(1, len(good)/60)
			if os.Getenv("MAILSTEAD_CRASH") != "" {
				step = 1
			}
			for i := 0; i < len(good); i += step {
				bad := bytes.Clone(good)
				bad[i] ^= 1 << (i % 8)
				meet(t, whole, s.box, s.file, bad).compare(t, fmt.Sprintf("byte %d flipped", i), want)
				meet(t, whole, s.box, s.file, good[:i]).compare(t, fmt.Sprintf("cut at %d", i), want)
			}
		})
	}
}

// TestCourierFilesDamaged does so with what Courier leaves to an index that knows
// the mailbox.
func TestCourierFilesDamaged(t *testing.T) {
	t.Parallel()
	whole := filepath.Join(fastDir(t), "Maildir")
	if err := maildir.MakeTree(whole, false); err != nil {
		t.Fatal(err)
	}
	copyTree(t, filepath.Join(whole, ".R&D"), filepath.Join(untar(t, "courier-A.tar.gz"), "Maildir", ".R&D"))
	a, err := Open(context.Background(), Options{Maildir: whole, unwatched: true})
	if err != nil {
		t.Fatal(err)
	}
	appendMessage(t, a, "R&D", mail1, "Work")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{maildir.UIDDBFile, filepath.Join(maildir.KeywordsDir, maildir.KeywordsList)} {
		good, err := os.ReadFile(filepath.Join(whole, ".R&D", file))
		if err != nil {
			t.Fatal(err)
		}
		want := meet(t, whole, ".R&D", file, good)
		for i := 0; i < len(good); i += max(1, len(good)/60) {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << (i % 8)
			meet(t, whole, ".R&D", file, bad).compare(t, fmt.Sprintf("%s: byte %d flipped", file, i), want)
			meet(t, whole, ".R&D", file, good[:i]).compare(t, fmt.Sprintf("%s: cut at %d", file, i), want)
		}
	}
}

// met is a mailbox as it was at first contact.
type met struct {
	validity uint32
	next     imap.UID            // before messages that no one had numbered
	uids     map[string]imap.UID // by file
	bodies   []string
}

// meet has first contact with a copy of a mailbox in which a file is another.
func meet(t *testing.T, whole, box, file string, data []byte) met {
	t.Helper()
	dir := filepath.Join(fastDir(t), "Maildir")
	if _, err := os.Stat(filepath.Join(whole, maildir.OwnDir)); err == nil {
		copyTree(t, dir, whole) // the index knows it
	} else {
		if err := maildir.MakeTree(dir, false); err != nil {
			t.Fatal(err)
		}
		copyTree(t, filepath.Join(dir, box), filepath.Join(whole, box))
	}
	put(t, filepath.Join(dir, box, file), string(data))
	a, err := Open(context.Background(), Options{Maildir: dir, unwatched: true})
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	defer a.Close()
	name, err := maildir.DecodeName(box, a.enc)
	if err != nil {
		t.Fatal(err)
	}
	v := selectBox(t, a, name, true)
	defer v.Close()
	m := met{validity: v.UIDValidity(), next: v.mb.row.recent, uids: make(map[string]imap.UID), bodies: bodies(t, v)}
	v.told.all(func(r *record) bool { m.uids[r.base] = r.uid; return true })
	highest := imap.UID(0)
	if v.Len() > 0 {
		highest = v.UIDAt(SeqNum(v.Len()))
	}
	if uid := appendMessage(t, a, name, mail1); uid <= highest {
		t.Errorf("uid %d after %d", uid, highest)
	}
	return m
}

// compare holds what must be true of damage, whatever it has hit.
func (m met) compare(t *testing.T, what string, sound met) {
	t.Helper()
	if diff := cmp.Diff(sound.bodies, m.bodies); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
	if m.validity != sound.validity {
		return
	}
	owner := make(map[imap.UID]string)
	for base, uid := range sound.uids {
		if uid < sound.next {
			owner[uid] = base
		}
	}
	for base, uid := range m.uids {
		if other := owner[uid]; other != "" && other != base {
			t.Errorf("%s: %s has the uid %d of %s", what, base, uid, other)
		}
	}
}

// TestIndexDamaged flips bytes of the index, and cuts it. Whatever is found
// out, now or at the next opening, all messages are there, each under one UID.
func TestIndexDamaged(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(fastDir(t), "Maildir")
	copyTree(t, dir, newMaildir(t))
	a, err := Open(context.Background(), Options{Maildir: dir, unwatched: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		appendMessage(t, a, "INBOX", fmt.Sprintf("Subject: %d\r\n\r\n", i), imap.FlagSeen, "Work")
	}
	v := selectBox(t, a, "INBOX", false)
	want := bodies(t, v)
	v.Close()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, maildir.OwnDir, indexFile)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rounds, aside := 150, 0
	if testing.Short() {
		rounds = 20
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for n := range rounds {
		bad := bytes.Clone(good)
		switch {
		case n%5 == 0:
			bad = bad[:rnd.IntN(len(bad))]
		case n%5 == 1:
			i := rnd.IntN(len(bad))
			clear(bad[i:min(len(bad), i+4096)])
		case n < 60:
			bad[n] ^= 0xff // the header; from 60 on is the version, of which a later release may be
		case n < 100:
			bad[n+40] ^= 0xff // the root page
		default:
			bad[rnd.IntN(len(bad))] ^= 1 << rnd.IntN(8)
		}
		put(t, file, string(bad))
		openDamaged(t, dir, want)
		if _, err := os.Stat(file + ".damaged"); err == nil {
			aside++
			os.Remove(file + ".damaged")
		}
	}
	if aside == 0 {
		t.Error("no damage was ever noticed")
	}
}

// openDamaged opens an account whose index is damaged, twice if it must.
func openDamaged(t *testing.T, dir string, want []string) {
	t.Helper()
	for range 2 {
		a, err := Open(context.Background(), Options{Maildir: dir, unwatched: true})
		if err != nil {
			if errors.Is(err, errIndex) {
				continue
			}
			t.Fatal(err)
		}
		v, err := a.Select(context.Background(), "INBOX", false)
		if err == nil {
			if diff := cmp.Diff(want, bodies(t, v)); diff != "" {
				t.Error(diff)
			}
			v.Close()
		}
		a.Close()
		if err == nil {
			return
		}
		if !errors.Is(err, errIndex) {
			t.Errorf("select: %v", err)
		}
	}
	t.Error("the index is not made anew")
}

// TestSchemaDamaged: an index whose schema has another word somewhere is put
// aside, not opened over and over.
func TestSchemaDamaged(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	appendMessage(t, a, "INBOX", mail1)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "mailstead", indexFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := strings.Replace(string(data), "cur_ctime", "cur_ctimf", 1)
	if damaged == string(data) {
		t.Fatal("no schema in the index")
	}
	put(t, path, damaged)
	a = openAccount(t, dir)
	if v := selectBox(t, a, "INBOX", true); v.Len() != 1 {
		t.Errorf("%d messages", v.Len())
	}
}

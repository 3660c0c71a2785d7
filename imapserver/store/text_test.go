package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"mailstead/imapserver/search"
	"mailstead/imapserver/wire"
)

// openText opens an account in which mailboxes are indexed as soon as that is
// asked for.
func openText(t testing.TB, dir string) *Account {
	t.Helper()
	return openWith(t, Options{Maildir: dir, unwatched: true, Background: make(chan struct{}, 1)})
}

// indexText has what is wanted of the text index done now.
func indexText(t testing.TB, v *View) {
	t.Helper()
	v.mb.a.text.want(v.mb.dir, true)
	v.mb.a.text.running.Wait()
}

func bodyKey(s string) wire.SearchKey { return wire.SearchKey{Op: wire.SearchBody, Text: s} }

// looked counts the messages that are looked at for a string.
func looked(t testing.TB, v *View, s string) int {
	t.Helper()
	m, err := v.TextMatches(t.Context(), search.Narrow(bodyKey(s)), false)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := range v.Len() {
		if m.May(SeqNum(i + 1)) {
			n++
		}
	}
	return n
}

// segments counts the members of each segment of the view's mailbox.
func segments(t testing.TB, v *View) []int {
	t.Helper()
	var sizes []int
	err := v.mb.a.text.index.use(false, func(conn *sqlite.Conn) error {
		return textSegments(conn, v.mb.textSource(), func(s *segment) error {
			sizes = append(sizes, len(s.members))
			return nil
		})
	})
	slices.Sort(sizes)
	if err != nil && !errors.Is(err, errNoText) {
		t.Fatal(err)
	}
	return sizes
}

// fillText delivers n messages, of which every tenth has a needle, and tells the
// view.
func fillText(t testing.TB, v *View, n int) {
	t.Helper()
	first := v.Len()
	for i := range n {
		word := "hay"
		if i%10 == 3 {
			word = "needle"
		}
		deliver(t, v.mb.path(), fmt.Sprintf("%d.M%06dP1.host", 1_700_000_000+first, i), "Subject: x\n\nsome "+word+"\n")
	}
	poll(t, v)
	if v.Len() != first+n {
		t.Fatalf("%d messages, want %d", v.Len(), first+n)
	}
	v.mb.a.text.running.Wait()
}

// TestText follows the text index of a mailbox.
func TestText(t *testing.T) {
	a := openText(t, newMaildir(t))
	create(t, a, "Box")
	v := selectBox(t, a, "Box", false)
	want := func(what string, needles int, sizes ...int) {
		t.Helper()
		if n := looked(t, v, "needle"); n != needles {
			t.Errorf("%s: %d messages are looked at, want %d", what, n, needles)
		}
		if have := segments(t, v); fmt.Sprint(have) != fmt.Sprint(sizes) && len(have)+len(sizes) > 0 {
			t.Errorf("%s: segments of %v, want %v", what, have, sizes)
		}
	}
	fillText(t, v, minSegment-1)
	indexText(t, v)
	want("few messages", minSegment-1)
	fillText(t, v, 40)
	want("not asked for", minSegment+39)
	indexText(t, v)
	want("indexed", 10, 103)
	fillText(t, v, 50)
	want("some more", 10+50, 103)
	fillText(t, v, 20)
	want("by itself", 17, 70, 103)
	if n := looked(t, v, "ne"); n != v.Len() {
		t.Errorf("%d messages are looked at for two letters", n)
	}
	for n := SeqNum(1); n <= 103; n++ {
		if n%10 != 4 {
			if err := v.Store(t.Context(), []SeqNum{n}, StoreAdd, []imap.Flag{imap.FlagDeleted}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := v.Expunge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	poll(t, v)
	want("expunged", 13, 70, 103)
	indexText(t, v)
	want("the rest of an old segment", 13, 10, 70)
	for range maxSmall {
		fillText(t, v, minSegment)
		indexText(t, v)
	}
	want("of small ones one", 13+7*maxSmall, minSegment, minSegment, 10+70+minSegment*(maxSmall-2))
}

// TestTextRich holds that segments of few messages with many grams each stay as they
// are: there is no room for more in them.
func TestTextRich(t *testing.T) {
	a := openText(t, newMaildir(t))
	v := selectBox(t, a, "INBOX", false)
	r := rand.New(rand.NewPCG(13, 14))
	for i := range 170 {
		var text strings.Builder
		for range 30_000 {
			text.WriteRune(rune(0x4e00 + r.IntN(20_000)))
		}
		deliver(t, a.dir, fmt.Sprintf("1700000000.M%06dP1.host", i), "Subject: x\n\n"+text.String()+"\n")
	}
	poll(t, v)
	ids := func() (ids []int64) {
		err := a.text.index.use(false, func(conn *sqlite.Conn) error {
			return textSegments(conn, v.mb.textSource(), func(s *segment) error {
				ids = append(ids, s.id)
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	indexText(t, v)
	before := ids()
	if len(before) <= maxSmall {
		t.Fatalf("%d segments", len(before))
	}
	indexText(t, v)
	if after := ids(); !slices.Equal(before, after) {
		t.Errorf("of segments %v, %v were made", before, after)
	}
}

// TestTextMailboxes holds that a mailbox keeps its segments under another name,
// and that those of one that is gone go too.
func TestTextMailboxes(t *testing.T) {
	a := openText(t, newMaildir(t))
	ctx := t.Context()
	create(t, a, "Box")
	create(t, a, "Other")
	v := selectBox(t, a, "Box", false)
	fillText(t, v, 100)
	indexText(t, v)
	if n := looked(t, v, "needle"); n != 10 {
		t.Fatalf("%d are looked at", n)
	}
	v.Close()
	if err := a.Rename(ctx, "Box", "Renamed"); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a = openText(t, a.dir)
	v = selectBox(t, a, "Renamed", false)
	a.text.running.Wait()
	if n := looked(t, v, "needle"); n != 10 {
		t.Errorf("after RENAME %d are looked at", n)
	}
	v.Close()
	if err := a.Delete(ctx, "Renamed"); err != nil {
		t.Fatal(err)
	}
	v = selectBox(t, a, "Other", false)
	indexText(t, v)
	err := a.text.index.use(false, func(conn *sqlite.Conn) error {
		for _, table := range []string{"segment", "page"} {
			if n, err := pragmaInt(conn, "SELECT count(*) FROM "+table); n > 0 || err != nil {
				t.Errorf("%d rows of %s are left, %v", n, table, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestTextBinding holds that a segment says nothing of another message that has
// the UID of one of its own.
func TestTextBinding(t *testing.T) {
	a := openText(t, newMaildir(t))
	v := selectBox(t, a, "INBOX", false)
	fillText(t, v, 100)
	indexText(t, v)
	v.told.at(7).base = "another"
	m, err := v.TextMatches(t.Context(), search.Narrow(bodyKey("needle")), false)
	if err != nil || !m.May(8) || m.May(7) || !m.May(4) {
		t.Errorf("message 8: %v, 7: %v, 4: %v, %v", m.May(8), m.May(7), m.May(4), err)
	}
}

// TestTextPartlyDamaged holds that a file of which some part is damaged is not
// believed, and made anew.
func TestTextPartlyDamaged(t *testing.T) {
	a := openText(t, newMaildir(t))
	v := selectBox(t, a, "INBOX", false)
	for range 2 {
		fillText(t, v, 100)
		indexText(t, v)
	}
	err := a.text.index.update(func(conn *sqlite.Conn) error { // in the segment that is read last
		return sqlitex.Execute(conn, "UPDATE page SET data = zeroblob(99) WHERE id >= (SELECT max(id) FROM segment) << 16", nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := looked(t, v, "needle"); n != 200 {
		t.Errorf("%d messages are looked at", n)
	}
	if a.text.index.exists() {
		t.Error("the file is still there")
	}
	indexText(t, v)
	if n := looked(t, v, "needle"); n != 20 {
		t.Errorf("%d messages are looked at when it is made anew", n)
	}
}

// TestTextOfBefore holds that an index of what was read of messages in another way is made anew.
func TestTextOfBefore(t *testing.T) {
	a := openText(t, newMaildir(t))
	v := selectBox(t, a, "INBOX", false)
	fillText(t, v, 100)
	indexText(t, v)
	if err := a.text.index.update(func(conn *sqlite.Conn) error {
		return sqlitex.ExecuteTransient(conn, "PRAGMA user_version=1", nil)
	}); err != nil {
		t.Fatal(err)
	}
	a.text.index.rest()
	if n := looked(t, v, "needle"); n != 100 {
		t.Errorf("%d messages are looked at", n)
	}
	indexText(t, v)
	if n := looked(t, v, "needle"); n != 10 {
		t.Errorf("%d messages are looked at when it is made anew", n)
	}
}

// TestTextRemoved removes the file while it is used.
func TestTextRemoved(t *testing.T) {
	a := openText(t, newMaildir(t))
	v := selectBox(t, a, "INBOX", false)
	fillText(t, v, 100)
	indexText(t, v)
	if err := os.Remove(a.text.index.path); err != nil {
		t.Fatal(err)
	}
	fillText(t, v, 100)
	indexText(t, v)
	if n := looked(t, v, "needle"); n < 20 {
		t.Errorf("%d messages are looked at", n)
	}
	a.text.index.rest()
	if n := looked(t, v, "needle"); n != 200 {
		t.Errorf("%d messages are looked at without the file", n)
	}
	indexText(t, v)
	if n := looked(t, v, "needle"); n != 20 {
		t.Errorf("%d messages are looked at when it is made anew", n)
	}
}

// TestTextOpened holds that a file that cannot be opened is made anew where it is of no
// use, and else left alone.
func TestTextOpened(t *testing.T) {
	a := openText(t, newMaildir(t))
	v := selectBox(t, a, "INBOX", false)
	fillText(t, v, 100)
	file, aside := filepath.Join(a.own, textFile), a.own+".aside"
	for _, c := range []struct {
		what        string
		spoil, mend func() error
		stays       bool
	}{
		{"its directory is a link",
			func() error { return errors.Join(os.Rename(a.own, aside), os.Symlink(aside, a.own)) },
			func() error { return errors.Join(os.Remove(a.own), os.Rename(aside, a.own)) }, true},
		{"a pipe", func() error { return errors.Join(os.Remove(file), unix.Mkfifo(file, 0o600)) }, nil, false},
		{"another release", func() error {
			conn, err := sqlite.OpenConn(file, sqlite.OpenReadWrite)
			if err != nil {
				return err
			}
			return errors.Join(sqlitex.Execute(conn, "PRAGMA user_version=1", nil), conn.Close())
		}, nil, false},
		{"no database", func() error { return os.WriteFile(file, []byte("text"), 0o600) }, nil, false},
	} {
		indexText(t, v)
		a.text.index.rest()
		if err := c.spoil(); err != nil {
			t.Fatal(err)
		}
		if n := looked(t, v, "needle"); n != 100 {
			t.Errorf("%s: %d messages are looked at", c.what, n)
		}
		if a.text.index.exists() != c.stays {
			t.Errorf("%s: the file stays: %v", c.what, !c.stays)
		}
		if c.mend != nil {
			if err := c.mend(); err != nil {
				t.Fatal(err)
			}
		}
	}
	indexText(t, v)
	if n := looked(t, v, "needle"); n != 10 {
		t.Errorf("%d messages are looked at in the end", n)
	}
}

// TestTextOpen has a message with more grams than are kept, one that is too large
// to be read, and one that cannot be read for them: they are always looked at.
func TestTextOpen(t *testing.T) {
	a := openText(t, newMaildir(t))
	v := selectBox(t, a, "INBOX", false)
	var odd strings.Builder
	for i := range maxTextGrams {
		odd.WriteRune(rune(0x4e00 + i%20000))
		odd.WriteRune(rune(0xac00 + i%11000))
	}
	deliver(t, a.dir, "1600000000.M1P1.host", "Subject: x\n\n"+odd.String()+"\n")
	poll(t, v)
	deliver(t, a.dir, "1600000001.M1P1.host", "Subject: x\n\nx\n")
	poll(t, v)
	if err := os.Truncate(filepath.Join(a.dir, "cur", "1600000001.M1P1.host:2,"), maxMessage+1); err != nil {
		t.Fatal(err)
	}
	fillText(t, v, 100)
	indexText(t, v)
	if n := looked(t, v, "needle"); n != 12 {
		t.Errorf("%d are looked at", n)
	}
	broken := textBuild{b: a.text, mb: v.mb}
	if grams, ok, err := broken.gramsOf([]byte("Subject: x\r\n\r\nxyz")); ok || err != nil || grams != nil {
		t.Errorf("a panic gives %v, %v, %v", grams, ok, err)
	}
	if _, ok, err := broken.gramsOf([]byte("Subject: x\r\n\r\nxyz")); !ok || err != nil {
		t.Errorf("after a panic: %v, %v", ok, err)
	}
}

// TestTextClose ends the work with the account, wherever it is, and closes the
// file when it is not used.
func TestTextClose(t *testing.T) {
	dir := newMaildir(t)
	a := openText(t, dir)
	v := selectBox(t, a, "INBOX", false)
	fillText(t, v, 500)
	indexText(t, v)
	a.text.index.rest()
	if a.text.index.conn != nil {
		t.Error("the file is open")
	}
	if n := looked(t, v, "needle"); n != 50 || a.text.index.conn == nil {
		t.Errorf("%d are looked at", n)
	}
	a.text.index.rest()
	if err := os.Remove(filepath.Join(a.own, textFile)); err != nil {
		t.Fatal(err)
	}
	a.text.want(v.mb.dir, true)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if a.text.runs {
		t.Error("still at work")
	}
	if m, err := v.TextMatches(context.Background(), search.Narrow(bodyKey("needle")), true); m != nil || err != nil || a.text.runs {
		t.Errorf("after that: %v, %v", m, err)
	}
}

// shards are what the messages and needles of the test below are made of.
var shards = []string{
	"a", "b", "ab", "lorem", "ipsum", " ", "\n", "\n ", "\r", "é", "E\u0301", "ß", "ﬁ", "漢", "字", "\x00", "\xff", `"`, "*", "(", "'", " OR ",
	"=C3=A9", "=?utf-8?q?ab=C3=A9?=", "=?utf-8?b?w6lhYg==?=", "Ж", "ж",
}

func shatter(r *rand.Rand, most int) string {
	var b strings.Builder
	for range r.IntN(most + 1) {
		b.WriteString(shards[r.IntN(len(shards))])
	}
	return b.String()
}

func randomMail(r *rand.Rand) string {
	charset := []string{"utf-8", "iso-8859-1", "utf-16be"}[r.IntN(3)]
	encoding := []string{"8bit", "quoted-printable", "base64"}[r.IntN(3)]
	leaf := "Content-Type: text/plain; charset=" + charset + "\nContent-Transfer-Encoding: " + encoding + "\n\n" + shatter(r, 12)
	header := "Subject:" + shatter(r, 4) + "\nX-Other: " + shatter(r, 4) + "\n"
	if r.IntN(2) == 0 {
		return header + leaf + "\n"
	}
	return header + "Content-Type: multipart/mixed; boundary=\"##\"\n\n--##\nContent-Description: " + shatter(r, 3) + "\n" + leaf +
		"\n--##\nContent-Type: message/rfc822\n\nSubject: inner " + shatter(r, 3) + "\n" + leaf + "\n--##--\n"
}

func randomKey(r *rand.Rand, depth int) wire.SearchKey {
	if depth > 0 && r.IntN(2) == 0 {
		op := []wire.SearchOp{wire.SearchAnd, wire.SearchOr, wire.SearchNot}[r.IntN(3)]
		k := wire.SearchKey{Op: op, Keys: []wire.SearchKey{randomKey(r, depth-1)}}
		if op != wire.SearchNot {
			k.Keys = append(k.Keys, randomKey(r, depth-1))
		}
		return k
	}
	needle := strings.ReplaceAll(shatter(r, 4), "\n", "\r\n")
	switch r.IntN(4) {
	case 0:
		return wire.SearchKey{Op: wire.SearchHeader, Header: "Subject", Text: needle}
	case 1:
		return wire.SearchKey{Op: wire.SearchText, Text: needle}
	}
	return bodyKey(needle)
}

// textDiffer compares what is found by the text index with what is found without
// it, and gives how many messages were looked at, in parts of all.
func textDiffer(t *testing.T, r *rand.Rand, v *View, rounds int) float64 {
	t.Helper()
	var all, looks int
	for range rounds {
		key := randomKey(r, 2)
		program := search.Compile(key, search.Frame{})
		m, err := v.TextMatches(t.Context(), search.Narrow(key), false)
		if err != nil {
			t.Fatal(err)
		}
		for n := SeqNum(1); int(n) <= v.Len(); n++ {
			all++
			if m.May(n) {
				looks++
				continue
			}
			ok, err := program.Match(t.Context(), &search.Message{}, oneMessage{v, n})
			if err != nil {
				t.Fatal(err)
			}
			if ok {
				t.Fatalf("message %d meets %+v, and is not looked at:\n%q", n, key, read(t, v, n))
			}
		}
	}
	return float64(looks) / float64(all)
}

type oneMessage struct {
	v *View
	n SeqNum
}

func (m oneMessage) Size(ctx context.Context) (int64, error)    { return m.v.Size(ctx, m.n) }
func (m oneMessage) Header(ctx context.Context) ([]byte, error) { return m.v.Header(ctx, m.n) }
func (m oneMessage) Arrival(ctx context.Context) (time.Time, string, error) {
	a, err := m.v.Arrival(ctx, m.n)
	return a.Saved, a.EmailID, err
}
func (m oneMessage) Raw(ctx context.Context) ([]byte, error) { return m.v.Read(ctx, m.n) }

// TestTextDiffers changes a mailbox and what there is of its text index, and
// compares what is found with what a scan finds.
func TestTextDiffers(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	dir := newMaildir(t)
	a := openText(t, dir)
	v := selectBox(t, a, "INBOX", false)
	again := func(between func()) {
		v.Close()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		between()
		a = openText(t, dir)
		v = selectBox(t, a, "INBOX", false)
	}
	file := filepath.Join(a.own, textFile)
	// damage puts the file as it was before it was worked on, or some part of it:
	// as after a power cut, or worse.
	damage := func() {
		a.text.index.rest()
		old, err := os.ReadFile(file)
		if err != nil {
			return // there is none
		}
		indexText(t, v)
		wal, err := os.ReadFile(file + "-wal")
		again(func() {
			switch what := r.IntN(4); {
			case what == 0 || err != nil:
				put(t, file, string(old))
			case what == 1:
				put(t, file, string(old[:r.IntN(len(old)+1)]))
			case what == 2:
				put(t, file, string(old))
				put(t, file+"-wal", string(wal[:r.IntN(len(wal)+1)]))
			default:
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	best := 1.0
	for step := range 40 {
		what := r.IntN(7)
		if v.Len() > 5*minSegment {
			what = max(what, 2)
		}
		switch what {
		case 0, 1:
			for i := range minSegment {
				deliver(t, dir, fmt.Sprintf("%d.M%dP1.host", 1_700_000_000+step, i), randomMail(r))
			}
			poll(t, v)
		case 2:
			for n := range v.Len() / 4 {
				if err := v.Store(t.Context(), []SeqNum{SeqNum(n + 1)}, StoreAdd, []imap.Flag{imap.FlagDeleted}); err != nil {
					t.Fatal(err)
				}
			}
			if err := v.Expunge(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			poll(t, v)
		case 3:
			indexText(t, v)
			if share := textDiffer(t, r, v, 20); v.Len() > minSegment {
				best = min(best, share)
			}
		case 4: // half-built: stopped at some point
			a.text.want(v.mb.dir, true)
			again(func() {})
		case 5:
			damage()
		default:
			again(func() {})
		}
		textDiffer(t, r, v, 10)
	}
	t.Logf("at best, %.2f of the messages are looked at", best)
	if best > 0.8 {
		t.Error("the index is of no use")
	}
}

// TestTextDamaged flips octets of the file, one at a time, and compares what is
// found.
func TestTextDamaged(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	a := openText(t, newMaildir(t))
	v := selectBox(t, a, "INBOX", false)
	for i := range minSegment {
		deliver(t, a.dir, fmt.Sprintf("1700000000.M%dP1.host", i), randomMail(r))
	}
	poll(t, v)
	indexText(t, v)
	a.text.index.rest()
	file := filepath.Join(a.own, textFile)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(good) < 20_000 {
		t.Fatalf("the file has %d octets", len(good))
	}
	removed := 0
	for i := range 500 {
		at := i
		if i >= 120 { // the header, then anywhere
			at = r.IntN(len(good))
		}
		bad := append([]byte(nil), good...)
		bad[at] ^= byte(1 + r.IntN(255))
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		textDiffer(t, r, v, 1)
		a.text.index.rest()
		if !a.text.index.exists() {
			removed++
		}
		a.text.running.Wait()
		a.text.index.rest()
		if err := os.RemoveAll(file + "-wal"); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of 500 damaged files were removed", removed)
	if removed < 50 {
		t.Error("too few were found out")
	}
}

package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/config"
	"mailstead/imapserver/dialogue"
	"mailstead/reconcile/transfer"
)

// held is a source in memory that can be made to fail.
type held struct {
	validity string
	boxes    []string // beside INBOX
	texts    []string
	change   func(box string, e *transfer.Entry) // from what it is
	fetches  atomic.Int32
	fault    func(fetch int) error       // of Fetch, before it gives anything
	read     func(text string) io.Reader // of a message
}

func (h *held) Open(context.Context) (transfer.Source, error) { return h, nil }
func (h *held) Close() error                                  { return nil }

func (h *held) Mailboxes(context.Context) (all []transfer.Mailbox, err error) {
	for _, name := range append([]string{"INBOX"}, h.boxes...) {
		all = append(all, transfer.Mailbox{Name: name, Levels: []string{name}, Validity: h.validity, Messages: len(h.texts)})
	}
	return all, nil
}

func (h *held) List(_ context.Context, m transfer.Mailbox, each func(transfer.Entry)) error {
	for i, text := range h.texts {
		e := transfer.Entry{ID: fmt.Sprint(h.validity, "-", i), Date: when.Unix() + int64(i/10), Size: int64(len(text))}
		if h.change != nil {
			h.change(m.Name, &e)
		}
		each(e)
	}
	return nil
}

func (h *held) Fetch(ctx context.Context, m transfer.Mailbox, messages []transfer.Entry, take func(transfer.Entry, io.Reader) error) error {
	fetch := int(h.fetches.Add(1))
	if h.fault != nil {
		if err := h.fault(fetch); err != nil {
			return err
		}
	}
	for _, e := range messages {
		_, number, _ := strings.Cut(e.ID, "-")
		var i int
		fmt.Sscan(number, &i)
		var r io.Reader = strings.NewReader(h.texts[i])
		if h.read != nil {
			r = h.read(h.texts[i])
		}
		if err := take(e, r); err != nil {
			return err
		}
	}
	return nil
}

func texts(n int) (all []string) {
	for i := range n {
		all = append(all, text(i))
	}
	return all
}

// TestForgotten loses the end of the journal, as a power cut may, and then the IDs
// of the source: nothing is brought twice.
func TestForgotten(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	src := &held{validity: "a", texts: append(texts(40), text(3), text(3))}
	dir := filepath.Join(t.TempDir(), "journal")
	run(t, src.Open, here, dir, transfer.Options{})
	want := mail(t, here)["INBOX"]
	if len(want) != 42 {
		t.Fatalf("%d messages", len(want))
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	lines := func(text string) int { return strings.Index(string(data), text) }
	for _, left := range []int{len(data) - 1, lines("a-41\t"), lines("a-40\t"), len(data) / 2, lines("\n") + 1} {
		if err := os.WriteFile(files[0], data[:left], 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, src.Open, here, dir, transfer.Options{})
		if got := mail(t, here)["INBOX"]; !slices.Equal(got, want) {
			t.Fatalf("%d octets of %d of the journal: %d messages, not %d", left, len(data), len(got), len(want))
		}
		if twice := usedTwice(t, files[0]); twice != "" {
			t.Errorf("%d octets of %d of the journal: the UID %s is that of two messages", left, len(data), twice)
		}
	}
	src.validity = "b"
	run(t, src.Open, here, dir, transfer.Options{})
	if got := mail(t, here)["INBOX"]; !slices.Equal(got, want) {
		t.Errorf("after another UIDVALIDITY %d messages, not %d", len(got), len(want))
	}
	// All of the journal is lost, or the import goes by another name now.
	src.texts = append(src.texts, text(3), text(1000))
	for _, r := range run(t, src.Open, here, filepath.Join(t.TempDir(), "journal"), transfer.Options{}) {
		if r.Before != 42 || r.Brought != 2 {
			t.Errorf("without a journal: %+v", r)
		}
	}
	if got := mail(t, here)["INBOX"]; len(got) != 44 {
		t.Errorf("without a journal %d messages, not 44", len(got))
	}
}

// TestForgottenWithoutDates has a source that tells the dates of some messages only, and
// another journal: nothing is brought twice, and what is like a message of the user's own once.
func TestForgottenWithoutDates(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	put(t, client(t, here), "INBOX", "Subject: the user's\r\n\r\n", when)
	src := &held{validity: "a", texts: append(texts(20), text(3), text(3), text(12), "Subject: the user's\r\n\r\n")}
	src.change = func(_ string, e *transfer.Entry) {
		if !slices.Contains([]string{"a-1", "a-2", "a-3", "a-22"}, e.ID) {
			e.Date = transfer.NoDate
		}
	}
	for i := range 3 {
		for _, r := range run(t, src.Open, here, filepath.Join(t.TempDir(), "journal"), transfer.Options{}) {
			if before := min(i, 1)*len(src.texts) + max(0, 1-i); r.Before != before || r.Brought != len(src.texts)-before {
				t.Errorf("%d: %+v", i, r)
			}
		}
	}
	src.texts = append(src.texts, text(100), text(3))
	for _, r := range run(t, src.Open, here, filepath.Join(t.TempDir(), "journal"), transfer.Options{}) {
		if r.Before != 24 || r.Brought != 2 {
			t.Errorf("%+v", r)
		}
	}
	if got := mail(t, here)["INBOX"]; len(got) != 26 {
		t.Errorf("%d messages", len(got))
	}
}

// usedTwice finds a UID that a journal gives two messages.
func usedTwice(t *testing.T, journal string) string {
	t.Helper()
	data, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]string{}
	for _, line := range strings.Split(string(data), "\n") {
		f := strings.Split(line, "\t")
		if len(f) != 3 || f[0] == "" {
			continue
		}
		if other := of[f[1]]; other != "" && other != f[0] {
			return f[1]
		}
		of[f[1]] = f[0]
	}
	return ""
}

// stopping is a Progress that interrupts a run once something has been brought, and one
// that only looks once it is told of a mailbox.
type stopping struct {
	silent
	looks bool
	stop  func()
}

func (s stopping) Brought(int, int64) { s.stop() }

func (s stopping) Mailbox(string, string) {
	if s.looks {
		s.stop()
	}
}

// TestInterrupted says that a run was interrupted, whatever of its connections broke by that.
func TestInterrupted(t *testing.T) {
	here, dir := dialogue.Mailstead(t, dialogue.Setup{}), t.TempDir()
	h := &held{validity: "1"}
	for n := range 300 {
		h.texts = append(h.texts, text(n))
	}
	interrupted := func(looks bool, do func(context.Context, *transfer.Transfer) error) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		j, err := openJournal(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		to := target(t, here, "")
		defer to.Close()
		stop := stopping{looks: looks, stop: func() { cancel(); to.Close() }} // as the sessions of a target end with ctx
		if err := do(ctx, &transfer.Transfer{Open: h.Open, Target: to, Journal: j, Progress: stop, Pause: time.Millisecond}); !errors.Is(err, context.Canceled) {
			t.Errorf("it says %v", err)
		}
	}
	interrupted(false, func(ctx context.Context, tr *transfer.Transfer) error {
		tr.Progress.(stopping).stop() // before it has looked at anything
		_, err := tr.Run(ctx)
		return err
	})
	interrupted(false, func(ctx context.Context, tr *transfer.Transfer) error { _, err := tr.Run(ctx); return err })
	run(t, h.Open, here, dir, transfer.Options{})
	interrupted(true, func(ctx context.Context, tr *transfer.Transfer) error { _, _, err := tr.Verify(ctx); return err })
}

// TestDrops has the source go away in the middle of messages.
func TestDrops(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	var n atomic.Int32
	src := &held{validity: "a", texts: texts(300), read: func(text string) io.Reader {
		if n.Add(1)%150 == 0 {
			return io.MultiReader(strings.NewReader(text[:len(text)/2]), broken{})
		}
		return strings.NewReader(text)
	}}
	run(t, src.Open, here, filepath.Join(t.TempDir(), "journal"), transfer.Options{})
	if got := mail(t, here)["INBOX"]; len(got) != 300 || len(slices.Compact(got)) != 300 {
		t.Errorf("%d messages, %d different", len(got), len(slices.Compact(got)))
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestEndless has a message without an end among others.
func TestEndless(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	src := &held{validity: "a", texts: texts(5), read: func(s string) io.Reader {
		if s == text(2) {
			return zeros{}
		}
		return strings.NewReader(s)
	}}
	reports := try(t, src.Open, here)
	if left := reports[0].Left; len(left) != 1 || left[0].ID != "a-2" || reports[0].Brought != 4 {
		t.Errorf("%+v", reports[0])
	}
	if got := mail(t, here)["INBOX"]; len(got) != 4 {
		t.Errorf("%d messages", len(got))
	}
}

// TestEndlessAmongOthers has more of them than a source is asked again: each takes one try
// that has come farther.
func TestEndlessAmongOthers(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	endless := texts(7)
	src := &held{validity: "a", texts: texts(20), read: func(s string) io.Reader {
		if slices.Contains(endless, s) {
			return zeros{}
		}
		return strings.NewReader(s)
	}}
	if r := try(t, src.Open, here)[0]; len(r.Left) != 7 || r.Brought != 13 || r.Error != "" {
		t.Errorf("%+v", r)
	}
	if got := mail(t, here)["INBOX"]; len(got) != 13 {
		t.Errorf("%d messages", len(got))
	}
}

// TestEndlessByDate has them share their dates with what is here already, and no journal.
func TestEndlessByDate(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	src := &held{validity: "a", texts: texts(10)}
	run(t, src.Open, here, filepath.Join(t.TempDir(), "journal"), transfer.Options{})
	src.texts = texts(20)
	src.change = func(_ string, e *transfer.Entry) { e.Date = when.Unix() }
	src.read = func(s string) io.Reader {
		if slices.Contains(texts(17)[10:], s) {
			return zeros{}
		}
		return strings.NewReader(s)
	}
	if r := try(t, src.Open, here)[0]; r.Before != 10 || len(r.Left) != 7 || r.Brought != 3 || r.Error != "" {
		t.Errorf("%+v", r)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// try is run where not everything can be brought.
func try(t *testing.T, open transfer.Opener, a *dialogue.Account) []transfer.Report {
	t.Helper()
	j, err := openJournal(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	reports, _ := (&transfer.Transfer{Open: open, Target: target(t, a, ""), Journal: j, Progress: silent{}, Pause: time.Millisecond}).Run(t.Context())
	return reports
}

// TestFewConnections has a source that lets two connections in, and no more.
func TestFewConnections(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	src := &held{validity: "a", texts: texts(800), boxes: []string{"Box"}}
	var open, refused atomic.Int32
	run(t, func(ctx context.Context) (transfer.Source, error) {
		if open.Add(1) > 2 {
			refused.Add(1)
			return nil, fmt.Errorf("%w: too many connections", transfer.ErrBusy)
		}
		return src, nil
	}, here, filepath.Join(t.TempDir(), "journal"), transfer.Options{})
	for _, box := range []string{"INBOX", "Box"} {
		if got := mail(t, here)[box]; len(got) != 800 {
			t.Errorf("%s: %d messages", box, len(got))
		}
	}
	if refused.Load() != 1 {
		t.Errorf("refused %d times", refused.Load())
	}
}

// TestNothingToDo brings nothing and writes nothing where nothing has changed.
func TestNothingToDo(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	src := &held{validity: "a", texts: texts(5)}
	dir := filepath.Join(t.TempDir(), "journal")
	run(t, src.Open, here, dir, transfer.Options{})
	files, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	before, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(before), "\n\t6\t\n") {
		t.Errorf("it does not end with the next UID: %q", before)
	}
	run(t, src.Open, here, dir, transfer.Options{Flags: true})
	if after, err := os.ReadFile(files[0]); err != nil || string(after) != string(before) {
		t.Errorf("%q has become %q: %v", before, after, err)
	}
}

// TestFlagsOfOthers leaves out what is no flag, whatever it would do in a command.
func TestFlagsOfOthers(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	dir := filepath.Join(t.TempDir(), "Maildir")
	for _, d := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"dovecot-keywords": "0 Good\n1 a) \"x\" {1+}\n2 \\\\Strange\n3 Größe\n",
		"cur/1.a:2,Sabcd":  text(1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, (&transfer.Maildir{Dir: dir}).Open, here, filepath.Join(t.TempDir(), "journal"), transfer.Options{})
	if got := mail(t, here)["INBOX"]; len(got) != 1 || !strings.Contains(got[0], ` [Good \Seen] `) {
		t.Errorf("%q", got)
	}
}

// TestQuota fills the account half-way, and goes on when there is room again.
func TestQuota(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{Quota: &config.Quota{Messages: 100}})
	src := &held{validity: "a", texts: texts(150)}
	dir := filepath.Join(t.TempDir(), "journal")
	j, err := transfer.OpenJournal(dir, dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = (&transfer.Transfer{Open: src.Open, Target: target(t, here, ""), Journal: j, Progress: silent{}, Pause: time.Millisecond}).Run(t.Context())
	j.Close()
	if err == nil || !strings.Contains(err.Error(), "quota") {
		t.Fatalf("%v", err)
	}
	if got := mail(t, here)["INBOX"]; len(got) != 100 {
		t.Fatalf("%d messages", len(got))
	}
	c := client(t, here)
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Store(imap.SeqSet{{Start: 1, Stop: 60}}, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Expunge().Close(); err != nil {
		t.Fatal(err)
	}
	for _, r := range run(t, src.Open, here, dir, transfer.Options{}) {
		if r.Brought != 50 {
			t.Errorf("%+v", r)
		}
	}
}

// TestTwice runs two imports of one user at once, by one name and by two.
func TestTwice(t *testing.T) {
	dir := t.TempDir()
	j, err := transfer.OpenJournal(filepath.Join(dir, "one"), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		if _, err := transfer.OpenJournal(filepath.Join(dir, name), dir); !errors.Is(err, transfer.ErrLocked) {
			t.Errorf("%s: %v", name, err)
		}
	}
	j.Close()
	if _, err := transfer.OpenJournal(filepath.Join(dir, "two"), dir); err != nil {
		t.Error(err)
	}
}

// TestOctets brings what is no text: NUL, CR alone, LF alone, no last line end.
func TestOctets(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	head := "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"
	src := &held{validity: "a", texts: []string{
		"Subject: lf\n\nlines\n", "Subject: open\r\n\r\nno end", head + "nul\x00\r\n", head + "a\rb\r\n", "Subject: nul\x00 in the header\r\n\r\nx\r\n", "",
	}}
	reports := try(t, src.Open, here)
	var ids []string
	for _, l := range reports[0].Left {
		ids = append(ids, l.ID)
	}
	slices.Sort(ids)
	if !slices.Equal(ids, []string{"a-4", "a-5"}) {
		t.Errorf("refused: %+v", reports[0].Left)
	}
	got := mail(t, here)["INBOX"]
	if len(got) != 4 {
		t.Errorf("%q", got)
	}
	for _, want := range []string{"Subject: lf\\r\\n\\r\\nlines\\r\\n", "no end\\r\\n"} {
		if !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
}

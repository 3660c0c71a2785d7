package transfer_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailstead/imapserver/dialogue"
	"mailstead/reconcile/transfer"
)

// words are so many keywords.
func words(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("k%04d", i))
	}
	return strings.Join(all, " ")
}

// TestTooManyKeywords brings messages without the keywords that they cannot have here, and
// says so; what is beside them comes as it is.
func TestTooManyKeywords(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	src := &held{validity: "a", boxes: []string{"Two", "Three"}, texts: texts(3)}
	src.change = func(box string, e *transfer.Entry) {
		switch box + " " + e.ID {
		case "INBOX a-0":
			e.Flags = `\Seen ` + words(65)
		case "INBOX a-1":
			e.Flags = strings.Repeat("x", 256) + " y"
		}
	}
	dir := filepath.Join(t.TempDir(), "journal")
	reports := run(t, src.Open, here, dir, transfer.Options{})
	var cut []string
	for _, r := range reports {
		if r.Brought != 3 {
			t.Errorf("%+v", r)
		}
		for _, c := range r.Cut {
			cut = append(cut, r.Mailbox+" "+c.ID)
			if !strings.Contains(c.Reason, "too many keywords") {
				t.Errorf("%+v", c)
			}
		}
	}
	if !slices.Equal(cut, []string{"INBOX a-0", "INBOX a-1"}) {
		t.Errorf("%q", cut)
	}
	got := strings.Join(mail(t, here)["INBOX"], "\n")
	for _, want := range []string{`[\Seen ` + words(64) + `] "Subject: message 0\r\n`, `[y] "Subject: message 1\r\n`} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	for _, r := range run(t, src.Open, here, dir, transfer.Options{Flags: true}) {
		if r.Brought+r.Flags+len(r.Cut) != 0 {
			t.Errorf("again: %+v", r)
		}
	}
}

// TestMailboxFullOfKeywords brings what comes into one that can have no more of them, and
// changes the flags that it can.
func TestMailboxFullOfKeywords(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	src := &held{validity: "a", texts: texts(20)}
	src.change = func(_ string, e *transfer.Entry) {
		var all []string
		for i := range 60 {
			all = append(all, fmt.Sprint(e.ID, "-", i))
		}
		e.Flags = strings.Join(all, " ")
	}
	dir := filepath.Join(t.TempDir(), "journal")
	if r := run(t, src.Open, here, dir, transfer.Options{})[0]; r.Brought != 20 || len(r.Cut) != 4 {
		t.Errorf("%d brought, without keywords %+v", r.Brought, r.Cut)
	}
	before := src.change
	src.change = func(box string, e *transfer.Entry) {
		before(box, e)
		switch e.ID {
		case "a-0":
			e.Flags += ` \Flagged ` + words(5)
		case "a-1":
			e.Flags += ` \Seen`
		}
	}
	if r := run(t, src.Open, here, dir, transfer.Options{Flags: true})[0]; r.Flags != 1 || len(r.Cut) != 1 || r.Cut[0].ID != "a-0" {
		t.Errorf("%d changed, without keywords %+v", r.Flags, r.Cut)
	}
	got := strings.Join(mail(t, here)["INBOX"], "\n")
	if strings.Count(got, `\Flagged`) != 1 || strings.Count(got, `\Seen`) != 1 {
		t.Errorf("%s", got)
	}
}

// TestOddDates brings messages with dates that no command can say, by the nearest that
// one can, and finds them again by that.
func TestOddDates(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	src := &held{validity: "a", boxes: []string{"Two"}, texts: texts(4)}
	src.change = func(box string, e *transfer.Entry) {
		switch box + " " + e.ID {
		case "INBOX a-0":
			e.Date = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
		case "INBOX a-1":
			e.Date = math.MaxInt64
		case "INBOX a-2":
			e.Date = time.Date(-1, 12, 31, 23, 0, 0, 0, time.UTC).Unix()
		}
	}
	for range 2 { // the second time without a journal
		for _, r := range run(t, src.Open, here, filepath.Join(t.TempDir(), "journal"), transfer.Options{}) {
			if r.Brought+r.Before != 4 {
				t.Errorf("%+v", r)
			}
		}
	}
	got := mail(t, here)
	if len(got["INBOX"]) != 4 || len(got["Two"]) != 4 || !strings.HasPrefix(got["INBOX"][0], "0000-01-01 00:00:00") || !strings.HasPrefix(got["INBOX"][3], "9999-12-31 23:59:59") {
		t.Errorf("%q", got)
	}
}

// renaming has a mailbox renamed here when a message of another one is asked for.
type renaming struct {
	*held
	once sync.Once
	name string
	do   func()
}

func (r *renaming) Open(context.Context) (transfer.Source, error) { return r, nil }

func (r *renaming) Fetch(ctx context.Context, m transfer.Mailbox, messages []transfer.Entry, take func(transfer.Entry, io.Reader) error) error {
	if m.Name == r.name {
		r.once.Do(r.do)
	}
	return r.held.Fetch(ctx, m, messages, take)
}

// TestRenamedMeanwhile brings all but a mailbox that is renamed here while it is at work,
// and that by the next run.
func TestRenamedMeanwhile(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	c := client(t, here)
	src := &renaming{held: &held{validity: "a", boxes: []string{"Two", "Three", "Four", "Five"}, texts: texts(5)}, name: "Two"}
	src.do = func() {
		if err := c.Rename("Two", "Old", nil).Wait(); err != nil {
			t.Error(err)
		}
	}
	dir := filepath.Join(t.TempDir(), "journal")
	j, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	reports, err := (&transfer.Transfer{Open: src.Open, Target: target(t, here, ""), Journal: j, Progress: silent{}, Pause: time.Millisecond}).Run(t.Context())
	j.Close()
	if err != nil {
		t.Error(err)
	}
	for _, r := range reports {
		if r.Mailbox == "Two" && !strings.Contains(r.Error, "not there any more") || r.Mailbox != "Two" && (r.Brought != 5 || r.Error != "") {
			t.Errorf("%+v", r)
		}
	}
	run(t, src.Open, here, dir, transfer.Options{})
	if got := mail(t, here); len(got["Two"]) != 5 || len(got["Old"]) != 0 {
		t.Errorf("%q", got)
	}
}

// journalOf is the file of a journal that has the notes of a mailbox.
func journalOf(t *testing.T, dir, mailbox string) (path string, data []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), fmt.Sprintf(`"mailbox":%q`, mailbox)) {
			return path, data
		}
	}
	t.Fatalf("no journal of %s in %q", mailbox, files)
	return "", nil
}

// TestDeletedHere deletes a mailbox here: what is brought into its successor is found there,
// and no UID of the old one is taken for one of it.
func TestDeletedHere(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	src := &held{validity: "a", boxes: []string{"Box"}, texts: texts(10)}
	dir := filepath.Join(t.TempDir(), "journal")
	verify := func(gone int) {
		t.Helper()
		differences := verified(t, src.Open, here, dir)
		for _, d := range differences {
			if d.Mailbox != "Box" || d.What != "is not here any more" {
				t.Errorf("%+v", d)
			}
		}
		if len(differences) != gone {
			t.Errorf("%d differences, not %d", len(differences), gone)
		}
	}
	run(t, src.Open, here, dir, transfer.Options{})
	verify(0)
	c := client(t, here)
	if err := c.Delete("Box").Wait(); err != nil {
		t.Fatal(err)
	}
	verify(10)
	if err := c.Create("Box", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	put(t, c, "Box", "Subject: the user's\r\n\r\n", when)
	verify(10)
	src.texts = texts(13)
	run(t, src.Open, here, dir, transfer.Options{})
	path, data := journalOf(t, dir, "Box")
	if err := os.WriteFile(path, data[:strings.Index(string(data), "\na-12\t")+1], 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, src.Open, here, dir, transfer.Options{})
	src.change = func(_ string, e *transfer.Entry) { e.Flags = `\Seen` }
	run(t, src.Open, here, dir, transfer.Options{Flags: true})
	if got := mail(t, here)["Box"]; len(got) != 4 || strings.Count(strings.Join(got, "\n"), `[\Seen]`) != 3 {
		t.Errorf("%q", got)
	}
	for _, r := range run(t, src.Open, here, dir, transfer.Options{Flags: true}) {
		if r.Brought+r.Flags != 0 {
			t.Errorf("again: %+v", r)
		}
	}
	verify(10)
}

// TestEpoch brings messages of the first second of 1970 with that date, and finds them
// again by it; those without a date get that of their arrival.
func TestEpoch(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	src := &held{validity: "a", texts: texts(3)}
	src.change = func(_ string, e *transfer.Entry) {
		if e.Date = 0; e.ID == "a-2" {
			e.Date = transfer.NoDate
		}
	}
	dir := filepath.Join(t.TempDir(), "journal")
	run(t, src.Open, here, dir, transfer.Options{})
	path, data := journalOf(t, dir, "INBOX")
	if err := os.WriteFile(path, data[:strings.Index(string(data), "\na-1\t")+1], 0o600); err != nil {
		t.Fatal(err)
	}
	src.texts = texts(2)
	run(t, src.Open, here, dir, transfer.Options{})
	got := mail(t, here)["INBOX"]
	if len(got) != 3 || !strings.HasPrefix(got[0], "1970-01-01 00:00:00") || !strings.HasPrefix(got[1], "1970-01-01 00:00:00") || strings.HasPrefix(got[2], "19") {
		t.Errorf("%q", got)
	}
}

// TestEpochOfServer has a server that tells the first second of 1970 of one message, and
// no date of the other.
func TestEpochOfServer(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{})
	fetch := "* 1 FETCH (UID 1 FLAGS () INTERNALDATE \"01-Jan-1970 00:00:00 +0000\" RFC822.SIZE 19)\r\n* 2 FETCH (UID 2 FLAGS () RFC822.SIZE 19)\r\n$ OK done\r\n"
	if _, err := bring(t, answers(t, changed(map[string]string{"UID FETCH": fetch})), here, silent{}); err != nil {
		t.Fatal(err)
	}
	got := mail(t, here)["INBOX"]
	if len(got) != 2 || !strings.HasPrefix(got[0], "1970-01-01 00:00:00") || strings.HasPrefix(got[1], "1970") {
		t.Errorf("%q", got)
	}
}

// TestAskedFor names what was asked for and is not there, unless it has been: somebody may have
// removed it since.
func TestAskedFor(t *testing.T) {
	here, dir := dialogue.Mailstead(t, dialogue.Setup{}), filepath.Join(t.TempDir(), "journal")
	h := &held{validity: "1", texts: texts(1), boxes: []string{"Box"}}
	asked := func(dir string, o transfer.Options) (*transfer.Transfer, []transfer.Report) {
		t.Helper()
		j, err := openJournal(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		tr := &transfer.Transfer{Open: h.Open, Target: target(t, here, ""), Journal: j, Options: o, Progress: silent{}}
		reports, err := tr.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return tr, reports
	}
	tr, reports := asked(dir, transfer.Options{Include: []string{"Boks", "inbox", "B*"}, Exclude: []string{"Inbox", "Spam"}})
	if err := transfer.Faults(reports); err == nil || err.Error() != "Boks: the source has no mailbox of this name or pattern" {
		t.Error(err)
	}
	if !slices.Equal(tr.Idle, []string{"Spam"}) {
		t.Errorf("idle: %q", tr.Idle)
	}
	h.boxes = nil
	gone := transfer.Options{Include: []string{"INBOX", "B*"}}
	_, reports = asked(dir, gone)
	if err := transfer.Faults(reports); err != nil || len(reports) != 2 || reports[1].Mailbox != "B*" || reports[1].Skipped == "" {
		t.Errorf("%+v, %v", reports, err)
	}
	if _, reports = asked(dir, transfer.Options{Include: []string{"Boks"}}); transfer.Faults(reports) == nil {
		t.Errorf("%+v", reports)
	}
	other := filepath.Join(t.TempDir(), "journal")
	if _, reports = asked(other, gone); transfer.Faults(reports) == nil {
		t.Errorf("%+v", reports)
	}
	gone.Optional = true
	if _, reports = asked(other, gone); transfer.Faults(reports) != nil || len(reports) != 1 {
		t.Errorf("%+v", reports)
	}
}

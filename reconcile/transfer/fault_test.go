package transfer_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/config"
	"mailstead/imapserver/dialogue"
	"mailstead/reconcile/transfer"
)

// held is a source in memory that can be made to fail.
type held struct {
	validity string
	texts    []string
	fetches  atomic.Int32
	fault    func(fetch int) error       // of Fetch, before it gives anything
	read     func(text string) io.Reader // of a message
}

func (h *held) Open(context.Context) (transfer.Source, error) { return h, nil }
func (h *held) Close() error                                  { return nil }

func (h *held) Mailboxes(context.Context) ([]transfer.Mailbox, error) {
	return []transfer.Mailbox{{Name: "INBOX", Levels: []string{"INBOX"}, Validity: h.validity, Messages: len(h.texts)}}, nil
}

func (h *held) List(context.Context, transfer.Mailbox) (all []transfer.Entry, err error) {
	for i, text := range h.texts {
		all = append(all, transfer.Entry{ID: fmt.Sprint(h.validity, "-", i), Date: when.Unix() + int64(i/10), Size: int64(len(text))})
	}
	return all, nil
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
	here := dialogue.Mailstead(t, dialogue.Setup{Off: transfer.Off})
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
	for _, left := range []int{len(data) - 1, len(data) / 2, strings.IndexByte(string(data), '\n') + 1} {
		if err := os.WriteFile(files[0], data[:left], 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, src.Open, here, dir, transfer.Options{})
		if got := mail(t, here)["INBOX"]; !slices.Equal(got, want) {
			t.Fatalf("%d octets of %d of the journal: %d messages, not %d", left, len(data), len(got), len(want))
		}
	}
	src.validity = "b"
	run(t, src.Open, here, dir, transfer.Options{})
	if got := mail(t, here)["INBOX"]; !slices.Equal(got, want) {
		t.Errorf("after another UIDVALIDITY %d messages, not %d", len(got), len(want))
	}
}

// TestDrops has the source go away in the middle of messages.
func TestDrops(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{Off: transfer.Off})
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
	here := dialogue.Mailstead(t, dialogue.Setup{Off: transfer.Off})
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

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// try is run where not everything can be brought.
func try(t *testing.T, open transfer.Opener, a *dialogue.Account) []transfer.Report {
	t.Helper()
	j, err := transfer.OpenJournal(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	reports, _ := (&transfer.Transfer{Open: open, Target: target(t, a), Journal: j, Progress: silent{}}).Run(t.Context())
	return reports
}

// TestQuota fills the account half-way, and goes on when there is room again.
func TestQuota(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{Off: transfer.Off, Quota: &config.Quota{Messages: 100}})
	src := &held{validity: "a", texts: texts(150)}
	dir := filepath.Join(t.TempDir(), "journal")
	j, err := transfer.OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = (&transfer.Transfer{Open: src.Open, Target: target(t, here), Journal: j, Progress: silent{}}).Run(t.Context())
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

// TestTwice runs two imports of one name at once.
func TestTwice(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j, err := transfer.OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if _, err := transfer.OpenJournal(dir); !errors.Is(err, transfer.ErrLocked) {
		t.Errorf("%v", err)
	}
}

// TestOctets brings what is no text: NUL, CR alone, LF alone, no last line end.
func TestOctets(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{Off: transfer.Off})
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

// answers is a server that says to each command what its script has for the
// command's name, with the tag in place of $. One that ends with ! hangs up.
func answers(t *testing.T, script map[string]string) transfer.Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.WriteString(c, "* OK [CAPABILITY IMAP4rev1] hello\r\n")
				r := bufio.NewReader(c)
				for {
					line, err := r.ReadString('\n')
					f := strings.Fields(line)
					if err != nil || len(f) < 2 {
						return
					}
					name := f[1]
					if name == "UID" {
						name = "UID " + f[2]
						if strings.Contains(line, "BODY") {
							name = "BODY"
						}
					}
					answer, hangUp := strings.CutSuffix(script[name], "!")
					io.WriteString(c, strings.ReplaceAll(answer, "$", f[0]))
					if hangUp {
						return
					}
					if script[name] == "" {
						io.WriteString(c, f[0]+" OK done\r\n")
					}
				}
			}()
		}
	}()
	at := l.Addr().(*net.TCPAddr)
	return transfer.Server{Host: "127.0.0.1", Port: at.Port, TLS: transfer.TLSNone, User: "u", Password: "p"}
}

// TestLyingServer brings what can be brought from servers that do not keep to the
// protocol, and says what could not be.
func TestLyingServer(t *testing.T) {
	good := map[string]string{
		"LIST":      "* LIST () \"/\" INBOX\r\n$ OK done\r\n",
		"STATUS":    "* STATUS INBOX (MESSAGES 2 UIDVALIDITY 7)\r\n$ OK done\r\n",
		"EXAMINE":   "* 2 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n$ OK done\r\n",
		"UID FETCH": "* 1 FETCH (UID 1 FLAGS () RFC822.SIZE 9)\r\n* 2 FETCH (UID 2 FLAGS () RFC822.SIZE 99999)\r\n$ OK done\r\n",
		"BODY":      "* 1 FETCH (UID 1 BODY[] {19}\r\nSubject: a\r\n\r\none\r\n)\r\n* 2 FETCH (UID 2 BODY[] {19}\r\nSubject: b\r\n\r\ntwo\r\n)\r\n$ OK done\r\n",
	}
	for name, c := range map[string]struct {
		change  map[string]string
		brought int
		fault   string
	}{
		"sizes lie":        {nil, 2, ""},
		"8-bit names":      {map[string]string{"LIST": "* LIST () \"/\" INBOX\r\n* LIST () \"/\" \"Entw\xfcrfe\"\r\n$ OK done\r\n"}, 0, "list the mailboxes"},
		"wrong password":   {map[string]string{"LOGIN": "$ NO [AUTHENTICATIONFAILED] no\r\n"}, 0, "log in"},
		"another validity": {map[string]string{"EXAMINE": "* 2 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\n$ OK done\r\n"}, 0, "UIDVALIDITY"},
		"others' bodies":   {map[string]string{"BODY": "* 3 FETCH (UID 3 BODY[] {5}\r\nxxxxx)\r\n" + good["BODY"]}, 2, ""},
		"refused":          {map[string]string{"BODY": "$ NO [NOPERM] not yours\r\n"}, 0, "not yours"},
	} {
		t.Run(name, func(t *testing.T) {
			script := map[string]string{}
			for k, v := range good {
				script[k] = v
			}
			for k, v := range c.change {
				script[k] = v
			}
			here := dialogue.Mailstead(t, dialogue.Setup{Off: transfer.Off})
			j, err := transfer.OpenJournal(filepath.Join(t.TempDir(), "journal"))
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			reports, err := (&transfer.Transfer{Open: answers(t, script).Open, Target: target(t, here), Journal: j, Progress: silent{}}).Run(t.Context())
			err = errors.Join(err, transfer.Faults(reports))
			if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
				t.Errorf("%v, not %q", err, c.fault)
			}
			if got := mail(t, here)["INBOX"]; len(got) != c.brought {
				t.Errorf("%d messages: %q", len(got), got)
			}
		})
	}
}

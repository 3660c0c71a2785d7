package transfer_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/dialogue"
	"mailstead/reconcile/transfer"
)

// begun is a session that has been begun already, as the control socket gives one.
type begun struct {
	net.Conn
	r io.Reader
}

func (b *begun) Read(p []byte) (int, error) { return b.r.Read(p) }

func session(t *testing.T, a *dialogue.Account) net.Conn {
	t.Helper()
	c, err := a.Dial("plain")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "x LOGIN %s %s\r\n", a.User, a.Password)
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "x ") {
			if !strings.HasPrefix(line, "x OK") {
				t.Fatal(line)
			}
			break
		}
	}
	return &begun{c, io.MultiReader(strings.NewReader("* PREAUTH go on\r\n"), r)}
}

func target(t *testing.T, a *dialogue.Account, prefix string) *transfer.Target {
	t.Helper()
	var sessions []net.Conn
	for range 4 {
		sessions = append(sessions, session(t, a))
	}
	to, err := transfer.NewTarget(t.Context(), prefix, sessions)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(to.Close)
	return to
}

// client logs in as any client does.
func client(t *testing.T, a *dialogue.Account) *imapclient.Client {
	t.Helper()
	c := imapclient.New(session(t, a), nil)
	if err := c.WaitGreeting(); err != nil {
		t.Fatal(err)
	}
	return c
}

type silent struct{}

func (silent) Total(int, int64)          {}
func (silent) Mailbox(string, string)    {}
func (silent) Brought(int, int64)        {}
func (silent) Wait(time.Duration, error) {}

func server(t *testing.T, a *dialogue.Account) transfer.Server {
	c, err := a.Dial("plain")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	at := c.RemoteAddr().(*net.TCPAddr)
	return transfer.Server{Host: "127.0.0.1", Port: at.Port, TLS: transfer.TLSNone, User: a.User, Password: a.Password}
}

func openJournal(dir string) (*transfer.Journal, error) { return transfer.OpenJournal(dir, dir) }

// run is one run in a journal of its own process.
func run(t *testing.T, open transfer.Opener, a *dialogue.Account, dir string, o transfer.Options) []transfer.Report {
	t.Helper()
	return runBelow(t, "", open, a, dir, o)
}

// runBelow is run where personal mailboxes have a prefix.
func runBelow(t *testing.T, prefix string, open transfer.Opener, a *dialogue.Account, dir string, o transfer.Options) []transfer.Report {
	t.Helper()
	j, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	to := target(t, a, prefix)
	defer to.Close()
	reports, err := (&transfer.Transfer{Open: open, Target: to, Journal: j, Options: o, Progress: silent{}, Pause: time.Millisecond}).Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := transfer.Faults(reports); err != nil {
		t.Fatal(err)
	}
	return reports
}

func put(t *testing.T, c *imapclient.Client, mailbox, text string, when time.Time, flags ...imap.Flag) {
	t.Helper()
	cmd := c.Append(mailbox, int64(len(text)), &imap.AppendOptions{Flags: flags, Time: when})
	io.WriteString(cmd, text)
	cmd.Close()
	if _, err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

// mail is what an account has: a line for each message.
func mail(t *testing.T, a *dialogue.Account) map[string][]string {
	t.Helper()
	c := client(t, a)
	defer c.Close()
	list, err := c.List("", "*", nil).Collect()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for _, l := range list {
		if slices.Contains(l.Attrs, imap.MailboxAttrNoSelect) {
			continue
		}
		st, err := c.Select(l.Mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
		if err != nil {
			t.Fatalf("%s %v: %v", l.Mailbox, l.Attrs, err)
		}
		all[l.Mailbox] = []string{}
		if st.NumMessages == 0 {
			continue
		}
		whole := &imap.FetchItemBodySection{Peek: true}
		messages, err := c.Fetch(imap.UIDSet{{Start: 1}}, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			var flags []string
			for _, f := range m.Flags {
				if f != "\\Recent" {
					flags = append(flags, string(f))
				}
			}
			slices.Sort(flags)
			all[l.Mailbox] = append(all[l.Mailbox], fmt.Sprintf("%s %v %q", m.InternalDate.UTC().Format(time.DateTime), flags, m.FindBodySection(whole)))
		}
		slices.Sort(all[l.Mailbox])
	}
	return all
}

var when = time.Date(2019, 3, 31, 1, 59, 59, 0, time.UTC)

func text(n int) string {
	return fmt.Sprintf("Subject: message %d\r\n\r\n%s\r\n", n, strings.Repeat("octets ", n%50))
}

// TestServer brings an account over, twice, and then what has come since.
func TestServer(t *testing.T) {
	there, here := dialogue.Mailstead(t, dialogue.Setup{}), dialogue.Mailstead(t, dialogue.Setup{})
	c := client(t, there)
	for _, m := range []string{"Arbeit.Größe & Co", "Empty"} {
		if err := c.Create(m, nil).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Create("Ablage", &imap.CreateOptions{SpecialUse: []imap.MailboxAttr{imap.MailboxAttrArchive}}).Wait(); err != nil {
		t.Fatal(err)
	}
	put(t, c, "Ablage", text(2), when)
	for n := range 700 {
		put(t, c, "INBOX", text(n), when.Add(time.Duration(n)*time.Minute), imap.FlagSeen, "Later")
	}
	put(t, c, "Arbeit.Größe & Co", text(1), when, imap.FlagAnswered)
	put(t, c, "Arbeit.Größe & Co", text(1), when, imap.FlagAnswered) // the same once more is another message
	put(t, c, "INBOX", "Subject: large\r\n\r\n"+strings.Repeat("0123456789abcde\r\n", 200_000), when)
	dir := filepath.Join(t.TempDir(), "journal")
	open := server(t, there).Open

	dry := run(t, open, here, dir, transfer.Options{DryRun: true})
	if got := mail(t, here)["INBOX"]; len(got) != 0 {
		t.Fatalf("a dry run has brought %d messages", len(got))
	}
	if i := slices.IndexFunc(dry, func(r transfer.Report) bool { return r.Mailbox == "INBOX" }); dry[i].Brought != 701 {
		t.Errorf("%+v", dry[i])
	}
	run(t, open, here, dir, transfer.Options{})
	want := mail(t, there)
	if diff := cmp.Diff(want, mail(t, here)); diff != "" {
		t.Fatal(diff)
	}
	for _, r := range run(t, open, here, dir, transfer.Options{}) {
		if r.Brought != 0 {
			t.Errorf("brought again: %+v", r)
		}
	}
	list, err := client(t, here).List("", "Ablage", &imap.ListOptions{ReturnSpecialUse: true}).Collect()
	if err != nil || len(list) != 1 || !slices.Contains(list[0].Attrs, imap.MailboxAttrArchive) {
		t.Errorf("the special use does not come along: %v, %v", list, err)
	}
	put(t, c, "INBOX", text(1000), when)
	if _, err := c.Select("Arbeit.Größe & Co", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsSet, Flags: []imap.Flag{imap.FlagFlagged}}, nil).Close(); err != nil {
		t.Fatal(err)
	}
	run(t, open, here, dir, transfer.Options{Flags: true})
	if diff := cmp.Diff(mail(t, there), mail(t, here)); diff != "" {
		t.Error(diff)
	}
}

// TestPrefix brings into mailboxes whose names clients see behind "INBOX.".
func TestPrefix(t *testing.T) {
	here := dialogue.Mailstead(t, dialogue.Setup{Namespace: "INBOX."})
	dir := filepath.Join(t.TempDir(), "Maildir")
	for _, box := range []string{".", ".R&D", ".Größe.Sub"} {
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(dir, box, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, box, "cur", "1.a:2,S"), []byte(text(1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	open := (&transfer.Maildir{Dir: dir}).Open
	journal := filepath.Join(t.TempDir(), "journal")
	runBelow(t, "INBOX.", open, here, journal, transfer.Options{})
	got := mail(t, here)
	for _, box := range []string{"INBOX", "INBOX.R&D", "INBOX.Größe.Sub"} {
		if len(got[box]) != 1 {
			t.Errorf("%s: %q", box, got[box])
		}
	}
	for _, r := range runBelow(t, "INBOX.", open, here, journal, transfer.Options{}) {
		if r.Brought != 0 {
			t.Errorf("brought again: %+v", r)
		}
	}
}

// TestRev2 brings from a server that offers IMAP4rev2, whose names go-imap's client
// does not spell as it does.
func TestRev2(t *testing.T) {
	const body = "Subject: x {3}\r\n\r\n* CAPABILITY IMAP4rev2\r\n* OK [CAPABILITY IMAP4rev2] {5}\r\n"
	there, here := dialogue.Mailstead(t, dialogue.Setup{}), dialogue.Mailstead(t, dialogue.Setup{})
	s, err := transfer.Begin(t.Context(), session(t, there))
	if err != nil {
		t.Fatal(err)
	}
	for _, box := range []string{"R&-D", "Gr&APYA3w-e"} {
		if _, err := s.Command(`CREATE "%s"`, box); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Command("APPEND %q {%d+}\r\n%s", box, len(body), body); err != nil {
			t.Fatal(err)
		}
	}
	run(t, server(t, there).Open, here, filepath.Join(t.TempDir(), "journal"), transfer.Options{})
	got := mail(t, here)
	for _, box := range []string{"R&D", "Größe"} {
		if len(got[box]) != 1 || !strings.Contains(got[box][0], strconv.Quote(body)) {
			t.Errorf("%s: %q", box, got[box])
		}
	}
}

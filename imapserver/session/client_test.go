package session

import (
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/google/go-cmp/cmp"
)

// dial gives a client of someone else's making, which reads strictly.
func (s *server) dial(options *imapclient.Options) *imapclient.Client {
	s.t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	ours, theirs := socket(s.t, fds[0]), socket(s.t, fds[1])
	if _, err := io.WriteString(theirs, "* PREAUTH welcome\r\n"); err != nil {
		s.t.Fatal(err)
	}
	serve(s.t, s.params, ours, theirs)
	return imapclient.New(ours, options)
}

const letter = "From: =?utf-8?q?J=C3=B6rg?= <joerg@example.org>\r\nTo: a@example.org, \"B, C\" <b@example.org>\r\n" +
	"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@example.org>\r\nDate: Mon, 2 Feb 2026 10:00:00 +0100\r\n" +
	"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" +
	"--x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHallo.\r\n" +
	"--x\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\n%PDF\r\n--x--\r\n"

func TestClient(t *testing.T) {
	s := newServer(t)
	c := s.dial(nil)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(c.WaitGreeting())
	check(c.Create("Entwürfe", nil).Wait())
	a := c.Append("Entwürfe", int64(len(letter)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen}, Time: time.Unix(1e9, 0)})
	_, err := io.WriteString(a, letter)
	check(err)
	check(a.Close())
	appended, err := a.Wait()
	check(err)

	sel, err := c.Select("Entwürfe", nil).Wait()
	check(err)
	if sel.NumMessages != 1 || sel.UIDNext != 2 || sel.UIDValidity != appended.UIDValidity || appended.UID != 1 {
		t.Errorf("SELECT: %+v, APPEND: %+v", sel, appended)
	}
	msgs, err := c.Fetch(imap.UIDSetNum(1), &imap.FetchOptions{
		Envelope: true, Flags: true, InternalDate: true, RFC822Size: true, UID: true,
		BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
		BodySection: []*imap.FetchItemBodySection{
			{Part: []int{2}, Partial: &imap.SectionPartial{Offset: 1, Size: 2}},
			{Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"Message-Id"}, Peek: true},
		},
	}).Collect()
	check(err)
	if len(msgs) != 1 {
		t.Fatalf("%d messages", len(msgs))
	}
	m := msgs[0]
	want := &imap.Envelope{
		Date: m.Envelope.Date, Subject: "Grüße", MessageID: "1@example.org",
		From: []imap.Address{{Name: "Jörg", Mailbox: "joerg", Host: "example.org"}},
		To:   []imap.Address{{Mailbox: "a", Host: "example.org"}, {Name: "B, C", Mailbox: "b", Host: "example.org"}},
	}
	want.Sender, want.ReplyTo = want.From, want.From
	if diff := cmp.Diff(want, m.Envelope); diff != "" {
		t.Errorf("envelope (-want +got)\n%s", diff)
	}
	if bs, ok := m.BodyStructure.(*imap.BodyStructureMultiPart); !ok || len(bs.Children) != 2 || bs.Children[1].Disposition().Params["filename"] != "a.pdf" {
		t.Errorf("structure: %+v", m.BodyStructure)
	}
	if m.RFC822Size != int64(len(letter)) || !m.InternalDate.Equal(time.Unix(1e9, 0)) || m.UID != 1 {
		t.Errorf("message: %+v", m)
	}
	if len(m.BodySection) != 2 || string(m.BodySection[0].Bytes) != "PD" || string(m.BodySection[1].Bytes) != "Message-ID: <1@example.org>\r\n\r\n" {
		t.Errorf("sections: %+v", m.BodySection)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "GRÜ"}},
		Text: []string{"hallo"}}, &imap.SearchOptions{ReturnAll: true, ReturnCount: true}).Wait()
	check(err)
	if found.All == nil || found.All.String() != "1" {
		t.Errorf("search: %+v", found)
	}
	boxes, err := c.List("", "*", &imap.ListOptions{ReturnStatus: &imap.StatusOptions{NumMessages: true, Size: true}}).Collect()
	check(err)
	if len(boxes) != 2 || boxes[1].Mailbox != "Entwürfe" || *boxes[1].Status.Size != int64(len(letter)) {
		t.Errorf("LIST: %+v", boxes)
	}
	ns, err := c.Namespace().Wait()
	check(err)
	if diff := cmp.Diff([]imap.NamespaceDescriptor{{Prefix: "", Delim: '.'}}, ns.Personal); diff != "" {
		t.Error(diff)
	}
	moved, err := c.Move(imap.SeqSetNum(1), "INBOX").Wait()
	check(err)
	if moved.DestUIDs.(imap.UIDSet).String() != "1" {
		t.Errorf("MOVE: %+v", moved)
	}
	check(c.Logout().Wait())
}

// What a client learns in IDLE.
func TestClientIdle(t *testing.T) {
	s := newServer(t)
	exists := make(chan uint32, 10)
	c := s.dial(&imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				exists <- *d.NumMessages
			}
		},
	}})
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	s.deliver("9.M1P1.host", strings.ReplaceAll(hello, "\r\n", "\n"))
	select {
	case n := <-exists:
		if n != 1 {
			t.Errorf("%d messages", n)
		}
		t.Logf("told after %v", time.Since(start))
	case <-time.After(10 * time.Second):
		t.Error("not told")
	}
	if err := idle.Close(); err != nil {
		t.Error(err)
	}
	if err := idle.Wait(); err != nil {
		t.Error(err)
	}
}

package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailstead/imapserver/store"
)

// withOutbox has a session's mail sent to a list. What has "refuse" in it is not
// sent, and of what has "lost" in it nobody knows.
func withOutbox(s *server, multiple bool) *[]string {
	sent := new([]string)
	refused := errors.New("no such recipient")
	s.params.Outbox = &Outbox{
		Mailbox: "Outbox", Header: "X-IMAP-Sender", Multiple: multiple,
		Send: func(_ context.Context, message []byte) error {
			switch text := string(message); {
			case strings.Contains(text, "refuse"):
				return refused
			case strings.Contains(text, "lost"):
				return errors.New("no answer")
			}
			*sent = append(*sent, string(message))
			return nil
		},
		Unsent: func(err error) bool { return errors.Is(err, refused) },
	}
	return sent
}

// What is put into the outbox is sent once, as it came, and kept there.
func TestOutbox(t *testing.T) {
	s := newServer(t)
	sent := withOutbox(s, false)
	s.deliver("1.M1P1.host", "To: bob@example.org\n\nfrom a folder\n")
	s.deliver("2.M1P1.host", "To: bob@example.org\n\nrefuse\n")
	c := s.connect()
	c.ok("CREATE Outbox")
	c.ok("APPEND Outbox {34+}\r\nTo: bob@example.org\r\n\r\nby APPEND\r\n")
	c.ok("SELECT INBOX")
	c.ok("COPY 1 Outbox")
	c.want("COPY 2 Outbox", "a NO [CANNOT] not sent: no such recipient")
	c.want("APPEND Outbox {33+}\r\nTo: bob@example.org\r\n\r\nrefuse 2\r\n", "a NO [CANNOT] not sent: no such recipient")
	c.want("COPY 1:2 Outbox", "a NO [CANNOT] only one message at a time is sent")
	c.want("APPEND Outbox {12+}\r\nTo: a\r\n\r\n1\r\n {12+}\r\nTo: a\r\n\r\n2\r\n", "a NO [CANNOT] only one message at a time is sent")
	if answer := c.do("APPEND Outbox {6+}\r\nlost\r\n"); !strings.Contains(answer, "a NO") || strings.Contains(answer, "not sent") {
		t.Errorf("lost: %s", answer)
	}
	c.ok("MOVE 1 Outbox")
	c.want("STATUS Outbox (MESSAGES)", "* STATUS \"Outbox\" (MESSAGES 3)\na OK STATUS completed")
	want := []string{
		"X-IMAP-Sender: alice\nTo: bob@example.org\n\nby APPEND\n",
		"X-IMAP-Sender: alice\nTo: bob@example.org\n\nfrom a folder\n",
		"X-IMAP-Sender: alice\nTo: bob@example.org\n\nfrom a folder\n",
	}
	if got := strings.Join(*sent, "|"); got != strings.Join(want, "|") {
		t.Errorf("sent %q", got)
	}
}

// Several messages are sent by one command only where that is asked for.
func TestOutboxMultiple(t *testing.T) {
	s := newServer(t)
	sent := withOutbox(s, true)
	s.deliver("1.M1P1.host", "To: a@example.org\n\n1\n")
	s.deliver("2.M1P1.host", "To: b@example.org\n\n2\n")
	c := s.connect()
	c.ok("CREATE Outbox")
	c.ok("SELECT INBOX")
	c.ok("COPY 1:2 Outbox")
	if len(*sent) != 2 {
		t.Errorf("sent %q", *sent)
	}
	c.want("COPY 1:2 Nowhere", "a NO [TRYCREATE] no such mailbox")
	c.ok("DELETE Outbox")
	c.want("COPY 1:2 Outbox", "a NO [TRYCREATE] no such mailbox")
	if len(*sent) != 2 {
		t.Errorf("sent although there is no outbox: %q", *sent)
	}
}

// What another session has expunged is passed over where it is named by its UID
// (RFC 9051 §6.4.9), and what was sent is not sent again.
func TestOutboxGone(t *testing.T) {
	s := newServer(t)
	sent := withOutbox(s, true)
	for i := range 3 {
		s.deliver(fmt.Sprintf("%d.M1P1.host", i+1), fmt.Sprintf("To: a@example.org\n\n%d\n", i+1))
	}
	c, other := s.connect(), s.connect()
	c.ok("CREATE Outbox")
	c.ok("SELECT INBOX")
	other.ok("SELECT INBOX")
	other.ok(`UID STORE 2 +FLAGS.SILENT (\Deleted)`)
	other.ok("EXPUNGE")
	c.want("UID COPY 2 Outbox", "* 2 EXPUNGE\n* 2 RECENT\na OK UID COPY completed")
	other.ok(`UID STORE 3 +FLAGS.SILENT (\Deleted)`)
	other.ok("EXPUNGE")
	if answer := c.do("UID MOVE 1,3 Outbox"); !strings.Contains(answer, "COPYUID ") || !strings.HasSuffix(answer, "a OK UID MOVE completed") {
		t.Error(answer)
	}
	if len(*sent) != 1 || !strings.HasSuffix((*sent)[0], "\n1\n") {
		t.Errorf("sent %q", *sent)
	}
	c.want("STATUS Outbox (MESSAGES)", "* STATUS \"Outbox\" (MESSAGES 1)\na OK STATUS completed")
	s.deliver("4.M1P1.host", "To: a@example.org\n\n4\n")
	c.ok("NOOP")
	other.ok("NOOP")
	s.params.Outbox.Send = func(context.Context, []byte) error {
		other.ok(`STORE 1 +FLAGS.SILENT (\Deleted)`)
		other.ok("EXPUNGE")
		return nil
	}
	if answer := c.do("UID COPY 4 Outbox"); !strings.Contains(answer, "a NO the message was sent, but is not kept: ") {
		t.Errorf("expunged while it was sent: %s", answer)
	}
}

// A message that was sent and cannot be kept is told to be sent: who tried again
// would send it twice.
func TestOutboxNotKept(t *testing.T) {
	s := newServer(t)
	sent := withOutbox(s, false)
	s.deliver("1.M1P1.host", "To: bob@example.org\n\nfrom a folder\n")
	c := s.connect()
	c.ok("CREATE Outbox")
	c.ok("SELECT INBOX")
	if err := s.params.Account.SetQuota(store.Limits{Messages: 1}); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"APPEND Outbox {34+}\r\nTo: bob@example.org\r\n\r\nby APPEND\r\n", "COPY 1 Outbox"} {
		if answer := c.do("%s", command); !strings.Contains(answer, "a NO the message was sent, but is not kept: ") {
			t.Errorf("%s: %s", command, answer)
		}
	}
	c.want("STATUS Outbox (MESSAGES)", "* STATUS \"Outbox\" (MESSAGES 0)\na OK STATUS completed")
	if len(*sent) != 2 {
		t.Errorf("sent %q", *sent)
	}
}

// What goes into somebody else's mailbox of that name is not sent.
func TestOutboxIsOwn(t *testing.T) {
	s := newServer(t)
	withOutbox(s, false)
	one := session{Params: s.params}
	for own, want := range map[bool]bool{true: true, false: false} {
		if got := one.sends(place{home: home{own: own}, name: "Outbox"}); got != want {
			t.Errorf("own %v: %v", own, got)
		}
	}
}

// Of large messages, no more than two of all sessions are in memory while sendmail takes its
// time.
func TestOutboxLarge(t *testing.T) {
	s := newServer(t)
	withOutbox(s, false)
	var inside, most atomic.Int32
	goOn := make(chan struct{})
	s.params.Outbox.Send = func(context.Context, []byte) error {
		most.Store(max(most.Load(), inside.Add(1)))
		defer inside.Add(-1)
		<-goOn
		return nil
	}
	s.connect().ok("CREATE Outbox")
	text := "To: bob@example.org\r\n\r\n" + strings.Repeat("large\r\n", 200_000)
	var clients []*peer
	for range 5 {
		c := s.connect()
		c.send(fmt.Sprintf("a APPEND Outbox {%d+}\r\n%s\r\n", len(text), text))
		clients = append(clients, c)
	}
	time.Sleep(300 * time.Millisecond)
	if n := inside.Load(); n != 2 {
		t.Errorf("%d are being sent", n)
	}
	close(goOn)
	for _, c := range clients {
		if said := c.answer("a"); !strings.HasPrefix(said, "a OK ") {
			t.Errorf("%q", said)
		}
	}
	if most.Load() > 2 || len(sending) > 0 {
		t.Errorf("%d were sent at once, and %d places were not given back", most.Load(), len(sending))
	}
}

package session

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// A mailbox that cannot be read any more has no news; the others have.
func TestNotifyOfUnreadable(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	for _, name := range []string{"", ".Bad", ".Good"} {
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(dir, name, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	notifier := store.NewNotifier(log)
	t.Cleanup(notifier.Close)
	account, err := store.Open(t.Context(), store.Options{Maildir: dir, Log: log, Notifier: notifier})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { account.Close() })
	c := connect(t, Params{Account: account, User: "alice", Log: log})
	c.ok("NOTIFY SET (PERSONAL (MessageNew MessageExpunge))")
	cur := filepath.Join(dir, ".Bad", "cur")
	if err := errors.Join(os.Remove(cur), os.WriteFile(cur, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".Bad", ".Good"} {
		if err := os.WriteFile(filepath.Join(dir, name, "new", "1000.M1P1.host"), []byte("Subject: x\n\nx\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for {
		line := c.line()
		if strings.HasPrefix(line, `* STATUS "Good" (MESSAGES 1 `) {
			break
		}
		if strings.Contains(line, "OVERFLOW") {
			t.Fatal(line)
		}
	}
}

// A subscribed mailbox that is gone and subscribed no more, when somebody looks, is told.
func TestNotifyOfSubscribedGone(t *testing.T) {
	s := newServer(t)
	c := s.connect()
	c.ok("CREATE Gone")
	c.ok("SUBSCRIBE Gone")
	c.ok("NOTIFY SET (SUBSCRIBED (MailboxName))")
	c.send("a NOOP\r\na NO") // and it waits for the rest
	c.answer("a")
	if err := errors.Join(s.account.Subscribe(t.Context(), "Gone", false), s.account.Delete(t.Context(), "Gone")); err != nil {
		t.Fatal(err)
	}
	c.send("OP\r\n")
	compare(t, "NOOP", c.answer("a"), `* LIST (\NonExistent) "." "Gone"`+"\na OK NOOP completed")
}

// To subscribe no more to a mailbox that is gone is a change of subscriptions (RFC 5465
// §5.5), and none of mailboxes.
func TestNotifyOfGoneUnsubscribed(t *testing.T) {
	for events, want := range map[string]string{"SubscriptionChange": `* LIST (\NonExistent) "." "Gone"` + "\n", "MailboxName": ""} {
		s := newServer(t)
		c := s.connect()
		c.ok("CREATE Gone")
		c.ok("SUBSCRIBE Gone")
		c.ok("DELETE Gone")
		c.ok("NOTIFY SET (PERSONAL (%s))", events)
		c.send("a NOOP\r\na NO") // and it waits for the rest
		c.answer("a")
		if err := s.account.Subscribe(t.Context(), "Gone", false); err != nil {
			t.Fatal(err)
		}
		c.send("OP\r\n")
		compare(t, events, c.answer("a"), want+"a OK NOOP completed")
	}
}

// A change elsewhere costs next to nothing for a name that has not changed: no look at
// the rights, which are those of each name above it.
func TestNotifyOfNothing(t *testing.T) {
	s := &session{notify: &notification{groups: []wire.NotifyGroup{{
		Filter: wire.MailboxFilter{Kind: wire.FilterPersonal}, Events: []wire.NotifyEvent{wire.EventMailboxName},
	}}}}
	e := store.Entry{Name: "a" + strings.Repeat(".a", 124), Exists: true, Selectable: true}
	s.notify.before = map[string]store.Entry{e.Name: e}
	if err := s.tellEntry(t.Context(), &node{Entry: e}); err != nil { // without an account
		t.Error(err)
	}
}

// What NOTIFY is to tell of a mailbox costs nothing for the names of others, and the first
// group that has the mailbox decides.
func TestNotifyManyNames(t *testing.T) {
	server := newServer(t)
	s := &session{Params: server.params}
	s.Limits = &wire.PostAuth
	c := &wire.Notify{}
	add := func(kind wire.FilterKind, events []wire.NotifyEvent, names ...string) {
		c.Groups = append(c.Groups, wire.NotifyGroup{Filter: wire.MailboxFilter{Kind: kind, Names: names}, Events: events})
	}
	named, changed := []wire.NotifyEvent{wire.EventMailboxName}, []wire.NotifyEvent{wire.EventSubscriptionChange}
	long := strings.Repeat("a", 40)
	add(wire.FilterSubtree, nil, "none.of")
	add(wire.FilterMailboxes, named, "a", "some")
	for range 28 {
		var names []string
		for i := range 1000 {
			names = append(names, fmt.Sprint(long, i))
		}
		add(wire.FilterSubtree, changed, names...)
	}
	add(wire.FilterSubtree, changed, "none", "some", "some")
	if _, err := s.setNotify(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.endNotify)
	n := s.notify
	if n := testing.AllocsPerRun(3, func() { n.watches("b." + long) }); n > 2 {
		t.Errorf("%v allocations", n)
	}
	for name, want := range map[string][3]bool{ // MailboxName, SubscriptionChange, any
		"none": {false, true, true}, "none.of": {}, "none.of.x": {}, "none.offer": {false, true, true}, "nonesuch": {},
		"some": {true, true, true}, "some.x.y": {false, true, true}, "a": {true, false, true}, "a.b": {}, long: {}, long + "7.x": {false, true, true},
	} {
		have := [3]bool{n.wants(name, wire.EventMailboxName), n.wants(name, wire.EventSubscriptionChange), n.watches(name)}
		if have != want {
			t.Errorf("%s: %v, want %v", name, have, want)
		}
	}
}

// Once IDLE has begun, what fails is told by BYE: a tagged answer would make the client's
// DONE a bad command.
func TestIdleOfUnreadable(t *testing.T) {
	s := newServer(t)
	c := s.connect()
	c.ok("SELECT INBOX")
	cur := filepath.Join(s.maildir, "cur")
	if err := errors.Join(os.Remove(cur), os.WriteFile(cur, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	c.send("a IDLE\r\n")
	if got := c.line(); got != "+ idling" {
		t.Error(got)
	}
	if got := c.line(); !strings.HasPrefix(got, "* BYE ") {
		t.Error(got)
	}
}

// What is known of the list has no names in it that are only above others, and no more
// mailboxes than may be watched.
func TestNotifyOfDeep(t *testing.T) {
	s := newServer(t)
	deep := "a" + strings.Repeat(".a", 100)
	if err := s.account.Create(t.Context(), deep); err != nil {
		t.Fatal(err)
	}
	of := &session{Params: s.params, w: wire.NewWriter(io.Discard), conn: newConn(nil)}
	limits := wire.PostAuth
	limits.Notify = 2
	of.Limits = &limits
	c := &wire.Notify{Groups: []wire.NotifyGroup{{Filter: wire.MailboxFilter{Kind: wire.FilterPersonal}, Events: []wire.NotifyEvent{wire.EventMailboxName}}}}
	if _, err := of.setNotify(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(of.endNotify)
	if err := of.tellList(t.Context()); err != nil || len(of.notify.list) != 2 {
		t.Errorf("%d names are known: %v", len(of.notify.list), err)
	}
	if err := s.account.Create(t.Context(), "more"); err != nil {
		t.Fatal(err)
	}
	if err := of.tellNews(t.Context()); err != nil || of.notify.feed != nil {
		t.Errorf("more mailboxes than may be watched: %v", err)
	}
}

// TestNotifyHeldBack: an EXPUNGE that the answer to a command could not have is told behind
// it, though nothing happens any more.
func TestNotifyHeldBack(t *testing.T) {
	s := newServer(t)
	c, other := s.connect(), s.connect()
	c.ok("SELECT INBOX")
	c.ok("NOTIFY SET (selected (MessageNew MessageExpunge))")
	other.ok("SELECT INBOX")
	for range 20 {
		other.append("INBOX", `(\Deleted) `, hello) // which is told, and then nothing for a moment
		for !strings.HasSuffix(c.line(), " EXISTS") {
		}
		other.ok("NOOP")
		other.ok("EXPUNGE")
		said := c.do("UID SEARCH 1:*")
		for !strings.Contains(said, " EXPUNGE") {
			said += c.line()
		}
	}
}

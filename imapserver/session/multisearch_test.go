package session

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// newMultiSearch is an ESEARCH of a client that has hung up.
func newMultiSearch(s *server) *multiSearch {
	gone := hungUpClient()
	of := &session{Params: s.params, conn: newConn(gone), w: wire.NewWriter(io.Discard)}
	of.Limits = &wire.PostAuth
	c := &wire.ESearch{}
	c.Key, c.Return = wire.SearchKey{Op: wire.SearchAll}, &wire.SearchReturn{Count: true}
	return &multiSearch{s: of, c: c, progress: of.newProgress("a", 0), done: map[string]bool{}, lists: map[string][]store.Entry{}}
}

// TestMultiSearchLists holds that the mailboxes are listed once, whatever filters there are.
func TestMultiSearchLists(t *testing.T) {
	s := newServer(t)
	for i := range 10 {
		if err := s.account.Create(t.Context(), fmt.Sprint("Box", i)); err != nil {
			t.Fatal(err)
		}
	}
	m := newMultiSearch(s)
	all := wire.MailboxFilter{Kind: wire.FilterPersonal}
	if err := m.filter(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	again := testing.AllocsPerRun(5, func() {
		if err := m.filter(t.Context(), all); err != nil {
			t.Fatal(err)
		}
	})
	if again > 50 { // 11 keys, and not a mailbox is looked at
		t.Errorf("%v allocations for the same mailboxes again", again)
	}
}

// TestMultiSearchForNobody ends an ESEARCH that finds nothing when no one waits for it.
func TestMultiSearchForNobody(t *testing.T) {
	m := newMultiSearch(newServer(t))
	for _, kind := range []wire.FilterKind{wire.FilterMailboxes, wire.FilterSubtree} {
		m.progress.looked = m.progress.looked.Add(-lookEvery)
		names := slices.Repeat([]string{"none"}, 20)
		if err := m.filter(t.Context(), wire.MailboxFilter{Kind: kind, Names: names}); !errors.Is(err, errHungUp) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	var err error
	m.progress.looked = m.progress.looked.Add(-lookEvery)
	for range 20 {
		if err = m.filter(t.Context(), wire.MailboxFilter{Kind: wire.FilterSubscribed}); err != nil {
			break
		}
	}
	if !errors.Is(err, errHungUp) {
		t.Errorf("many filters: %v", err)
	}
}

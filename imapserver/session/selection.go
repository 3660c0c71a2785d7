package session

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// selection is the selected mailbox and what the client was told of it.
type selection struct {
	home
	view     *store.View
	rights   store.Rights
	changes  uint64    // of rights in the account, as of the last look at them
	reviewed time.Time // when that was
	release  func()    // gives the account back; nil: it is the session's own
	counts
	fresh    imap.UID // NOTIFY has items of the messages from here on to tell; 0 none
	ahead    bool     // mod-sequences were told since tellWithheld
	keywords []imap.Flag
	saved    imap.UIDSet             // what "$" means
	live     []*liveSearch           // searches whose results are kept up to date
	changed  []imap.UID              // messages whose flags have changed since those were
	kept     atomic.Pointer[content] // a message that is being fetched in pieces
	forget   *time.Timer             // lets it go; nil: nothing was ever kept
}

// counts is what the client was told of how many messages there are.
type counts struct {
	recent int
	exists int
	// aside: the last EXISTS stood in the answer to a command that is not about new messages.
	aside bool
}

// deselect gives the selected mailbox back, if there is one.
func (s *session) deselect() {
	if s.selected == nil {
		return
	}
	if s.selected.forget != nil {
		s.selected.forget.Stop()
	}
	s.selected.drop()
	s.notify.left(s.selected)
	s.selected.view.Close()
	if s.selected.release != nil {
		s.selected.release()
	}
	s.selected = nil
}

// tell sends the untagged updates that a command with these flags may send.
func (s *session) tell(ctx context.Context, flags wire.CommandFlag) error {
	if flags&wire.NoPoll != 0 {
		return nil
	}
	switch {
	case s.selected == nil:
	case s.notify.ofSelected() || flags&wire.Removes != 0:
		if err := s.poll(ctx, flags&wire.UsesSeq == 0, flags&wire.Scans != 0); err != nil {
			return err
		}
	default:
		s.tellWithheld()
	}
	select {
	case <-s.notify.wake():
		return s.tellNews(ctx)
	default:
		return nil
	}
}

// poll brings the view up to date and tells the client what has changed.
func (s *session) poll(ctx context.Context, expunge, scan bool) error {
	if err := s.review(); err != nil {
		return err
	}
	updates, err := s.selected.view.Poll(ctx, expunge, scan)
	if err != nil {
		return s.gone(err)
	}
	s.selected.noteLive(updates)
	s.tellRemoved(updates)
	s.writeUpdates(updates)
	if err := s.tellLive(ctx, s.newProgress("", 0)); err != nil {
		return err
	}
	if err := s.tellFresh(ctx, nil); err != nil {
		return err
	}
	s.tellWithheld()
	return nil
}

// pollFlags does so where the session has changed flags itself, and tells what others
// have changed. Of messages that come and go, if NOTIFY does not ask for them, the view is not told either.
func (s *session) pollFlags(ctx context.Context) error {
	v, poll := s.selected, s.selected.view.PollFlags
	if s.notify.ofSelected() {
		poll = func(ctx context.Context) ([]store.Update, error) { return v.view.Poll(ctx, false, false) }
	}
	updates, err := poll(ctx)
	if err != nil {
		return s.gone(err)
	}
	v.noteLive(updates)
	s.writeUpdates(others(updates))
	return nil
}

// gone ends the session where its mailbox is no more: there is no other way to
// tell a client that (RFC 2180 §3.3).
func (s *session) gone(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return &wire.ByeError{Text: "the selected mailbox has been deleted"}
	}
	return err
}

// writeUpdates tells updates in their order. Flags are looked up by UID: the
// number in an update is that of its moment, the view is further already.
func (s *session) writeUpdates(updates []store.Update) {
	if len(updates) == 0 {
		return
	}
	s.writeKeywords()
	updates = s.writeExpunges(updates)
	for _, u := range updates {
		switch u.Kind {
		case store.UpdateExists:
			s.writeCount(uint64(u.Seq), "EXISTS")
			s.selected.aside = s.command != "IDLE" && s.command != "NOOP" && s.command != "APPEND"
			s.noteFresh(int(u.Seq))
		case store.UpdateFlags:
			switch now, ok := s.selected.view.Seq(u.UID); {
			case !ok:
			case s.notify.ofFlags():
				s.writeFlags(u.Seq, s.selected.view.At(now))
			default:
				s.selected.view.Omit(now)
			}
		}
	}
	if recent := s.selected.view.Recent(); recent != s.selected.recent && !s.rev2() {
		s.selected.recent = recent
		s.writeCount(uint64(recent), "RECENT")
	}
}

// writeExpunges tells of the messages that are gone, which come first, and gives
// the other updates.
func (s *session) writeExpunges(updates []store.Update) []store.Update {
	n := slices.IndexFunc(updates, func(u store.Update) bool { return u.Kind != store.UpdateExpunge })
	if n < 0 {
		n = len(updates)
	}
	s.selected.exists -= n
	if s.on(imap.CapQResync) || s.on(imap.CapUIDOnly) {
		var gone imap.UIDSet
		for _, u := range slices.Backward(updates[:n]) { // they come from the end
			gone.AddNum(u.UID)
		}
		s.writeVanished(gone, false)
		return updates[n:]
	}
	for _, u := range updates[:n] {
		s.writeCount(uint64(u.Seq), "EXPUNGE")
	}
	return updates[n:]
}

// writeCount writes a response of a number and a word.
func (s *session) writeCount(n uint64, word string) {
	s.w.Raw("* ")
	s.w.Number(n)
	s.w.Raw(" ")
	s.w.Raw(word)
	s.w.CRLF()
}

// writeFlags tells the flags of a message; in the answer to a UID command its
// UID too (RFC 9051 §6.4.9), and to a client that knows mod-sequences both
// (RFC 7162 §3.1). IMAP4rev2 and NOTIFY want the UID wherever nobody has asked
// (RFC 9051 §7.5.2, RFC 5465 §5.1); an older client has the answer it always had.
func (s *session) writeFlags(seq store.SeqNum, m store.Message) {
	s.beginFetch(seq, m.UID)
	condStore := s.on(imap.CapCondStore)
	if (s.byUID || condStore || s.rev2() || s.notify != nil) && !s.on(imap.CapUIDOnly) {
		s.w.Raw("UID ")
		s.w.Number(uint64(m.UID))
		s.w.Raw(" ")
	}
	s.w.Raw("FLAGS ")
	s.w.Flags(m.Flags, m.Recent)
	if condStore {
		s.w.Raw(" MODSEQ ")
		s.writeModSeq(m.ModSeq)
	}
	s.w.Raw(")\r\n")
}

// writeKeywords tells the flags of the mailbox, if keywords have come that the
// client was not told of.
func (s *session) writeKeywords() {
	v := s.selected
	now := v.view.Keywords()
	if !slices.ContainsFunc(now, func(f imap.Flag) bool { return !slices.Contains(v.keywords, f) }) {
		return
	}
	v.keywords = slices.Clone(now)
	s.writeMailboxFlags()
}

func (s *session) writeMailboxFlags() {
	v := s.selected
	flags := slices.Concat(wire.SystemFlags, v.keywords)
	s.w.Raw("* FLAGS ")
	s.w.Flags(flags, false)
	s.w.CRLF()
	s.w.Raw("* OK [PERMANENTFLAGS ")
	if !v.view.KeywordsFull() { // RFC 9051 §7.1
		flags = append(flags, imap.FlagWildcard)
	}
	if v.view.ReadOnly() {
		flags = nil
	}
	s.w.Flags(permitted(flags, v.rights), false)
	s.w.Raw("] flags that are kept\r\n")
}

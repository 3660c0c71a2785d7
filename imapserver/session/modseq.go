package session

import (
	"context"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// Codes of RFC 7162 §7.
const (
	codeHighestModSeq = "HIGHESTMODSEQ %d"
	codeModified      = "MODIFIED %s"
)

// implied enables CONDSTORE where a command makes use of it (RFC 7162 §3.1), and
// refuses QRESYNC to a client that has not enabled it (RFC 7162 §3.2.3).
func (s *session) implied(req wire.Request) error {
	if slices.Contains(req.Uses, imap.CapQResync) && !s.on(imap.CapQResync) {
		return bad(req.Row.Name + ": QRESYNC is not enabled")
	}
	if slices.Contains(req.Uses, imap.CapCondStore) {
		s.turnOn(imap.CapCondStore)
	}
	return nil
}

// tellHighest tells up to which mod-sequence the client has been told
// everything, if there is a selected mailbox.
func (s *session) tellHighest() {
	if s.selected != nil {
		s.writeCode("highest mod-sequence", codeHighestModSeq, s.selected.view.HighestModSeq())
	}
}

// tellWithheld does so where the client was told of a change, and not of an earlier one:
// else it would take the mod-sequence of the one for that of both (RFC 7162 §3.2 and §6).
func (s *session) tellWithheld() {
	v := s.selected
	if s.on(imap.CapCondStore) && v.ahead && v.view.Withholds() {
		s.tellHighest()
	}
	v.ahead = false
}

// removedCode is the code that says what the mod-sequence of an expunge is, for
// the tagged OK of a command that has removed messages (RFC 7162 §3.2.7).
func (s *session) removedCode(row *wire.CommandRow) imap.ResponseCode {
	if row.Flags&wire.Removes == 0 || s.selected == nil || !s.on(imap.CapQResync) {
		return ""
	}
	return imap.ResponseCode(fmt.Sprintf(codeHighestModSeq, s.selected.view.HighestModSeq()))
}

// writeModSeq writes the value of MODSEQ (RFC 7162 §7).
func (s *session) writeModSeq(n store.ModSeq) {
	s.selected.ahead = true
	s.w.Raw("(")
	s.w.Number(uint64(n))
	s.w.Raw(")")
}

// writeChange tells the mod-sequence of a message, as a silent STORE does once
// CONDSTORE is enabled (RFC 7162 §3.1.3).
func (s *session) writeChange(seq store.SeqNum, m store.Message) {
	s.beginFetch(seq, m.UID)
	if !s.on(imap.CapUIDOnly) {
		s.w.Raw("UID ")
		s.w.Number(uint64(m.UID))
		s.w.Raw(" ")
	}
	s.w.Raw("MODSEQ ")
	s.writeModSeq(m.ModSeq)
	s.w.Raw(")\r\n")
}

// writeVanished tells UIDs of messages that are gone; earlier says that the
// client has not been told of them in this session (RFC 7162 §3.2.10).
func (s *session) writeVanished(uids imap.UIDSet, earlier bool) {
	if len(uids) == 0 {
		return
	}
	s.w.Raw("* VANISHED ")
	if earlier {
		s.w.Raw("(EARLIER) ")
	}
	s.w.Raw(uids.String())
	s.w.CRLF()
}

// resync tells what has happened to the mailbox since the client was here
// (RFC 7162 §3.2.5): as UID FETCH with CHANGEDSINCE and VANISHED does. A
// mod-sequence that the mailbox has not come to yet is of another server.
func (s *session) resync(ctx context.Context, q *wire.QResync) error {
	view := s.selected.view
	if q.UIDValidity != view.UIDValidity() {
		return nil
	}
	since := view.Since(store.ModSeq(q.ModSeq))
	if since > view.HighestModSeq() {
		since = 0
	}
	gone, err := view.Vanished(since, store.Known{UIDs: q.Known, SeqMatch: q.Seqs, UIDMatch: q.UIDs})
	if err != nil {
		return err
	}
	s.writeVanished(gone, true)
	if q.Known == nil {
		q.Known = imap.UIDSet{{Start: 1}}
	}
	items := []wire.FetchItem{{Kind: wire.FetchUID, Name: string(wire.FetchUID)}, {Kind: wire.FetchFlags, Name: string(wire.FetchFlags)}}
	f := s.newFetch(&wire.Fetch{Items: items})
	defer f.kept.Close()
	f.since = since
	return f.rows(ctx, uidSpans(view, q.Known))
}

// vanished answers the modifier VANISHED (RFC 7162 §3.2.6).
func (f *fetch) vanished(set imap.UIDSet) error {
	if imap.IsSearchRes(set) {
		set = f.s.selected.saved
	}
	known := make(imap.UIDSet, len(set))
	for i, r := range set {
		if r.Stop == 0 {
			r.Stop = f.view.UIDNext()
			if r.Start == 0 || r.Start > r.Stop { // "*", or one that has the last message in it
				r.Start = r.Stop
			}
		}
		known[i] = r
	}
	gone, err := f.view.Vanished(f.since, store.Known{UIDs: known})
	if err == nil {
		f.s.writeVanished(gone, true)
	}
	return err
}

// modified makes the code that names the messages which a STORE has left.
func (s *session) modified(uids []imap.UID) imap.ResponseCode {
	if len(uids) == 0 {
		return ""
	}
	nums := make([]uint32, len(uids))
	for i, uid := range uids {
		nums[i] = uint32(uid)
		if !s.byUID {
			seq, _ := s.selected.view.Seq(uid)
			nums[i] = uint32(seq)
		}
	}
	return imap.ResponseCode(fmt.Sprintf(codeModified, imap.SeqSet(appendRuns(nil, nums))))
}

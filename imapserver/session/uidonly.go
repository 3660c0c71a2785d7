package session

import (
	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// codeUIDRequired is the code of RFC 9586 §3.1.
const codeUIDRequired imap.ResponseCode = "UIDREQUIRED"

// numbered refuses a command that is about sequence numbers, or whose answer
// would be, to a client that has enabled UIDONLY (RFC 9586 §3).
func (s *session) numbered(req wire.Request) error {
	if !s.on(imap.CapUIDOnly) || !req.BySeq && req.Row.Flags&wire.UsesSeq == 0 {
		return nil
	}
	return &imap.Error{Type: imap.StatusResponseTypeBad, Code: codeUIDRequired, Text: "UIDONLY is enabled"}
}

// beginFetch begins a FETCH response, or with UIDONLY what stands in its place
// (RFC 9586 §3.3).
func (s *session) beginFetch(seq store.SeqNum, uid imap.UID) {
	s.w.Raw("* ")
	if s.on(imap.CapUIDOnly) {
		s.w.Number(uint64(uid))
		s.w.Raw(" UIDFETCH (")
		return
	}
	s.w.Number(uint64(seq))
	s.w.Raw(" FETCH (")
}

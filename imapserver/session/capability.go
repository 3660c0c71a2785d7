package session

import (
	"slices"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// capability is CAPABILITY (RFC 9051 §6.1.1).
func (s *session) capability() (imap.ResponseCode, error) {
	without := slices.Clip(s.Without)
	if s.compressed {
		without = append(without, imap.CapUnauthenticate)
	}
	s.w.Raw("* CAPABILITY ")
	s.w.Bytes(wire.AppendCapabilities(nil, wire.PhaseAuth, without...))
	s.w.CRLF()
	return "", nil
}

// uidPlus leaves out a code of UIDPLUS where that is switched off, or where the user may
// not select the mailbox that it tells of (RFC 9051 §6.3.12 and §6.4.7).
func (s *session) uidPlus(code imap.ResponseCode, to store.Rights) imap.ResponseCode {
	if s.off(imap.CapUIDPlus) || !to.Has(store.RightRead) {
		return ""
	}
	return code
}

// id is ID (RFC 2971). What the client says of itself goes into the log.
func (s *session) id(c *wire.ID) (imap.ResponseCode, error) {
	if len(c.Params) > 0 {
		s.identified(c.Client())
	}
	s.w.Raw("* ID (\"name\" \"Mailstead\")\r\n")
	return "", nil
}

// namespace is NAMESPACE (RFC 2342): the personal one, that of other users if
// anything may be shared, and no shared ones.
func (s *session) namespace() (imap.ResponseCode, error) {
	s.w.Raw("* NAMESPACE ((")
	s.w.String(string(s.names))
	s.w.Raw(" \"" + delimiter + "\")) ")
	if s.Others != nil {
		s.w.Raw("((\"" + sharedPrefix + "\" \"" + delimiter + "\")) NIL\r\n")
	} else {
		s.w.Raw("NIL NIL\r\n")
	}
	return "", nil
}

package session

import "mailstead/imapserver/store"

// writeModSeq writes the value of MODSEQ (RFC 7162 §7).
func (s *session) writeModSeq(n store.ModSeq) {
	s.w.Raw("(")
	s.w.Number(uint64(n))
	s.w.Raw(")")
}

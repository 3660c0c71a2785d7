package session

import (
	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

const (
	// minBatch is the smallest batch that a client may ask for (RFC 10022 §3.1).
	minBatch = 500
	// maxBatches is how many messages the batches of a range may have together.
	maxBatches = 100_000

	codeTooFew  imap.ResponseCode = "TOOFEW"
	codeTooMany imap.ResponseCode = "TOOMANY"
)

// uidBatches is UIDBATCHES (RFC 10022): ranges of UIDs with as many messages
// each, the highest first. Together they have all UIDs below the highest one, so
// that nothing falls between two of them.
func (s *session) uidBatches(tag string, c *wire.UIDBatches) (imap.ResponseCode, error) {
	switch {
	case c.Size < minBatch:
		return "", no(codeTooFew, "a batch has 500 messages at least")
	case c.Last > 0 && uint64(c.Last-c.First+1)*uint64(c.Size) > maxBatches:
		return "", no(codeTooMany, "a range of batches has 100000 messages at most")
	}
	s.w.Raw("* UIDBATCHES (TAG ")
	s.w.String(tag)
	s.w.Raw(")")
	v := s.selected.view
	total, size := uint64(v.Len()), uint64(c.Size)
	sep := " "
	for k := uint64(c.First); (k-1)*size < total && (c.Last == 0 || k <= uint64(c.Last)); k++ {
		high := v.UIDAt(store.SeqNum(total - (k-1)*size))
		if k > 1 { // from where the batch before ends
			high = v.UIDAt(store.SeqNum(total-(k-1)*size+1)) - 1
		}
		low := imap.UID(1)
		if k*size < total {
			low = v.UIDAt(store.SeqNum(total - k*size + 1))
		}
		s.w.Raw(sep)
		s.w.Number(uint64(high))
		s.w.Raw(":")
		s.w.Number(uint64(low))
		sep = ","
	}
	s.w.CRLF()
	return "", nil
}

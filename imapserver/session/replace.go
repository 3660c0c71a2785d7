package session

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/wire"
)

// replace is REPLACE and UID REPLACE (RFC 8508): a message is added, and once that
// survives a power cut another one is removed. APPENDUID is told before the poll
// at the command's end tells the rest.
func (s *session) replace(ctx context.Context, c *wire.Replace) (imap.ResponseCode, error) {
	err := s.receiveReplacement(ctx, c)
	if e := lost(c.Append.Close()); fatal(e) {
		return "", e
	}
	return "", tryCreate(err)
}

func (s *session) receiveReplacement(ctx context.Context, c *wire.Replace) error {
	if err := s.readOnly(); err != nil {
		return err
	}
	spans, err := s.selected.spans(c.Num)
	if err != nil {
		return err
	}
	if len(spans) == 0 {
		return no(imap.ResponseCodeNonExistent, "no such message")
	}
	r, err := s.newReceiver(ctx, c.Append)
	if err != nil {
		return err
	}
	defer r.abort()
	r.drafts[0].Replaces(s.selected.view, spans[0].first)
	code, err := r.commit(c.Append)
	if err != nil {
		return err
	}
	s.w.Status("*", imap.StatusResponseTypeOK, code, "replacement is there")
	return s.selected.view.Remove(ctx, spans[0].first)
}

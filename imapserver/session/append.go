package session

import (
	"context"
	"fmt"
	"io"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// append is APPEND (RFC 9051 §6.3.12). The message streams into the store. A
// mailbox that is missing is told before the client is asked for the message.
func (s *session) append(ctx context.Context, c *wire.Append) (imap.ResponseCode, error) {
	if c.Message.Size() == 0 {
		return "", s.decline(c.Message, no(imap.ResponseCodeCannot, "message is empty"))
	}
	var draft *store.Draft
	err := s.at(ctx, c.Mailbox, func(p place) (err error) {
		c.Flags = permitted(c.Flags, p.rights)
		draft, err = p.account.NewDraft(ctx, p.name)
		return err
	})
	if err != nil {
		return "", s.decline(c.Message, tryCreate(err))
	}
	defer draft.Abort()
	if err := receive(draft, c.Message); err != nil {
		return "", err
	}
	uidValidity, uid, err := draft.Commit(ctx, c.Flags, c.Date)
	if err != nil {
		return "", tryCreate(err)
	}
	return imap.ResponseCode(fmt.Sprintf("APPENDUID %d %d", uidValidity, uid)), nil
}

// decline refuses a message with the error given, unless the connection has one
// of its own.
func (s *session) decline(m *wire.Literal, err error) error {
	if e := lost(m.Close()); fatal(e) {
		return e
	}
	return err
}

// receive reads a message to its end, even where the draft does not take all of
// it: the client is in the middle of sending.
func receive(draft *store.Draft, m *wire.Literal) error {
	d := &sink{draft: draft}
	if _, err := io.Copy(d, m); err != nil {
		return lost(err)
	}
	if err := m.Close(); err != nil {
		return lost(err)
	}
	return d.err
}

// sink writes to a draft until that fails, and goes on taking octets.
type sink struct {
	draft *store.Draft
	err   error
}

func (d *sink) Write(p []byte) (int, error) {
	if d.err == nil {
		_, d.err = d.draft.Write(p)
	}
	return len(p), nil
}

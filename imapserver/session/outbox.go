package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
)

// Outbox is a mailbox of the user's own. What is put into it is sent, and then
// kept there, as with Courier.
type Outbox struct {
	Mailbox  string // the store's name
	Header   string // a field that tells who has sent, such as X-IMAP-Sender; "" for none
	Multiple bool   // one command may send several messages

	// Send sends a message with LF line ends to those whom its header names. It
	// returns once the message will be delivered. Where Unsent is true of the
	// error, it was not sent, and the text tells the user why.
	Send   func(ctx context.Context, message []byte) error
	Unsent func(err error) bool
}

var errSendOne = no(imap.ResponseCodeCannot, "only one message at a time is sent")

// sends tells whether what is put into the mailbox is sent.
func (s *session) sends(p place) bool {
	return s.Outbox != nil && p.own && p.name == s.Outbox.Mailbox
}

// send sends a message.
func (s *session) send(ctx context.Context, text []byte) error {
	if field := s.Outbox.Header; field != "" {
		text = append([]byte(field+": "+s.User+"\n"), text...)
	}
	err := s.Outbox.Send(ctx, text)
	switch {
	case err == nil:
		s.Log.Info("message sent", "octets", len(text))
		return nil
	case s.Outbox.Unsent(err):
		s.Log.Warn("message not sent", "err", err)
		return no(imap.ResponseCodeCannot, fmt.Sprintf("not sent: %v", err))
	}
	return err
}

// sendDrafts sends what an APPEND is about to add. It is kept only if it could
// be sent.
func (s *session) sendDrafts(ctx context.Context, drafts []*store.Draft) error {
	if len(drafts) > 1 && !s.Outbox.Multiple {
		return errSendOne
	}
	for _, d := range drafts {
		if err := s.sendOne(ctx, d.Size(), d.Text); err != nil {
			return err
		}
	}
	return nil
}

// sendOne sends a message of that size, which read gives.
func (s *session) sendOne(ctx context.Context, size int64, read func() ([]byte, error)) error {
	leave, err := sending.enter(ctx, size)
	if err != nil {
		return err
	}
	defer leave()
	text, err := read()
	if err != nil {
		return err
	}
	return s.send(ctx, text)
}

// sendCopies sends messages that are about to be copied to the outbox, and gives
// which: one that was named by its UID and is gone is passed over (RFC 9051 §6.4.9).
func (s *session) sendCopies(ctx context.Context, p place, seqs []store.SeqNum) (sent []store.SeqNum, err error) {
	if !p.account.Exists(ctx, p.name) {
		return nil, store.ErrNotFound
	}
	if len(seqs) > 1 && !s.Outbox.Multiple {
		return nil, errSendOne
	}
	for _, n := range seqs {
		err := s.sendOne(ctx, s.selected.view.DiskSize(n), func() ([]byte, error) {
			text, err := s.selected.view.Read(ctx, n)
			return bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), err
		})
		if s.byUID && errors.Is(err, store.ErrExpunged) {
			continue
		}
		if err != nil {
			return nil, err
		}
		sent = append(sent, n)
	}
	return sent, nil
}

// unkept is the answer where a message was sent and could not be kept: a client
// that tried again would send it twice.
func unkept(err error) error {
	return no("", fmt.Sprintf("the message was sent, but is not kept: %v", err))
}

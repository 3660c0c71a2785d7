package session

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/message"
	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// badURL is the answer to a URL of CATENATE that leads to nothing (RFC 4469 §4).
func badURL(url string) error {
	return no(imap.ResponseCode("BADURL "+url), "no such message, or no such part")
}

// url takes the octets that a URL names (RFC 4469 §3). It may name a mailbox that
// the user may read, or a message of the selected one.
func (r *receiver) url(to *sink, text string) error {
	u, err := wire.ParseURL(text)
	if err != nil {
		return badURL(text)
	}
	s := r.s
	if r.progress == nil {
		r.progress = s.newProgress("", 0)
	}
	if err := r.progress.look(); err != nil { // each part may be of a large message
		return err
	}
	found := false
	read := func(v *store.View) (err error) {
		found, err = s.copyURL(r.ctx, to, v, u)
		return err
	}
	switch {
	case u.Mailbox != "":
		err = s.readPlace(r.ctx, u.Mailbox, read)
	case s.selected != nil:
		if err := s.review(); err != nil {
			return err
		}
		if s.selected.rights.Has(store.RightRead) {
			err = read(s.selected.view)
		}
	}
	switch {
	case err != nil && r.ctx.Err() != nil:
		return r.ctx.Err()
	case err != nil || !found:
		return badURL(text)
	}
	return to.err
}

// readPlace calls f with a mailbox that the user may read.
func (s *session) readPlace(ctx context.Context, client string, f func(*store.View) error) error {
	need := s.need
	defer func() { s.need = need }()
	s.need = needOf("EXAMINE")
	return s.at(ctx, client, func(p place) error {
		v, err := p.account.Select(ctx, p.name, true)
		if err != nil {
			return err
		}
		defer v.Close()
		return f(v)
	})
}

// copyURL takes the octets of a message, or of its part, if they are there.
func (s *session) copyURL(ctx context.Context, to *sink, v *store.View, u wire.URL) (found bool, err error) {
	seq, ok := v.Seq(u.UID)
	if !ok || u.UIDValidity != 0 && u.UIDValidity != v.UIDValidity() {
		return false, nil
	}
	leave, err := parsing.enter(ctx, v.DiskSize(seq))
	if err != nil {
		return false, err
	}
	defer leave()
	b, err := v.Read(ctx, seq)
	if err != nil {
		return false, err
	}
	if !whole(u.Section) {
		if b, ok = message.Parse(b).Section(u.Section); !ok {
			return false, nil
		}
	}
	_, err = to.Write(cut(b, u.Section.Partial))
	return true, err
}

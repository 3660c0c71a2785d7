package session

import (
	"context"
	"fmt"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// copy is COPY, MOVE and their UID forms (RFC 9051 §6.4.7 and §6.4.8). MOVE
// tells COPYUID before the poll at its end tells what has gone. The UID forms pass
// over what others have expunged (RFC 9051 §6.4.9).
func (s *session) copy(ctx context.Context, tag string, c *wire.Copy) (imap.ResponseCode, error) {
	spans, err := s.selected.spans(c.Set)
	if err != nil {
		return "", err
	}
	if c.Move {
		if err := s.readOnly(); err != nil {
			return "", err
		}
	}
	if len(spans) == 0 {
		return "", nil
	}
	transfer := s.selected.view.Copy
	if c.Move {
		transfer = s.selected.view.Move
	}
	var done store.CopyResult
	var rights store.Rights // to the destination
	err = s.patiently(tag, func() error {
		return s.at(ctx, c.Mailbox, func(p place) (err error) {
			seqs, sends, to := numbers(spans), s.sends(p), p.target()
			rights = p.rights
			to.PassOver = s.byUID && !sends // what was sent and is gone is told not to be kept
			if sends {
				if seqs, err = s.sendCopies(ctx, p, seqs); err != nil {
					return err
				}
			}
			if done, err = transfer(ctx, seqs, to); err != nil && sends {
				err = unkept(err)
			}
			return err
		})
	})
	if err != nil {
		return "", tryCreate(err)
	}
	code := s.uidPlus(copyUID(done), rights)
	if c.Move && code != "" {
		s.w.Status("*", imap.StatusResponseTypeOK, code, "moved")
		return "", nil
	}
	return code, nil
}

// copyUID makes the code that says which UIDs the copies have (RFC 4315 §3).
func copyUID(r store.CopyResult) imap.ResponseCode {
	if len(r.Source) == 0 {
		return ""
	}
	var source, dest imap.SeqSet
	source, dest = appendRuns(source, r.Source), appendRuns(dest, r.Dest)
	return imap.ResponseCode(fmt.Sprintf("COPYUID %d %s %s", r.UIDValidity, source, dest))
}

// readOnly is the error of changing a mailbox that is open read-only.
func (s *session) readOnly() error {
	return s.selected.view.Refusal()
}

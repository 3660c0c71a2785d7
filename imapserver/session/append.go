package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/message"
	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// append is APPEND (RFC 9051 §6.3.12, RFC 3502). The messages stream into the
// store, which shows all of them or none. A mailbox that is missing is told before
// the client is asked for a message.
func (s *session) append(ctx context.Context, c *wire.Append) (imap.ResponseCode, error) {
	code, err := s.receive(ctx, c)
	if e := lost(c.Close()); fatal(e) {
		return "", e
	}
	return code, tryCreate(err)
}

func (s *session) receive(ctx context.Context, c *wire.Append) (imap.ResponseCode, error) {
	r, err := s.newReceiver(ctx, c)
	if err != nil {
		return "", err
	}
	defer r.abort()
	return r.commit(c)
}

// commit reads the messages and puts them into the mailbox.
func (r *receiver) commit(c *wire.Append) (imap.ResponseCode, error) {
	if err := r.messages(c); err != nil {
		return "", err
	}
	if r.sends {
		if err := r.s.sendDrafts(r.ctx, r.drafts); err != nil {
			return "", err
		}
	}
	uidValidity, uids, err := store.CommitAll(r.ctx, r.drafts)
	if err != nil && r.sends {
		err = unkept(err)
	}
	if err != nil {
		return "", err
	}
	return r.s.uidPlus(appendUID(uidValidity, uids), r.rights), nil
}

// appendUID makes the code that says which UIDs the messages have (RFC 4315 §3).
func appendUID(uidValidity uint32, uids []imap.UID) imap.ResponseCode {
	return imap.ResponseCode(fmt.Sprintf("APPENDUID %d %s", uidValidity, imap.SeqSet(appendRuns(nil, uids))))
}

// receiver takes the messages of an APPEND into drafts.
type receiver struct {
	ctx    context.Context
	s      *session
	rights store.Rights // to the mailbox
	sends  bool         // it is the outbox
	drafts []*store.Draft

	progress *progress // of what URLs name; nil: there was none yet
}

// newReceiver opens the draft of the first message.
func (s *session) newReceiver(ctx context.Context, c *wire.Append) (*receiver, error) {
	r := &receiver{ctx: ctx, s: s}
	err := s.at(ctx, c.Mailbox, func(p place) error {
		r.rights, r.sends = p.rights, s.sends(p)
		draft, err := p.account.NewDraft(ctx, p.name)
		if err == nil {
			r.drafts = append(r.drafts, draft)
		}
		return err
	})
	return r, err
}

func (r *receiver) abort() {
	for _, d := range r.drafts {
		d.Abort()
	}
}

// messages reads all messages of a command.
func (r *receiver) messages(c *wire.Append) error {
	for m := c.First; ; {
		if err := r.message(c, m); err != nil {
			return err
		}
		next, err := c.Next()
		if err != nil {
			return lost(err)
		}
		if next == nil {
			return nil
		}
		draft, err := r.drafts[0].Another()
		if err != nil {
			return err
		}
		r.drafts = append(r.drafts, draft)
		m = next
	}
}

// message reads a message into the last draft. What a file with LF line ends
// cannot hold may come as a literal8, or from a message that is there already:
// such a message is gathered first, to be looked at as a whole.
func (r *receiver) message(c *wire.Append, m *wire.AppendMessage) error {
	to := &sink{draft: r.drafts[len(r.drafts)-1], room: r.s.Limits.Message}
	if m.Gathered {
		to.gathered = &gathering{draft: to.draft}
		defer to.gathered.close()
	}
	for {
		p, err := m.Part()
		if err != nil {
			return lost(err)
		}
		if i := slices.IndexFunc(c.Uses(), r.s.off); i >= 0 {
			return bad("APPEND: unknown argument")
		}
		if p == nil {
			break
		}
		if err := r.part(to, p); err != nil {
			return err
		}
	}
	if to.room == r.s.Limits.Message {
		return errEmpty
	}
	return to.finish(r.ctx, permitted(m.Flags, r.rights), m)
}

// part reads a part of a message.
func (r *receiver) part(to *sink, p *wire.AppendPart) error {
	if p.Text == nil {
		return r.url(to, p.URL)
	}
	if p.Text.Size() == 0 && to.gathered == nil {
		return errEmpty
	}
	_, err := io.Copy(to, p.Text)
	return lost(err)
}

// errEmpty is the answer to a message without an octet.
var errEmpty = no(imap.ResponseCodeCannot, "message is empty")

// errTooBig is the answer to a message whose parts are too much together.
var errTooBig = no(imap.ResponseCodeTooBig, "message too large")

// sink writes to a draft until that fails, and goes on taking octets: the client
// is in the middle of sending.
type sink struct {
	draft    *store.Draft
	room     int64      // octets that may still come
	gathered *gathering // nil: octets go to the draft at once
	err      error
}

func (d *sink) Write(p []byte) (int, error) {
	d.room -= int64(len(p))
	switch {
	case d.room < 0:
		d.err = errTooBig
	case d.err != nil:
	case d.gathered != nil:
		d.err = d.gathered.write(p)
	default:
		_, d.err = d.draft.Write(p)
	}
	return len(p), nil
}

// gathering is what is gathered of a message: in a file once it is large, as a client may
// take its time, in many sessions.
type gathering struct {
	draft *store.Draft
	few   bytes.Buffer
	file  *os.File // nil: few has all of it
}

func (g *gathering) write(p []byte) (err error) {
	if g.file == nil && g.few.Len()+len(p) <= large {
		g.few.Write(p)
		return nil
	}
	if g.file == nil {
		if g.file, err = g.draft.Scratch(); err == nil {
			_, err = g.file.Write(g.few.Bytes())
		}
		g.few = bytes.Buffer{}
	}
	if err == nil {
		_, err = g.file.Write(p)
	}
	return err
}

// text writes what was gathered to the draft, as a file can hold it.
func (g *gathering) text(ctx context.Context) error {
	raw := g.few.Bytes()
	if g.file != nil {
		if err := parsing.take(ctx); err != nil {
			return err
		}
		defer parsing.give()
		size, err := g.file.Seek(0, io.SeekCurrent)
		raw = make([]byte, size)
		if err == nil {
			_, err = g.file.ReadAt(raw, 0)
		}
		if err != nil {
			return err
		}
	}
	text, err := message.Text(raw)
	if errors.Is(err, message.ErrEncoding) {
		return errEncoding
	}
	if err == nil {
		_, err = g.draft.Write(text)
	}
	return err
}

func (g *gathering) close() {
	if g.file != nil {
		g.file.Close()
	}
}

// finish makes the draft a message.
func (d *sink) finish(ctx context.Context, flags []imap.Flag, m *wire.AppendMessage) error {
	if d.err == nil && d.gathered != nil {
		d.err = d.gathered.text(ctx)
	}
	if d.err != nil {
		return d.err
	}
	return d.draft.Finish(flags, m.Date)
}

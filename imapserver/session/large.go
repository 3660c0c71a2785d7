package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/message"
	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// large is how many octets a message has on disk of which FETCH has no more in memory
// than the client is about to take: a client may take its time, in many sessions.
const large = 1 << 20

// slots are places for large messages that are in memory whole, of all sessions of
// the process.
type slots chan struct{}

var (
	parsing  = make(slots, 2) // for as long as it takes to parse, to search or to copy one
	sending  = make(slots, 2) // which are handed to sendmail
	decoding = make(slots, 2) // of which a client is sent a part decoded, or a long text
)

// decodePatience is how long a message waits for a place in decoding while slow clients are
// sent others, which they may be for as long as they like.
var decodePatience = 30 * time.Second

// decodeSlot takes a place in decoding for the row of a message, or says that there is none
// in time. Where a message of the command has gone without, the others do not wait as well.
func (f *fetch) decodeSlot(ctx context.Context, m *loaded) error {
	patience := decodePatience
	if f.missed != nil {
		patience = 0
	}
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := decoding.take(short)
	if err != nil && ctx.Err() == nil {
		err = no(imap.ResponseCodeLimit, "too many large messages are being sent, try again later")
	}
	m.decoded = err == nil
	return err
}

// enter takes a place for a message of that size, if it is large, and leave gives it back.
func (s slots) enter(ctx context.Context, size int64) (leave func(), err error) {
	if size <= large {
		return func() {}, nil
	}
	return s.give, s.take(ctx)
}

func (s slots) take(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s slots) give() { <-s }

// extract is what an item gives of a large message that was parsed.
type extract struct {
	text   []byte               // as it is
	off, n int64                // where text is nil: n octets of the message from off on
	fields *message.FieldFilter // what of these is given; nil: all
	kept   int64                // how many octets that is, if fields is not nil
	none   bool                 // there is no such part
}

// fewOctets is how long fields may be that are in memory while a client takes them, and not
// read from the file. maxExtracts is how many extracts are kept from one command to the next.
// longTexts is how long their texts may be together, ENVELOPE and BODYSTRUCTURE among them,
// without a place in decoding: a hostile header makes a hundred megaoctets of these, and
// fields of it may be asked for a thousand times at once.
const (
	fewOctets   = 16 << 10
	maxExtracts = 64
	longTexts   = 64 << 10
)

// errLong says that texts of a large message are long, and need a place.
var errLong = errors.New("long texts")

// extractName is the item without its <partial>. The name of a field may have a "<".
func extractName(item *wire.FetchItem) string {
	if item.Section == nil || item.Section.Partial == nil {
		return item.Name
	}
	return item.Name[:strings.LastIndexByte(item.Name, '<')]
}

// isExtract says that an item of a large message is made once, an extract.
func isExtract(item *wire.FetchItem) bool {
	switch item.Kind {
	case wire.FetchEnvelope, wire.FetchBody, wire.FetchBodyStructure, wire.FetchPreview:
		return true
	case wire.FetchSection:
		return !whole(item.Section)
	}
	return false
}

// dissect makes what the items need of a large message, unless it is known from the
// command before. What is decoded, or long, is not kept for the next one.
func (f *fetch) dissect(ctx context.Context, seq store.SeqNum, m *loaded) error {
	todo, decode := false, false
	if len(m.extracts) > maxExtracts {
		m.extracts = nil
	}
	for i := range f.items {
		item := &f.items[i]
		_, known := m.extracts[extractName(item)]
		todo = todo || isExtract(item) && !known
		decode = decode || item.Kind == wire.FetchBinary || item.Kind == wire.FetchBinarySize
	}
	if !todo && !decode {
		return nil
	}
	if decode {
		if err := f.decodeSlot(ctx, m); err != nil {
			return err
		}
	}
	err := f.dissectOnce(ctx, seq, m)
	if errors.Is(err, errLong) { // whoever waits for clients must not have a place in parsing
		m.extracts = nil
		if err = f.decodeSlot(ctx, m); err == nil {
			err = f.dissectOnce(ctx, seq, m)
		}
	}
	return err
}

func (f *fetch) dissectOnce(ctx context.Context, seq store.SeqNum, m *loaded) error {
	if err := parsing.take(ctx); err != nil {
		return err
	}
	defer parsing.give()
	raw := make([]byte, m.body.Size())
	if _, err := io.ReadFull(m.body.Section(0, m.body.Size()), raw); err != nil {
		return fmt.Errorf("uid %d: its file changes while it is read: %w", m.uid, err)
	}
	parsed := message.Parse(raw)
	f.kept.Keep(seq, parsed)
	if !m.extract(parsed, raw, f.items) {
		return errLong
	}
	m.binary = nil
	m.parsed = parsed
	err := f.decode(m)
	m.parsed = nil
	return err
}

// extract makes the extracts that the items are about, unless their texts are long and
// there is no place for them.
func (m *loaded) extract(parsed *message.Message, raw []byte, items []wire.FetchItem) bool {
	if m.extracts == nil {
		m.extracts = map[string]extract{}
	}
	octets := 0
	for _, e := range m.extracts {
		octets += len(e.text)
	}
	for i := range items {
		name := extractName(&items[i])
		if _, known := m.extracts[name]; known || !isExtract(&items[i]) {
			continue
		}
		e := extractOf(parsed, raw, &items[i])
		if octets += len(e.text); octets > longTexts && !m.decoded {
			return false
		}
		m.extracts[name] = e
	}
	return true
}

func extractOf(parsed *message.Message, raw []byte, item *wire.FetchItem) extract {
	switch item.Kind {
	case wire.FetchEnvelope:
		return extract{text: parsed.AppendEnvelope(nil)}
	case wire.FetchBody, wire.FetchBodyStructure:
		return extract{text: parsed.AppendBodyStructure(nil, item.Kind == wire.FetchBodyStructure)}
	case wire.FetchPreview:
		return extract{text: []byte(parsed.Preview())}
	}
	sec := *item.Section
	sec.HeaderFields, sec.HeaderFieldsNot = nil, nil
	b, ok := parsed.Section(&sec)
	if !ok {
		return extract{none: true}
	}
	e := extract{off: int64(cap(raw) - cap(b)), n: int64(len(b))}
	switch {
	case item.Section.HeaderFields != nil:
		e.fields = message.NewFieldFilter(item.Section.HeaderFields, true)
	case item.Section.HeaderFieldsNot != nil:
		e.fields = message.NewFieldFilter(item.Section.HeaderFieldsNot, false)
	default:
		return e
	}
	e.kept, _ = io.Copy(io.Discard, e.fields.Reader(bytes.NewReader(b))) // which does not fail
	if e.kept <= fewOctets {
		e.text, _ = io.ReadAll(e.fields.Reader(bytes.NewReader(b)))
	}
	return e
}

// extract writes an item of a large message, if it is one of dissect's.
func (f *fetch) extract(item *wire.FetchItem, m *loaded) bool {
	p, ok := m.extracts[extractName(item)]
	w := f.s.w
	switch {
	case !ok:
		return false
	case p.none:
		w.Raw("NIL")
	case item.Kind == wire.FetchPreview:
		w.String(string(p.text))
	case item.Kind != wire.FetchSection:
		w.Bytes(p.text)
	case p.text != nil:
		w.Literal(cut(p.text, item.Section.Partial))
	case p.fields != nil:
		skip, n := pieceOf(p.kept, item.Section.Partial)
		r := p.fields.Reader(m.body.Section(p.off, p.n))
		io.CopyN(io.Discard, r, skip) // what fails does so again
		w.LiteralFrom(r, n)
	default:
		f.stream(m.body, p.off, p.n, item.Section.Partial)
	}
	return true
}

// stream writes what <partial> asks for of n octets of a large message.
func (f *fetch) stream(b *store.Body, off, n int64, p *imap.SectionPartial) {
	skip, n := pieceOf(n, p)
	f.s.w.LiteralFrom(b.Section(off+skip, n), n)
}

// pieceOf gives what <partial> asks for of n octets: how many, and behind how many.
func pieceOf(n int64, p *imap.SectionPartial) (skip, length int64) {
	if p == nil {
		return 0, n
	}
	skip = min(p.Offset, n)
	return skip, min(p.Size, n-skip)
}

// hold keeps what is read of a message beyond its row.
func (c *content) hold() bool { return c.body == nil || c.body.Hold() }

// release is called by whoever has read a message, and once for each hold.
func (c *content) release() {
	if c != nil && c.body != nil {
		c.body.Close()
	}
}

// release lets go of a message whose row is written.
func (m *loaded) release() {
	m.content.release()
	if m.decoded {
		m.binary, m.extracts = nil, nil
		decoding.give()
	}
}

package session

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/message"
	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// fetch is FETCH and UID FETCH (RFC 9051 §6.4.5). It holds one message at a
// time, and of a large one a piece. Messages that have been expunged by others are left out and the answer
// is NO (RFC 2180 §4.1.2), as it is for those that cannot be read; to UID FETCH it is OK (RFC 9051 §6.4.9).
func (s *session) fetch(ctx context.Context, c *wire.Fetch) (imap.ResponseCode, error) {
	spans, err := s.selected.spans(c.Set)
	if err != nil {
		return "", err
	}
	if c.Partial != nil {
		spans = cutSpans(spans, c.Partial)
	}
	f := s.newFetch(c)
	defer f.kept.Close()
	f.partial = f.partial && len(spans) == 1 && spans[0].first == spans[0].last
	if c.Vanished {
		if err := f.vanished(c.Set.(imap.UIDSet)); err != nil {
			return "", err
		}
	}
	if err := f.rows(ctx, spans); err != nil {
		return "", err
	}
	return "", f.missed
}

// rows writes the responses.
func (f *fetch) rows(ctx context.Context, spans []span) error {
	for _, sp := range spans {
		for seq := sp.first; seq <= sp.last; seq++ {
			if err := f.row(ctx, seq); err != nil {
				return err
			}
			if err := f.s.w.Err(); err != nil {
				return lost(err)
			}
		}
	}
	return f.markSeen(ctx)
}

// fetch is a FETCH while it runs.
type fetch struct {
	s       *session
	view    *store.View
	items   []wire.FetchItem
	since   store.ModSeq // messages that have not changed since are passed over
	size    bool         // RFC822.SIZE is asked for
	read    bool         // an item needs the message
	parse   bool         // an item needs it parsed
	arrival bool         // an item needs to know how it came
	partial bool         // it is about one message, of which an item is a piece
	flags   bool         // FLAGS is asked for
	kept    kept
	seen    bool // an item sets \Seen
	missed  error
	unseen  []told // rows that said \Seen before it was stored
}

// told is the flags of a message as a row gave them.
type told struct {
	seq   store.SeqNum
	flags []imap.Flag
}

// lot is how many messages are marked as seen at once: one sync of the disk for
// all of them, and no more to lose where the client hangs up.
const lot = 256

func (s *session) newFetch(c *wire.Fetch) *fetch {
	f := &fetch{s: s, view: s.selected.view, items: c.Items}
	if c.ChangedSince > 0 {
		f.since = f.view.Since(store.ModSeq(c.ChangedSince))
	}
	if c.ChangedSince > 0 || s.on(imap.CapCondStore) && f.has(wire.FetchFlags) { // RFC 7162 §3.1 and §3.1.4.1
		f.add(wire.FetchModSeq)
	}
	if s.byUID && !s.on(imap.CapUIDOnly) {
		f.add(wire.FetchUID)
	}
	for _, item := range f.items {
		switch item.Kind {
		case wire.FetchFlags:
			f.flags = true
		case wire.FetchSize:
			f.size = true
		case wire.FetchSaveDate, wire.FetchEmailID:
			f.arrival = true
		case wire.FetchEnvelope, wire.FetchBody, wire.FetchBodyStructure, wire.FetchPreview:
			f.read, f.parse = true, true
		case wire.FetchSection, wire.FetchBinary, wire.FetchBinarySize:
			f.read = true
			f.parse = f.parse || !whole(item.Section) || item.Kind != wire.FetchSection
			f.partial = f.partial || item.Section.Partial != nil
			f.seen = f.seen || !item.Section.Peek && !f.view.ReadOnly() && s.selected.rights.Has(store.RightSeen)
		}
	}
	f.kept = newKept(f.view, f.items)
	return f
}

func (f *fetch) has(k wire.FetchKind) bool {
	return slices.ContainsFunc(f.items, func(i wire.FetchItem) bool { return i.Kind == k })
}

// add puts an item in front, unless it was asked for.
func (f *fetch) add(k wire.FetchKind) {
	if !f.has(k) {
		f.items = append([]wire.FetchItem{{Kind: k, Name: string(k)}}, f.items...)
	}
}

// whole says that a section is all of the message.
func whole(sec *imap.FetchItemBodySection) bool {
	return len(sec.Part) == 0 && sec.Specifier == imap.PartSpecifierNone
}

// loaded is a message with what of it must be read.
type loaded struct {
	store.Message
	*content
	size    int64
	kept    bool // what the items need of it is in fetch.kept, and not in content
	decoded bool // it has a place in decoding, until its row is written
	arrival store.Arrival
}

// content is what is in a message.
type content struct {
	uid      imap.UID
	raw      []byte
	parsed   *message.Message
	binary   map[string]*[]byte // parts as BINARY gives them; nil: there is no such part
	body     *store.Body        // a large message, in place of raw and parsed
	extracts map[string]extract // of that, by extractName
}

// linger is how long a message that was read in part is kept for the next part:
// clients fetch a large one piece by piece, one command each.
const linger = 5 * time.Second

// keep keeps a message for a while, in place of the one kept before.
func (v *selection) keep(c *content) {
	if !c.hold() {
		return
	}
	v.kept.Swap(c).release()
	if v.forget == nil {
		v.forget = time.AfterFunc(linger, v.drop)
		return
	}
	v.forget.Reset(linger)
}

// drop lets go of the message that is kept.
func (v *selection) drop() { v.kept.Swap(nil).release() }

// recall gives the message if it is the one that is kept.
func (v *selection) recall(uid imap.UID) *content {
	if c := v.kept.Load(); c != nil && c.uid == uid && c.hold() {
		return c
	}
	return nil
}

// row writes the response for one message. All that can fail comes before its
// first octet.
func (f *fetch) row(ctx context.Context, seq store.SeqNum) error {
	m := loaded{Message: f.view.At(seq)}
	if m.ModSeq <= f.since {
		return nil
	}
	defer m.release()
	if ok, err := f.load(ctx, seq, &m); !ok {
		return err
	}
	flags := f.flags
	if f.seen && !slices.Contains(m.Flags, imap.FlagSeen) {
		if !f.s.on(imap.CapCondStore) { // else the flags are told with their mod-sequence, once they have it
			m.Flags = append(slices.Clone(m.Flags), imap.FlagSeen)
			flags = true
		}
		f.unseen = append(f.unseen, told{seq, m.Flags})
	}
	w := f.s.w
	f.s.beginFetch(seq, m.UID)
	for i := range f.items {
		if i > 0 {
			w.Raw(" ")
		}
		f.item(i, &m)
	}
	if flags && !f.flags {
		w.Raw(" FLAGS ")
		w.Flags(m.Flags, m.Recent)
	}
	w.Raw(")\r\n")
	if len(f.unseen) >= lot {
		return f.markSeen(ctx)
	}
	return nil
}

// load reads what the items need. It gives false for a message that is passed
// over; the error, if there is one, ends the command.
func (f *fetch) load(ctx context.Context, seq store.SeqNum, m *loaded) (ok bool, err error) {
	if f.partial {
		m.content = f.s.selected.recall(m.UID)
	}
	m.kept = f.read && m.content == nil && f.kept.recall(seq)
	if f.read && m.content == nil && !m.kept {
		m.content = &content{uid: m.UID}
		m.raw, m.body, err = f.view.Take(ctx, seq, large)
	}
	if err == nil && f.size {
		m.size, err = f.view.Size(ctx, seq)
	}
	if err == nil && f.arrival {
		m.arrival, err = f.view.Arrival(ctx, seq)
	}
	if err != nil {
		return false, f.miss(ctx, err)
	}
	switch {
	case m.content != nil && m.body != nil:
		err = f.dissect(ctx, seq, m)
	case f.parse && !m.kept && m.parsed == nil:
		m.parsed = message.Parse(m.raw)
		f.kept.Keep(seq, m.parsed)
		fallthrough
	default:
		err = f.decode(m)
	}
	if err != nil {
		return false, f.miss(ctx, err)
	}
	if f.partial {
		f.s.selected.keep(m.content)
	}
	return true, nil
}

// miss notes a message that could not be read. The first failure is logged and
// told; a message that is only gone gives way to it.
func (f *fetch) miss(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if f.s.byUID && errors.Is(err, store.ErrExpunged) {
		return nil
	}
	if f.missed == nil || errors.Is(f.missed, store.ErrExpunged) {
		f.missed = err
		if !errors.Is(err, store.ErrExpunged) {
			f.missed = f.s.convert("FETCH", err)
		}
	}
	return nil
}

// item writes the item of that index.
func (f *fetch) item(i int, m *loaded) {
	w, item := f.s.w, &f.items[i]
	w.Raw(item.Name)
	w.Raw(" ")
	if m.kept && f.kept.write(w, i, item.Kind) || m.content != nil && m.body != nil && f.extract(item, m) {
		return
	}
	switch item.Kind {
	case wire.FetchUID:
		w.Number(uint64(m.UID))
	case wire.FetchFlags:
		w.Flags(m.Flags, m.Recent)
	case wire.FetchModSeq:
		f.s.writeModSeq(m.ModSeq)
	case wire.FetchInternalDate:
		w.Append(func(dst []byte) []byte { return wire.AppendDateTime(dst, m.InternalDate) })
	case wire.FetchSize:
		w.Number(uint64(m.size))
	case wire.FetchEnvelope:
		w.Append(m.parsed.AppendEnvelope)
	case wire.FetchBody:
		w.Append(func(dst []byte) []byte { return m.parsed.AppendBodyStructure(dst, false) })
	case wire.FetchBodyStructure:
		w.Append(func(dst []byte) []byte { return m.parsed.AppendBodyStructure(dst, true) })
	case wire.FetchPreview:
		w.String(m.parsed.Preview())
	case wire.FetchSaveDate:
		w.Append(func(dst []byte) []byte { return wire.AppendDateTime(dst, m.arrival.Saved) })
	case wire.FetchEmailID:
		w.Raw("(" + m.arrival.EmailID + ")")
	case wire.FetchThreadID:
		w.Raw("NIL")
	case wire.FetchSection:
		f.section(item.Section, m)
	case wire.FetchBinary, wire.FetchBinarySize:
		f.binary(item, m)
	}
}

// section writes the octets of a section, or NIL where the message has no such
// part.
func (f *fetch) section(sec *imap.FetchItemBodySection, m *loaded) {
	if m.body != nil {
		f.stream(m.body, 0, m.body.Size(), sec.Partial)
		return
	}
	b, ok := m.raw, true
	if !whole(sec) {
		b, ok = m.parsed.Section(sec)
	}
	if !ok {
		f.s.w.Raw("NIL")
		return
	}
	f.s.w.Literal(cut(b, sec.Partial))
}

// cut gives the octets that <partial> asks for.
func cut(b []byte, p *imap.SectionPartial) []byte {
	if p == nil {
		return b
	}
	b = b[min(p.Offset, int64(len(b))):]
	return b[:min(p.Size, int64(len(b)))]
}

// markSeen stores the \Seen that rows have told already, and tells the flags
// again where they have become others.
func (f *fetch) markSeen(ctx context.Context) error {
	if len(f.unseen) == 0 {
		return nil
	}
	seqs := make([]store.SeqNum, len(f.unseen))
	for i, t := range f.unseen {
		seqs[i] = t.seq
	}
	stored := f.view.Store(ctx, seqs, store.StoreAdd, []imap.Flag{imap.FlagSeen})
	if err := f.s.pollFlags(ctx); err != nil {
		return err
	}
	for _, t := range f.unseen {
		if now := f.view.At(t.seq); !sameFlags(now.Flags, t.flags) {
			f.s.writeFlags(t.seq, now)
		}
	}
	f.unseen = f.unseen[:0]
	switch {
	case errors.Is(stored, store.ErrExpunged):
		return nil
	case errors.Is(stored, store.ErrNoSpace), errors.Is(stored, store.ErrDisk):
		f.s.Account.Trouble(stored) // the client has what it has asked for
		return nil
	}
	return stored
}

// sameFlags compares flags in any order.
func sameFlags(a, b []imap.Flag) bool {
	if len(a) != len(b) {
		return false
	}
	return !slices.ContainsFunc(a, func(f imap.Flag) bool { return !slices.Contains(b, f) })
}

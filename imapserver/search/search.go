// Package search evaluates SEARCH programs (RFC 9051 §6.4.4). It owns the exact
// meaning of the keys and the order in which they are tested: what is known
// without reading a message first, its text last. It is pure: package session
// compiles a program once and asks it about each message in turn. It reads
// messages by package message and must not import store or session.
//
// Strings are compared much as i;unicode-casemap compares them (RFC 5051): case
// and compatibility forms do not count, and a letter with its accent is the same
// composed and decomposed. It is substrings of octets that are compared, so a
// letter is found where an accent follows it.
package search

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/message"
	"mailstead/imapserver/wire"
)

// Message is what is known of a message without reading it.
type Message struct {
	Seq          uint32 // message sequence number
	UID          imap.UID
	ModSeq       uint64
	Flags        []imap.Flag // without \Recent
	Recent       bool
	InternalDate time.Time // in the zone in which INTERNALDATE shows it
}

// Source reads what a key needs beyond Message. Match calls each method at
// most once, and only if the answer hangs on it.
type Source interface {
	// Size is RFC822.SIZE, in octets.
	Size(ctx context.Context) (int64, error)
	// Arrival is SAVEDATE (RFC 8514) and EMAILID (RFC 8474).
	Arrival(ctx context.Context) (saved time.Time, emailID string, err error)
	// Header is the message's header with CRLF line ends, or of it the fields
	// that Program.HeaderNames gives.
	Header(ctx context.Context) ([]byte, error)
	// Raw is the whole message with CRLF line ends.
	Raw(ctx context.Context) ([]byte, error)
}

// Frame is what the keys of a program are about beside the message.
type Frame struct {
	// Seq and UID are what "*" means in a set: the highest numbers in the
	// mailbox, 0 where it is empty.
	Seq   uint32
	UID   imap.UID
	Saved imap.UIDSet // what "$" means (RFC 5182), ascending and apart, without "*"
	Now   time.Time   // OLDER and YOUNGER count from it (RFC 5032)
}

// Program is a compiled search. One goroutine at a time may use it.
type Program struct {
	root    node
	headers headerKeys
	dated   bool // the Date field matters
	texts   textKeys
	fuzzies []*fuzzyKey
	rating  bool // score is wanted
	score   int
	now     time.Time
	t       target // what is matched
}

// Compile makes a program of a parsed key. The key is not kept.
func Compile(key wire.SearchKey, frame Frame) *Program {
	p := &Program{now: frame.Now}
	c := compiler{p: p, frame: frame}
	p.root = c.node(key)
	return p
}

// HeaderNames gives the fields that matter of what Source.Header gives.
func (p *Program) HeaderNames() []string {
	names := slices.Sorted(maps.Keys(p.headers.byName))
	if p.dated {
		names = append(names, "date")
	}
	return names
}

// Reads says whether the program may have to read messages.
func (p *Program) Reads() bool { return p.root.cost > costNone }

// Match says whether the message meets the program. Errors come from src and
// from ctx alone.
func (p *Program) Match(ctx context.Context, m *Message, src Source) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	p.t = target{ctx: ctx, p: p, m: m, src: src}
	ok, err := p.root.match(&p.t)
	p.score = best
	if ok && err == nil && p.rating {
		p.score, err = p.rate(&p.t)
	}
	p.t = target{} // the message may be large
	return ok, err
}

// SetTime makes OLDER and YOUNGER count from another time.
func (p *Program) SetTime(now time.Time) { p.now = now }

// target is one message while it is matched, with what has been read of it.
type target struct {
	ctx context.Context
	p   *Program
	m   *Message
	src Source

	size    int64
	sized   bool
	arrived bool
	saved   time.Time
	emailID string
	parsed  *message.Message // all of it
	raw     []byte           // its header, once that has been read alone
	header  *message.Message // its header at least
	headed  bool             // p.headers holds the findings of this message
	scanned bool             // p.texts does
	sent    day
	dated   bool
}

func (t *target) readSize() (int64, error) {
	if !t.sized {
		size, err := t.src.Size(t.ctx)
		if err != nil {
			return 0, err
		}
		t.size, t.sized = size, true
	}
	return t.size, nil
}

func (t *target) arrival() (saved time.Time, emailID string, err error) {
	if !t.arrived {
		if t.saved, t.emailID, err = t.src.Arrival(t.ctx); err != nil {
			return t.saved, "", err
		}
		t.arrived = true
	}
	return t.saved, t.emailID, nil
}

func (t *target) read() (*message.Message, error) {
	if t.parsed == nil {
		raw, err := t.src.Raw(t.ctx)
		if err != nil {
			return nil, err
		}
		t.parsed = message.Parse(raw)
		t.header = t.parsed
	}
	return t.parsed, nil
}

func (t *target) readHeader() (*message.Message, error) {
	if t.header == nil {
		if err := t.readRaw(); err != nil {
			return nil, err
		}
		t.header = message.ParseHeader(t.raw)
	}
	return t.header, nil
}

// readRaw reads the header.
func (t *target) readRaw() (err error) {
	if t.raw == nil {
		t.raw, err = t.src.Header(t.ctx)
	}
	return err
}

// fields gives the header in which fields are looked for, without parsing it for
// that.
func (t *target) fields() ([]byte, error) {
	if t.header != nil {
		return t.header.Header(), nil
	}
	err := t.readRaw()
	return message.CutHeader(t.raw), err
}

// sentDay is the day of the Date field, the zero day where there is none.
func (t *target) sentDay() (day, error) {
	if !t.dated {
		m, err := t.readHeader()
		if err != nil {
			return day{}, err
		}
		if date, ok := m.Date(); ok {
			t.sent = dayOf(date)
		}
		t.dated = true
	}
	return t.sent, nil
}

// inHeader says whether header key n is met.
func (t *target) inHeader(n int) (bool, error) {
	if !t.headed {
		fields, err := t.fields()
		if err != nil {
			return false, err
		}
		t.p.headers.scan(fields)
		t.headed = true
	}
	return t.p.headers.keys[n].found, nil
}

// inText says whether text key n is met.
func (t *target) inText(n int) (bool, error) {
	if !t.scanned {
		m, err := t.read()
		if err != nil {
			return false, err
		}
		if err := t.p.texts.scan(t.ctx, m); err != nil {
			return false, err
		}
		t.scanned = true
	}
	return t.p.texts.keys[n].found, nil
}

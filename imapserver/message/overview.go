package message

import (
	"encoding/binary"
	"errors"
	"strings"
	"time"
	"unicode/utf8"
)

// Overview is what SORT (RFC 5256 §3, RFC 5957) and THREAD compare of a message:
// all of its header that they need. Texts are UTF-8 with encoded words decoded;
// of a longer one the first 1024 octets are kept. The first address of a field
// is that which ENVELOPE shows first.
type Overview struct {
	Sent     time.Time // of the Date field, in UTC, whole seconds; zero: INTERNALDATE stands in for it (RFC 5256 §2.2)
	Subject  string    // base subject (RFC 5256 §2.1)
	Reply    bool      // the subject is that of a reply or forward
	From     string    // mailbox of the first address
	To       string
	Cc       string
	FromName string // what is shown of the first address: its name, else mailbox@host (RFC 5957 §3)
	ToName   string

	ID   MessageID   // 0: none
	Refs []MessageID // ancestors, the parent last: References or, where that has none, the first of In-Reply-To
}

// Overview gives what SORT and THREAD compare. The message's header alone is
// looked at: one parsed without its body gives the same.
func (m *Message) Overview() Overview {
	var o Overview
	if t, ok := m.Date(); ok {
		o.Sent = time.Unix(t.Unix(), 0).UTC()
	}
	var subject, references, inReplyTo, id []byte
	var from, to, cc [][]byte
	for name, value := range m.Fields() {
		switch {
		case equalFold(name, "Subject") && subject == nil:
			subject = value
		case equalFold(name, "Message-ID") && id == nil:
			id = value
		case equalFold(name, "References") && references == nil:
			references = value
		case equalFold(name, "In-Reply-To") && inReplyTo == nil:
			inReplyTo = value
		case equalFold(name, "From") && len(from) < maxRepeats:
			from = append(from, value)
		case equalFold(name, "To") && len(to) < maxRepeats:
			to = append(to, value)
		case equalFold(name, "Cc") && len(cc) < maxRepeats:
			cc = append(cc, value)
		}
	}
	base, reply := baseSubject(DecodeHeader(subject))
	o.Subject, o.Reply = sortText(base), reply
	o.From, o.FromName = sortAddress(from)
	o.To, o.ToName = sortAddress(to)
	o.Cc, _ = sortAddress(cc)
	if ids := messageIDs(id, 1); len(ids) > 0 {
		o.ID = ids[0]
	}
	if o.Refs = messageIDs(references, maxRefs); len(o.Refs) == 0 {
		o.Refs = messageIDs(inReplyTo, 1)
	}
	return o
}

// sortAddress gives the mailbox of the first address of fields of one name, and
// what is shown of it.
func sortAddress(values [][]byte) (mailbox, name string) {
	for _, value := range values {
		a, ok := firstAddress(value)
		if !ok {
			continue
		}
		name = DecodeHeader([]byte(a.name))
		if name == "" {
			name = a.mailbox
			if a.host != "" {
				name += "@" + a.host
			}
		}
		return sortText(a.mailbox), sortText(name)
	}
	return "", ""
}

// sortText makes valid UTF-8 of a text and keeps its start.
func sortText(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxSortText {
		return s
	}
	n := maxSortText
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.Clone(s[:n])
}

// The bits of an encoded Overview's first octet.
const (
	overviewReply = 1 << iota
	overviewSent
	overviewID
	overviewBits = 1<<iota - 1
)

// Append adds the encoded form: an octet of bits, the time sent as a varint of
// Unix seconds, six texts with their lengths as uvarints, the Message-ID, and
// the number of ancestors as a uvarint with 8 octets for each. What is not there
// takes no octets but for the lengths.
func (o *Overview) Append(dst []byte) []byte {
	var bits byte
	if o.Reply {
		bits |= overviewReply
	}
	if !o.Sent.IsZero() {
		bits |= overviewSent
	}
	if o.ID != 0 {
		bits |= overviewID
	}
	dst = append(dst, bits)
	if !o.Sent.IsZero() {
		dst = binary.AppendVarint(dst, o.Sent.Unix())
	}
	for _, s := range []string{o.Subject, o.From, o.To, o.Cc, o.FromName, o.ToName} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	if o.ID != 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(o.ID))
	}
	dst = binary.AppendUvarint(dst, uint64(len(o.Refs)))
	for _, id := range o.Refs {
		dst = binary.BigEndian.AppendUint64(dst, uint64(id))
	}
	return dst
}

// ErrOverview says that octets are no encoded Overview.
var ErrOverview = errors.New("parse overview: damaged")

// ParseOverview reads the encoded form, which must be all of b. It takes only
// what Append writes.
func ParseOverview(b []byte) (Overview, error) {
	p := overviewParser{rest: string(b)}
	bits := p.take(1)
	if p.bad || bits[0]&^overviewBits != 0 {
		return Overview{}, ErrOverview
	}
	o := Overview{Reply: bits[0]&overviewReply != 0}
	if bits[0]&overviewSent != 0 {
		o.Sent = p.time()
	}
	for _, s := range []*string{&o.Subject, &o.From, &o.To, &o.Cc, &o.FromName, &o.ToName} {
		*s = p.text()
	}
	if bits[0]&overviewID != 0 {
		o.ID = p.id()
	}
	if n := p.number(maxRefs); n > 0 {
		o.Refs = make([]MessageID, n)
		for i := range o.Refs {
			o.Refs[i] = p.id()
		}
	}
	if p.bad || p.rest != "" {
		return Overview{}, ErrOverview
	}
	return o, nil
}

// OverviewSent reads of an encoded Overview when the message was sent, and
// nothing else.
func OverviewSent(b []byte) (time.Time, error) {
	p := overviewParser{rest: string(b[:min(len(b), 1+binary.MaxVarintLen64)])}
	bits := p.take(1)
	if p.bad || bits[0]&^overviewBits != 0 {
		return time.Time{}, ErrOverview
	}
	if bits[0]&overviewSent == 0 {
		return time.Time{}, nil
	}
	t := p.time()
	if p.bad {
		return t, ErrOverview
	}
	return t, nil
}

// overviewParser reads the pieces of an encoded Overview. Once something was
// bad, it gives zeros.
type overviewParser struct {
	rest string
	bad  bool
}

func (p *overviewParser) take(n int) string {
	if p.bad || n > len(p.rest) {
		p.bad = true
		return ""
	}
	s := p.rest[:n]
	p.rest = p.rest[n:]
	return s
}

// number reads a uvarint of at most limit.
func (p *overviewParser) number(limit int) int {
	n, size := binary.Uvarint([]byte(p.rest[:min(len(p.rest), binary.MaxVarintLen32)]))
	if size <= 0 || n > uint64(limit) || size > 1 && n>>(7*(size-1)) == 0 {
		p.bad = true
		return 0
	}
	p.take(size)
	return int(n)
}

func (p *overviewParser) time() time.Time {
	n, size := binary.Varint([]byte(p.rest[:min(len(p.rest), binary.MaxVarintLen64)]))
	t := time.Unix(n, 0).UTC()
	if size <= 0 || t.IsZero() || len(binary.AppendVarint(nil, n)) != size {
		p.bad = true
		return time.Time{}
	}
	p.take(size)
	return t
}

func (p *overviewParser) text() string {
	s := p.take(p.number(maxSortText))
	if !utf8.ValidString(s) {
		p.bad = true
		return ""
	}
	return s
}

func (p *overviewParser) id() MessageID {
	s := p.take(8)
	if s == "" {
		return 0
	}
	id := MessageID(binary.BigEndian.Uint64([]byte(s)))
	p.bad = p.bad || id == 0
	return id
}

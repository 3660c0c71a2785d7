package message

import (
	"bytes"
	"strings"
)

// parser takes a message apart in one pass over its lines: every line is held
// against the boundaries of the multiparts that are open at it, so the work
// does not grow with their nesting.
type parser struct {
	raw     []byte
	pos     int      // start of the next line
	line    int      // line breaks before pos
	count   int      // entities so far
	headers int      // octets of header that may still be looked into
	open    [][]byte // boundaries of the open multiparts, the outermost first
}

// delimiter is what ended an entity: a line with the boundary of an open
// multipart, or the end of the message.
type delimiter struct {
	level int  // index in parser.open, -1 at the end of the message
	close bool // "--boundary--"
	at    int  // where the entity ends: the line break before a delimiter belongs to that
	lines int  // line breaks before at
}

func (p *parser) newEntity(depth int) *entity {
	p.count++
	return &entity{start: p.pos, depth: depth}
}

// full is true once no further entity may be made. The last one then holds
// everything up to the end of the message.
func (p *parser) full() bool { return p.count >= maxParts }

// entity reads e, which starts at p.pos, and says what ended it.
func (p *parser) entity(e *entity, missing mediaType) delimiter {
	p.header()
	e.body = p.pos
	e.fieldsEnd = e.start + min(e.body-e.start, MaxHeader, p.headers)
	p.headers -= e.fieldsEnd - e.start
	first := p.line
	boundary := p.classify(e, missing)
	var d delimiter
	switch e.kind {
	case kindMultipart:
		d = p.multipart(e, boundary)
	case kindMessage:
		inner := p.newEntity(e.depth + 1)
		e.parts = []*entity{inner}
		d = p.entity(inner, textPlain)
	case kindLeaf:
		d = p.skip()
	}
	// A delimiter's line break may be the empty line after a header, or that of
	// the delimiter before.
	e.start, e.fieldsEnd, e.body, e.end = min(e.start, d.at), min(e.fieldsEnd, d.at), min(e.body, d.at), d.at
	e.lines = max(d.lines-first, 0)
	return d
}

// multipart reads the body of a multipart. Without a single delimiter it is
// none: its octets are served as plain text, so that someone can read them.
func (p *parser) multipart(e *entity, boundary []byte) delimiter {
	level := len(p.open)
	p.open = append(p.open, boundary)
	missing := textPlain
	if strings.EqualFold(e.media.sub, "digest") {
		missing = messageRFC822
	}
	d := p.skip() // the preamble
	for d.level == level && !d.close {
		part := p.newEntity(e.depth + 1)
		e.parts = append(e.parts, part)
		d = p.entity(part, missing)
	}
	p.open = p.open[:level]
	if len(e.parts) == 0 {
		e.kind, e.media = kindLeaf, textPlain
	}
	if d.level == level {
		d = p.skip() // the epilogue
	}
	return d
}

// classify sets what e is from its Content-Type, and gives the boundary of a
// multipart.
func (p *parser) classify(e *entity, missing mediaType) (boundary []byte) {
	e.media = missing
	value, found := firstField(p.raw[e.start:e.fieldsEnd], "Content-Type")
	var params []param
	if found {
		e.media, params = parseContentType(value)
	}
	container := false
	switch {
	case strings.EqualFold(e.media.typ, "multipart"):
		boundary = findBoundary(params)
		if len(boundary) == 0 {
			e.media = textPlain
			return nil
		}
		e.kind, container = kindMultipart, true
	case isMessage(e.media):
		e.kind, container = kindMessage, true
	}
	if container && (e.depth >= maxDepth || p.full() || p.encodedGlobal(e)) {
		e.kind, e.media = kindLeaf, octetStream
		return nil
	}
	return boundary
}

// encodedGlobal is true of message/global in base64 or quoted-printable, which RFC 6532 §3.7
// allows: its octets are no message before they are decoded, as BINARY does.
func (p *parser) encodedGlobal(e *entity) bool {
	if e.kind != kindMessage || !strings.EqualFold(e.media.sub, "global") {
		return false
	}
	value, _ := firstField(p.raw[e.start:e.fieldsEnd], "Content-Transfer-Encoding")
	return encodings[strings.ToLower(encodingName(value))]
}

// isMessage is true of the types whose body is a message: RFC 9051 §9 has
// both in media-message.
func isMessage(t mediaType) bool {
	return strings.EqualFold(t.typ, "message") &&
		(strings.EqualFold(t.sub, "rfc822") || strings.EqualFold(t.sub, "global"))
}

func findBoundary(params []param) []byte {
	for _, a := range params {
		if strings.EqualFold(a.name, "boundary") {
			b := bytes.TrimRight([]byte(a.value), " \t")
			if len(b) <= maxBoundary {
				return b
			}
		}
	}
	return nil
}

// header moves past a header and the empty line after it, or up to a delimiter
// that cuts it off.
func (p *parser) header() {
	for p.pos < len(p.raw) {
		text, next := p.peek()
		if _, _, ok := p.match(text); ok {
			return
		}
		p.advance(next)
		if len(text) == 0 {
			return
		}
	}
}

// skip moves past the next delimiter.
func (p *parser) skip() delimiter {
	for p.pos < len(p.raw) {
		if len(p.open) == 0 || p.full() {
			p.line += bytes.Count(p.raw[p.pos:], []byte{'\n'})
			p.pos = len(p.raw)
			break
		}
		text, next := p.peek()
		level, closing, ok := p.match(text)
		if ok {
			n := p.breakBefore(p.pos)
			d := delimiter{level: level, close: closing, at: p.pos - n, lines: p.line - min(n, 1)}
			p.advance(next)
			return d
		}
		p.advance(next)
	}
	return delimiter{level: -1, at: len(p.raw), lines: p.line}
}

// peek gives the present line without its line break, and where the next starts.
func (p *parser) peek() (text []byte, next int) {
	rest := p.raw[p.pos:]
	n := bytes.IndexByte(rest, '\n')
	if n < 0 {
		return rest, len(p.raw)
	}
	return bytes.TrimSuffix(rest[:n], []byte{'\r'}), p.pos + n + 1
}

// advance moves on to the line that peek gave as the next.
func (p *parser) advance(next int) {
	if p.raw[next-1] == '\n' {
		p.line++
	}
	p.pos = next
}

// breakBefore is the length of the line break that ends at offset at.
func (p *parser) breakBefore(at int) int {
	switch {
	case at >= 2 && p.raw[at-1] == '\n' && p.raw[at-2] == '\r':
		return 2
	case at >= 1 && p.raw[at-1] == '\n':
		return 1
	}
	return 0
}

// match finds the open multipart whose delimiter a line is, the innermost
// first. The boundary must be the whole line but for white space after it
// (transport-padding in RFC 2046 §5.1.1), so one boundary may start with
// another. Deviation: RFC 2046 would let any text follow it.
func (p *parser) match(text []byte) (level int, closing, ok bool) {
	if len(p.open) == 0 || p.full() || len(text) < 3 || text[0] != '-' || text[1] != '-' {
		return 0, false, false
	}
	name := bytes.TrimRight(text[2:], " \t")
	shorter, closing := bytes.CutSuffix(name, []byte("--"))
	for i := len(p.open) - 1; i >= 0; i-- {
		if bytes.Equal(name, p.open[i]) {
			return i, false, true
		}
		if closing && bytes.Equal(shorter, p.open[i]) {
			return i, true, true
		}
	}
	return 0, false, false
}

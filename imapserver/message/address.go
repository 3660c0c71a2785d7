package message

import "mailstead/imapserver/wire"

// addressList writes the addresses of a field as ENVELOPE has them (RFC 9051
// §7.5.2): name, source route (NIL: it is dropped), mailbox, host. It reads
// what RFC 5322 §3.4 and §4.4 allow, makes the best of the rest, never fails,
// and reads every octet once.
type addressList struct {
	lexer
	dst   []byte
	left  *int           // addresses that may still be written
	group bool           // between the two marks of a group
	first *parsedAddress // if not nil: takes the first address, and nothing is written

	address
}

// parsedAddress is an address as ENVELOPE shows it, or the start of a group,
// whose name is its mailbox.
type parsedAddress struct{ name, mailbox, host string }

// address is what has been read of one address.
type address struct {
	phrase []byte // its words with single spaces
	local  []byte // the last words, as far as only dots part them
	host   []byte
	begun  bool
	behind bool // another one, without a comma: without a host it is none
	at     bool // host is known, if only to be empty
	angled bool // it stood in angle brackets: phrase is its name
	dotted bool // the last token was a dot
}

const addressSpecials = `()<>[]:;@\,."` // RFC 5322 §3.2.3

// appendAddresses adds the addresses of a field to dst.
func appendAddresses(dst, value []byte, left *int) []byte {
	a := addressList{lexer: lexer{b: value}, dst: dst, left: left}
	for space := a.skip(); !a.end(); space = a.skip() {
		a.step(space)
	}
	a.finish()
	a.endGroup()
	return a.dst
}

// firstAddress gives the first address of a field.
func firstAddress(value []byte) (p parsedAddress, ok bool) {
	left := 1
	a := addressList{lexer: lexer{b: value}, left: &left, first: &p}
	for space := a.skip(); !a.end() && left > 0; space = a.skip() {
		a.step(space)
	}
	a.finish()
	return p, left == 0
}

// step reads one token, or all that stands in angle brackets.
func (a *addressList) step(space bool) {
	switch a.next() {
	case ',':
		a.i++
		a.finish()
	case ';':
		a.i++
		a.finish()
		a.endGroup()
	case ':':
		a.i++
		a.startGroup()
	case '<':
		a.i++
		if a.angled {
			a.forgotten()
		}
		a.angle()
	case '@':
		a.i++
		a.hostPart(space)
	default:
		a.word(space)
	}
}

// forgotten ends an address behind which the comma is missing.
func (a *addressList) forgotten() {
	a.finish()
	a.behind = true
}

// hostPart reads the host of an address from behind its "@". It is part of the phrase too:
// many write an address where its name belongs.
func (a *addressList) hostPart(space bool) {
	sign := []byte("@")
	if space {
		sign = []byte(" @")
	}
	if a.skip() {
		sign = append(sign, ' ')
	}
	host := a.domain(nil)
	if !a.angled {
		a.begun, a.at, a.host = true, true, host
		a.phrase = clip(clip(a.phrase, sign), host)
	}
}

// word adds an atom, a quoted string or a dot to the address, or to a new one where that
// is complete. A special that has no place here is passed over.
func (a *addressList) word(space bool) {
	if a.at {
		a.forgotten()
	}
	if space && len(a.phrase) > 0 {
		a.phrase = append(a.phrase, ' ')
	}
	from := len(a.phrase)
	dot := a.take('.')
	switch {
	case dot:
		a.phrase = append(a.phrase, '.')
	case a.next() == '"':
		a.phrase = a.quoted(a.phrase)
	default:
		w := a.until(addressSpecials)
		if len(w) == 0 {
			a.i++
		}
		a.phrase = clip(a.phrase, w)
	}
	if space && !dot && !a.dotted {
		a.local = a.local[:0]
	}
	a.local = clip(a.local, a.phrase[from:])
	a.begun, a.dotted = true, dot
}

// clip adds as much of b as a name may be long.
func clip(dst, b []byte) []byte {
	return append(dst, b[:min(len(b), max(maxName-len(dst), 0))]...)
}

// angle reads "<" [route] local "@" domain ">" from behind the "<". Without its
// ">", it ends at the next comma.
func (a *addressList) angle() {
	a.begun, a.angled, a.at = true, true, true
	a.local, a.host = a.local[:0], a.host[:0]
	a.skip()
	if a.next() == '@' {
		a.route()
	}
	for a.skip(); !a.end(); a.skip() {
		switch a.next() {
		case '>':
			a.i++
			return
		case ',':
			return
		case '@':
			a.i++
			a.host = a.domain(a.host[:0])
		case '"':
			a.local = a.quoted(a.local)
		default:
			start := a.i
			if len(a.until(addressSpecials)) == 0 {
				a.i++
			}
			a.local = clip(a.local, a.b[start:a.i])
		}
	}
}

// route moves past "@host,@host:" (RFC 5322 §4.4).
func (a *addressList) route() {
	for !a.end() && a.next() != '>' {
		a.i++
		if a.b[a.i-1] == ':' {
			return
		}
	}
}

// domain reads a domain or a domain literal, with the white space and comments
// around it.
func (a *addressList) domain(dst []byte) []byte {
	for {
		a.skip()
		if a.next() == '[' {
			return a.literal(dst)
		}
		dst = clip(dst, a.until(addressSpecials))
		a.skip()
		if !a.take('.') {
			return dst
		}
		dst = append(dst, '.')
	}
}

func (a *addressList) literal(dst []byte) []byte {
	for !a.end() {
		c := a.next()
		a.i++
		if c != '\r' && c != '\n' && len(dst) < maxName {
			dst = append(dst, c)
		}
		if c == ']' {
			break
		}
	}
	return dst
}

// finish writes the present address, if there is one.
func (a *addressList) finish() {
	if a.begun && (a.at || !a.behind) && *a.left > 0 {
		*a.left--
		name, mailbox := a.comment, a.local
		if a.angled && len(a.phrase) > 0 {
			name = a.phrase
		}
		if !a.at {
			mailbox = a.phrase
		}
		a.write(name, mailbox)
	}
	a.reset()
}

// write writes the present address under these names.
func (a *addressList) write(name, mailbox []byte) {
	if a.first != nil {
		*a.first = parsedAddress{string(name), string(mailbox), string(a.host)}
		return
	}
	a.dst = append(a.dst, '(')
	if len(name) == 0 {
		a.dst = append(a.dst, "NIL"...)
	} else {
		a.dst = wire.AppendString(a.dst, string(name))
	}
	a.dst = append(a.dst, " NIL "...)
	a.dst = wire.AppendString(a.dst, string(mailbox))
	a.dst = append(a.dst, ' ')
	a.dst = wire.AppendString(a.dst, string(a.host))
	a.dst = append(a.dst, ')')
}

// reset makes ready for the next address, in the same buffers.
func (a *addressList) reset() {
	a.address = address{phrase: a.phrase[:0], local: a.local[:0], host: a.host[:0]}
	a.comment = nil
}

// startGroup writes the mark at the start of a group, whose name has been read
// as a phrase. Groups do not nest, and do not begin behind an address.
func (a *addressList) startGroup() {
	if a.at || a.behind {
		a.finish()
		return
	}
	if !a.group && *a.left > 0 {
		*a.left--
		a.group = true
		if a.first != nil {
			a.first.mailbox = string(a.phrase)
			return
		}
		a.dst = append(a.dst, "(NIL NIL "...)
		a.dst = wire.AppendString(a.dst, string(a.phrase))
		a.dst = append(a.dst, " NIL)"...)
	}
	a.reset()
}

func (a *addressList) endGroup() {
	if a.group {
		a.group = false
		a.dst = append(a.dst, "(NIL NIL NIL NIL)"...)
	}
}

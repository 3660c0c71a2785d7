package oracle

import "strings"

// Envelope says what is wrong with an ENVELOPE.
func Envelope(s string) error { return read(s, (*reader).envelope) }

// Addresses says what is wrong with one of an envelope's lists of addresses.
func Addresses(s string) error { return read(s, (*reader).addresses) }

// Structure says what is wrong with a BODY, or where extended with a BODYSTRUCTURE.
func Structure(s string, extended bool) error {
	return read(s, func(r *reader) { r.body(extended) })
}

func (r *reader) envelope() {
	r.need("(")
	r.nstring() // date
	r.need(" ")
	r.nstring() // subject
	for range 6 {
		r.need(" ")
		r.addresses()
	}
	r.need(" ")
	r.nstring() // in-reply-to
	r.need(" ")
	r.nstring() // message-id
	r.need(")")
}

func (r *reader) addresses() {
	if r.opt("NIL") {
		return
	}
	r.need("(")
	inGroup := false
	for first := true; first || !r.at(")"); first = false {
		r.need("(")
		r.nstring()
		r.need(" ")
		r.nstring()
		r.need(" ")
		_, mailbox := r.nstring()
		r.need(" ")
		_, host := r.nstring()
		r.need(")")
		if !host {
			if mailbox == inGroup {
				r.fail("marks of groups in pairs")
			}
			inGroup = mailbox
		} else if !mailbox {
			r.fail("mailbox beside a host")
		}
	}
	if inGroup {
		r.fail("end of group")
	}
	r.need(")")
}

func (r *reader) body(extended bool) {
	r.need("(")
	if r.at("(") {
		for r.at("(") {
			r.body(extended)
		}
		r.need(" ")
		r.str()
		if extended {
			r.need(" ")
			r.params()
			r.tail()
		}
	} else {
		r.single(extended)
	}
	r.need(")")
}

func (r *reader) single(extended bool) {
	typ := strings.ToLower(r.str())
	r.need(" ")
	sub := strings.ToLower(r.str())
	r.need(" ")
	r.params()
	r.need(" ")
	r.nstring() // id
	r.need(" ")
	r.nstring() // description
	r.need(" ")
	r.str() // encoding
	r.need(" ")
	r.number(max32) // octets
	message := typ == "message" && (sub == "rfc822" || sub == "global")
	if message {
		r.need(" ")
		r.envelope()
		r.need(" ")
		r.body(extended)
	}
	if typ == "text" || message {
		r.need(" ")
		r.number(max63) // lines
	}
	if extended {
		r.need(" ")
		r.nstring() // md5
		r.tail()
	}
}

func (r *reader) tail() {
	r.need(" ")
	if !r.opt("NIL") {
		r.need("(")
		r.str()
		r.need(" ")
		r.params()
		r.need(")")
	}
	r.need(" ")
	if !r.opt("NIL") {
		r.list(false, func() { r.str() })
	}
	r.need(" ")
	r.nstring() // location
}

func (r *reader) params() {
	if r.opt("NIL") {
		return
	}
	r.list(false, func() {
		r.str()
		r.need(" ")
		r.str()
	})
}

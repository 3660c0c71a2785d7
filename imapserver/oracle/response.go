package oracle

import (
	"fmt"
	"strings"
)

// Responses says what is wrong with a stream of responses of a server, from the
// first to the last: each is one that RFC 9051 §9 or an extension that Mailstead
// speaks has, complete, and nothing stands between or after them.
func Responses(stream []byte) error {
	return read(string(stream), func(r *reader) {
		for r.i < len(r.s) {
			r.response()
		}
	})
}

// Tags gives the tags of the tagged responses of a stream that Responses has
// nothing against.
func Tags(stream []byte) []string {
	var tags []string
	err := read(string(stream), func(r *reader) {
		for r.i < len(r.s) {
			if tag := r.response(); tag != "" {
				tags = append(tags, tag)
			}
		}
	})
	if err != nil {
		panic(fmt.Sprintf("oracle: tags of what is no stream of responses: %v", err))
	}
	return tags
}

// Echoes says where the status responses of a stream repeat a word that a client
// has sent, beyond tags and the codes that have an argument of the client's.
func Echoes(stream []byte, word string) error {
	return read(string(stream), func(r *reader) {
		for r.i < len(r.s) {
			start := r.i
			r.response()
			_, line, _ := strings.Cut(r.s[start:r.i], " ") // without the tag
			typ, _, _ := strings.Cut(line, " ")
			status := typ == "OK" || typ == "NO" || typ == "BAD" || typ == "BYE"
			argued := strings.Contains(line, "[BADURL ") || strings.Contains(line, `[NOUPDATE "`) || strings.Contains(line, "[INPROGRESS (")
			if status && !argued && strings.Contains(line, word) {
				r.i = start
				r.fail(fmt.Sprintf("a status without %q", word))
			}
		}
	})
}

// response reads one, and gives the tag of a tagged one.
func (r *reader) response() (tag string) {
	switch {
	case r.opt("+ "): // before a SASL response there may be nothing behind it
		r.while(func(c byte) bool { return c >= ' ' && c < 0x7f })
	case r.opt("* "):
		r.untagged()
	default:
		tag = r.while(func(c byte) bool { return isAtomChar(c) && c != '+' })
		if tag == "" {
			r.fail("tag")
		}
		r.need(" ")
		if !r.status("OK", "NO", "BAD") {
			r.fail("OK, NO or BAD")
		}
	}
	r.need("\r\n")
	return tag
}

// status reads one of the types of status response, if there is one.
func (r *reader) status(types ...string) bool {
	for _, typ := range types {
		if r.opt(typ + " ") {
			if r.opt("[") {
				r.code()
				r.need("] ")
			}
			r.rest()
			return true
		}
	}
	return false
}

// codes are the response codes, each with the form of its argument.
var codes = map[string]func(*reader){
	"ALERT": nil, "ALREADYEXISTS": nil, "AUTHENTICATIONFAILED": nil, "AUTHORIZATIONFAILED": nil, "CANNOT": nil, "CLIENTBUG": nil,
	"CLOSED": nil, "COMPRESSIONACTIVE": nil, "CONTACTADMIN": nil, "CORRUPTION": nil, "EXPIRED": nil, "EXPUNGEISSUED": nil,
	"HASCHILDREN": nil, "INUSE": nil, "LIMIT": nil, "NOMODSEQ": nil, "NONEXISTENT": nil, "NOPERM": nil, "NOTIFICATIONOVERFLOW": nil,
	"NOTSAVED": nil, "OVERQUOTA": nil, "PARSE": nil, "PRIVACYREQUIRED": nil, "READ-ONLY": nil, "READ-WRITE": nil, "SERVERBUG": nil,
	"TOOBIG": nil, "TOOFEW": nil, "TOOMANY": nil, "TRYCREATE": nil, "UIDNOTSTICKY": nil, "UIDREQUIRED": nil, "UNAVAILABLE": nil,
	"UNKNOWN-CTE": nil, "USEATTR": nil,
	"APPENDUID":      func(r *reader) { r.nzNumber(); r.need(" "); r.set() },
	"BADCHARSET":     func(r *reader) { r.list(false, func() { r.astring() }) },
	"BADEVENT":       func(r *reader) { r.list(false, func() { r.atom() }) },
	"BADURL":         (*reader).printable,
	"CAPABILITY":     func(r *reader) { r.capabilities() },
	"COPYUID":        func(r *reader) { r.nzNumber(); r.need(" "); r.set(); r.need(" "); r.set() },
	"HIGHESTMODSEQ":  func(r *reader) { r.number(max63) },
	"INPROGRESS":     (*reader).progress,
	"MAILBOXID":      (*reader).objectID,
	"METADATA":       (*reader).metadataCode,
	"MODIFIED":       (*reader).set,
	"NOUPDATE":       func(r *reader) { r.str() },
	"PERMANENTFLAGS": func(r *reader) { r.list(true, func() { r.flag(true) }) },
	"REFERRAL":       (*reader).printable,
	"UIDNEXT":        func(r *reader) { r.nzNumber() },
	"UIDVALIDITY":    func(r *reader) { r.nzNumber() },
	"UNSEEN":         func(r *reader) { r.nzNumber() },
}

// bare are the codes that stand without their argument too.
var bare = []string{"BADCHARSET", "INPROGRESS"}

func (r *reader) code() {
	start := r.i
	name := r.while(func(c byte) bool { return isAtomChar(c) && c != ']' })
	argument, known := codes[name]
	switch {
	case !known:
		r.i = start
		r.fail("a response code")
	case argument == nil:
	case r.at("]"):
		for _, b := range bare {
			if b == name {
				return
			}
		}
		r.fail("the argument of " + name)
	default:
		r.need(" ")
		argument(r)
	}
}

func (r *reader) printable() {
	if s := r.while(func(c byte) bool { return c > ' ' && c < 0x7f && c != ']' }); s == "" {
		r.fail("URL")
	}
}

// progress is RFC 9585 §4.
func (r *reader) progress() {
	r.need("(")
	r.nstring()
	for range 2 {
		r.need(" ")
		if !r.opt("NIL") {
			r.number(max63)
		}
	}
	r.need(")")
}

func (r *reader) metadataCode() {
	switch {
	case r.opt("LONGENTRIES "), r.opt("MAXSIZE "):
		r.number(max32)
	case r.opt("TOOMANY"), r.opt("NOPRIVATE"):
	default:
		r.fail("LONGENTRIES, MAXSIZE, TOOMANY or NOPRIVATE")
	}
}

// capabilities begin with one of the protocol's versions in the first places.
func (r *reader) capabilities() {
	has := r.atom()
	for r.opt(" ") {
		has += " " + r.atom()
	}
	if !strings.Contains(" "+has+" ", " IMAP4rev1 ") {
		r.fail("IMAP4rev1 among the capabilities")
	}
}

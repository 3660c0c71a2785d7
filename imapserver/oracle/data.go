package oracle

import (
	"strings"
	"time"
)

// untagged reads what follows "* ".
func (r *reader) untagged() {
	if r.status("OK", "NO", "BAD", "BYE", "PREAUTH") {
		return
	}
	if r.i < len(r.s) && isDigit(r.s[r.i]) {
		r.numbered()
		return
	}
	start := r.i
	name := r.while(func(c byte) bool { return 'A' <= c && c <= 'Z' || isDigit(c) })
	for _, row := range data {
		if row.name == name {
			row.rule(r)
			return
		}
	}
	r.i = start
	r.fail("an untagged response")
}

// data are the untagged responses that begin with their name.
var data = []struct {
	name string
	rule func(*reader)
}{
	{"ACL", (*reader).acl},
	{"CAPABILITY", func(r *reader) { r.need(" "); r.capabilities() }},
	{"ENABLED", func(r *reader) { r.each(func() { r.atom() }) }},
	{"ESEARCH", (*reader).esearch},
	{"FLAGS", func(r *reader) { r.need(" "); r.list(true, func() { r.flag(false) }) }},
	{"ID", (*reader).id},
	{"LIST", (*reader).listed},
	{"LISTRIGHTS", func(r *reader) { r.words(3, 30) }},
	{"LSUB", (*reader).listed},
	{"METADATA", (*reader).metadata},
	{"MYRIGHTS", func(r *reader) { r.words(2, 2) }},
	{"NAMESPACE", (*reader).namespace},
	{"QUOTA", (*reader).quota},
	{"QUOTAROOT", func(r *reader) { r.words(1, 2) }},
	{"SEARCH", (*reader).found},
	{"SORT", (*reader).found},
	{"STATUS", (*reader).mailboxStatus},
	{"THREAD", (*reader).threads},
	{"UIDBATCHES", (*reader).batches},
	{"XLIST", (*reader).listed},
	{"VANISHED", (*reader).vanished},
}

// each is rule any number of times, each after a space.
func (r *reader) each(rule func()) {
	for r.opt(" ") {
		rule()
	}
}

// words are least to most astrings, each after a space.
func (r *reader) words(least, most int) {
	n := 0
	r.each(func() { r.astring(); n++ })
	if n < least || n > most {
		r.fail("another number of words")
	}
}

func (r *reader) mailbox() {
	r.need(" ")
	r.astring()
}

func (r *reader) acl() {
	n := 0
	r.each(func() { r.astring(); n++ })
	if n%2 != 1 {
		r.fail("identifiers and rights in pairs")
	}
}

func (r *reader) id() {
	r.need(" ")
	if !r.opt("NIL") {
		r.list(true, func() { r.str(); r.need(" "); r.nstring() })
	}
}

func (r *reader) listed() {
	r.need(" ")
	r.list(true, func() { r.need(`\`); r.atom() })
	r.need(" ")
	if !r.opt("NIL") && len(r.str()) != 1 {
		r.fail("a delimiter of one character")
	}
	r.mailbox()
	if r.opt(" ") { // RFC 5258 §3
		r.list(false, func() {
			switch name := r.astring(); name {
			case "CHILDINFO", "OLDNAME":
				r.need(" ")
				r.list(false, func() { r.str() })
			default:
				r.fail("CHILDINFO or OLDNAME before this")
			}
		})
	}
}

func (r *reader) metadata() {
	r.mailbox()
	if r.at(" (") {
		r.need(" ")
		r.list(false, func() {
			r.entry()
			r.need(" ")
			if r.at("~") {
				r.literal(true)
			} else {
				r.nstring()
			}
		})
		return
	}
	r.need(" ")
	r.entry()
	r.each(r.entry)
}

func (r *reader) entry() {
	if name := r.astring(); !strings.HasPrefix(name, "/private/") && !strings.HasPrefix(name, "/shared/") {
		r.fail("an entry before this")
	}
}

func (r *reader) namespace() {
	for range 3 {
		r.need(" ")
		if r.opt("NIL") {
			continue
		}
		r.need("(")
		for !r.opt(")") {
			r.need("(")
			r.str()
			r.need(" ")
			if !r.opt("NIL") {
				r.str()
			}
			r.need(")")
		}
	}
}

func (r *reader) quota() {
	r.need(" ")
	r.astring()
	r.need(" ")
	r.list(true, func() {
		r.atom()
		for range 2 {
			r.need(" ")
			r.number(max63)
		}
	})
}

func (r *reader) found() {
	for r.opt(" ") {
		if r.opt("(MODSEQ ") {
			r.number(max63)
			r.need(")")
			return
		}
		r.nzNumber()
	}
}

func (r *reader) mailboxStatus() {
	r.mailbox()
	r.need(" ")
	r.list(true, func() {
		name := r.atom()
		r.need(" ")
		if name == "MAILBOXID" {
			r.objectID()
			return
		}
		if !strings.Contains(" MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE HIGHESTMODSEQ APPENDLIMIT DELETED-STORAGE ", " "+name+" ") {
			r.fail("an item of STATUS before this")
		}
		r.number(max63)
	})
}

// threads is RFC 5256 §5: each thread has a number or threads in it.
func (r *reader) threads() {
	if !r.opt(" ") {
		return
	}
	for first := true; first || r.at("("); first = false {
		r.thread()
	}
}

func (r *reader) thread() {
	r.need("(")
	if !r.at("(") {
		r.nzNumber()
		for r.opt(" ") {
			if r.at("(") {
				break
			}
			r.nzNumber()
		}
	}
	for r.at("(") {
		r.thread()
	}
	r.need(")")
}

func (r *reader) batches() {
	r.need(" (TAG ")
	r.str()
	r.need(")")
	if r.opt(" ") {
		r.set()
	}
}

func (r *reader) vanished() {
	r.need(" ")
	r.opt("(EARLIER) ")
	r.set()
}

// esearch is RFC 9051 §7.3.4, with RFC 5267, 6203, 7162, 7377 and 9394.
func (r *reader) esearch() {
	if r.opt(" (TAG ") {
		r.str()
		if r.opt(" MAILBOX ") {
			r.astring()
			r.need(" UIDVALIDITY ")
			r.nzNumber()
		}
		r.need(")")
	}
	r.opt(" UID")
	for r.opt(" ") {
		switch name := r.atom(); name {
		case "ALL":
			r.need(" ")
			r.set()
		case "MIN", "MAX":
			r.need(" ")
			r.nzNumber()
		case "COUNT", "MODSEQ":
			r.need(" ")
			r.number(max63)
		case "ADDTO", "REMOVEFROM":
			r.need(" ")
			r.list(false, func() { r.number(max32); r.need(" "); r.set() })
		case "PARTIAL":
			r.need(" ")
			r.partial()
		case "RELEVANCY":
			r.need(" ")
			r.list(true, func() { r.number(100) })
		default:
			r.fail("a result before this")
		}
	}
}

func (r *reader) partial() {
	r.need("(")
	for range 2 {
		r.opt("-")
		r.nzNumber()
		r.opt(":")
	}
	r.need(" ")
	if !r.opt("NIL") {
		r.set()
	}
	r.need(")")
}

// numbered reads a response that begins with a number.
func (r *reader) numbered() {
	n := r.number(max32)
	r.need(" ")
	switch name := r.while(func(c byte) bool { return 'A' <= c && c <= 'Z' }); name {
	case "EXISTS", "RECENT":
	case "EXPUNGE":
		r.positive(n)
	case "FETCH", "UIDFETCH":
		r.positive(n)
		r.need(" ")
		r.list(false, r.item)
	default:
		r.fail("EXISTS, RECENT, EXPUNGE, FETCH or UIDFETCH before this")
	}
}

func (r *reader) positive(n uint64) {
	if n == 0 {
		r.fail("a number of a message before this")
	}
}

// item is one of FETCH.
func (r *reader) item() {
	name := r.while(func(c byte) bool { return 'A' <= c && c <= 'Z' || isDigit(c) || c == '.' })
	if name == "BODY" && r.at("[") || strings.HasPrefix(name, "BINARY") {
		r.section(name)
		return
	}
	r.need(" ")
	switch name {
	case "FLAGS":
		r.list(true, func() { r.flag(false) })
	case "UID":
		r.nzNumber()
	case "MODSEQ":
		r.need("(")
		r.number(max63)
		r.need(")")
	case "INTERNALDATE":
		r.dateTime()
	case "SAVEDATE":
		if !r.opt("NIL") {
			r.dateTime()
		}
	case "RFC822.SIZE":
		r.number(max63)
	case "ENVELOPE":
		r.envelope()
	case "BODY", "BODYSTRUCTURE":
		r.body(name != "BODY")
	case "PREVIEW", "RFC822", "RFC822.HEADER", "RFC822.TEXT":
		r.nstring()
	case "EMAILID":
		r.objectID()
	case "THREADID":
		if !r.opt("NIL") {
			r.objectID()
		}
	default:
		r.fail("an item of FETCH before this")
	}
}

// section is what stands in brackets, and the octets.
func (r *reader) section(name string) {
	r.need("[")
	for isDigit(r.s[r.i]) {
		r.nzNumber()
		if !r.opt(".") {
			break
		}
	}
	if name == "BODY" && !r.at("]") {
		r.while(func(c byte) bool { return 'A' <= c && c <= 'Z' || c == '.' })
		if r.opt(" ") {
			r.list(false, func() { r.astring() })
		}
	}
	r.need("]")
	if r.opt("<") {
		r.number(max63)
		r.need(">")
	}
	r.need(" ")
	switch {
	case name == "BINARY.SIZE":
		r.number(max63)
	case r.at("~"):
		if name != "BINARY" {
			r.fail("no literal8 outside of BINARY")
		}
		r.literal(true)
	default:
		r.nstring()
	}
}

func (r *reader) dateTime() {
	const form = `_2-Jan-2006 15:04:05 -0700`
	start := r.i
	text := r.str()
	if t, err := time.Parse(form, text); err != nil || t.Format(form) != text {
		r.i = start
		r.fail("date-time")
	}
}

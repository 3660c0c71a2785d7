package message

import (
	"fmt"
	"strconv"
	"strings"
)

// grammar reads ENVELOPE, BODY and BODYSTRUCTURE strictly as RFC 9051 §9 has
// them. It shares nothing with the writer. It panics with a grammarError.
type grammar struct {
	s     string
	i     int
	parts int
}

type grammarError string

// checkGrammar reads s by one of the grammar's rules, to its end.
func checkGrammar(s string, rule func(*grammar)) (err error) {
	defer func() {
		if e, ok := recover().(grammarError); ok {
			err = fmt.Errorf("%s\nin %.300q", string(e), s)
		}
	}()
	g := &grammar{s: s}
	rule(g)
	if g.i != len(s) {
		g.fail("nothing more")
	}
	return nil
}

func (g *grammar) fail(want string) {
	panic(grammarError(fmt.Sprintf("offset %d: want %s, have %.40q", g.i, want, g.s[g.i:])))
}

func (g *grammar) at(s string) bool { return strings.HasPrefix(g.s[g.i:], s) }

func (g *grammar) need(s string) {
	if !g.at(s) {
		g.fail(strconv.Quote(s))
	}
	g.i += len(s)
}

func (g *grammar) opt(s string) bool {
	if g.at(s) {
		g.i += len(s)
		return true
	}
	return false
}

func (g *grammar) number() int {
	start := g.i
	for g.i < len(g.s) && '0' <= g.s[g.i] && g.s[g.i] <= '9' {
		g.i++
	}
	n, err := strconv.ParseUint(g.s[start:g.i], 10, 32)
	if err != nil {
		g.fail("number")
	}
	return int(n)
}

func (g *grammar) str() string {
	if g.opt("{") {
		n := g.number()
		g.need("}\r\n")
		if n > len(g.s)-g.i {
			g.fail("literal")
		}
		s := g.s[g.i : g.i+n]
		if strings.IndexByte(s, 0) >= 0 {
			g.fail("literal without NUL")
		}
		g.i += n
		return s
	}
	g.need(`"`)
	var b strings.Builder
	for !g.opt(`"`) {
		if g.i == len(g.s) {
			g.fail("closing quote")
		}
		c := g.s[g.i]
		g.i++
		if c == '\\' {
			if !g.at(`"`) && !g.at(`\`) {
				g.fail("escaped special")
			}
			c = g.s[g.i]
			g.i++
		}
		if c == 0 || c == '\r' || c == '\n' || c >= 0x80 {
			g.fail("TEXT-CHAR")
		}
		b.WriteByte(c)
	}
	return b.String()
}

func (g *grammar) nstring() (s string, ok bool) {
	if g.opt("NIL") {
		return "", false
	}
	return g.str(), true
}

func (g *grammar) envelope() {
	g.need("(")
	g.nstring() // date
	g.need(" ")
	g.nstring() // subject
	for range 6 {
		g.need(" ")
		g.addresses()
	}
	g.need(" ")
	g.nstring() // in-reply-to
	g.need(" ")
	g.nstring() // message-id
	g.need(")")
}

func (g *grammar) addresses() {
	if g.opt("NIL") {
		return
	}
	g.need("(")
	inGroup := false
	for first := true; first || !g.at(")"); first = false {
		g.need("(")
		g.nstring()
		g.need(" ")
		g.nstring()
		g.need(" ")
		_, mailbox := g.nstring()
		g.need(" ")
		_, host := g.nstring()
		g.need(")")
		if !host {
			if mailbox == inGroup {
				g.fail("marks of groups in pairs")
			}
			inGroup = mailbox
		} else if !mailbox {
			g.fail("mailbox beside a host")
		}
	}
	if inGroup {
		g.fail("end of group")
	}
	g.need(")")
}

func (g *grammar) body(extended bool) {
	g.parts++
	g.need("(")
	if g.at("(") {
		for g.at("(") {
			g.body(extended)
		}
		g.need(" ")
		g.str()
		if extended {
			g.need(" ")
			g.params()
			g.tail()
		}
	} else {
		g.single(extended)
	}
	g.need(")")
}

func (g *grammar) single(extended bool) {
	typ := strings.ToLower(g.str())
	g.need(" ")
	sub := strings.ToLower(g.str())
	g.need(" ")
	g.params()
	g.need(" ")
	g.nstring() // id
	g.need(" ")
	g.nstring() // description
	g.need(" ")
	g.str() // encoding
	g.need(" ")
	g.number() // octets
	if typ == "message" && (sub == "rfc822" || sub == "global") {
		g.need(" ")
		g.envelope()
		g.need(" ")
		g.body(extended)
	}
	if typ == "text" || typ == "message" && (sub == "rfc822" || sub == "global") {
		g.need(" ")
		g.number() // lines
	}
	if extended {
		g.need(" ")
		g.nstring() // md5
		g.tail()
	}
}

func (g *grammar) tail() {
	g.need(" ")
	if !g.opt("NIL") {
		g.need("(")
		g.str()
		g.need(" ")
		g.params()
		g.need(")")
	}
	g.need(" ")
	if !g.opt("NIL") {
		g.need("(")
		g.str()
		for g.opt(" ") {
			g.str()
		}
		g.need(")")
	}
	g.need(" ")
	g.nstring() // location
}

func (g *grammar) params() {
	if g.opt("NIL") {
		return
	}
	g.need("(")
	for {
		g.str()
		g.need(" ")
		g.str()
		if !g.opt(" ") {
			break
		}
	}
	g.need(")")
}

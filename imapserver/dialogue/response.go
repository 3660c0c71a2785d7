package dialogue

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// node is a piece of a response, or of what is expected of one.
type node struct {
	kind nodeKind
	text string // word, string, rest
	kids []node // list, code, set
}

type nodeKind uint8

const (
	word   nodeKind = iota
	quoted          // a string, in whatever form it was sent
	rest            // the human text of a status response, or of "+"
	list            // in parentheses
	code            // in brackets, of a status response
	set             // a list without order
)

// parseResponse takes a response apart. Literals stand in it as they were
// sent; in a pattern, {{name}} stands for a string that messages has.
func parseResponse(line string, messages map[string]string) (n []node, err error) {
	defer func() {
		if r, ok := recover().(syntaxError); ok {
			err = fmt.Errorf("%s in %q", string(r), line)
		}
	}()
	p := responseParser{s: line, messages: messages}
	return order(p.response()), nil
}

type syntaxError string

type responseParser struct {
	s        string
	i        int
	messages map[string]string // nil for a response
}

func (p *responseParser) fail(what string) {
	panic(syntaxError(fmt.Sprintf("offset %d: %s", p.i, what)))
}

func (p *responseParser) take(s string) bool {
	if strings.HasPrefix(p.s[p.i:], s) {
		p.i += len(s)
		return true
	}
	return false
}

// response reads a whole response.
func (p *responseParser) response() []node {
	tag, after, _ := strings.Cut(p.s, " ")
	out := []node{{kind: word, text: tag}}
	p.i = len(p.s) - len(after)
	if tag == "+" {
		return append(out, node{kind: rest, text: after})
	}
	status, text, _ := strings.Cut(after, " ")
	switch status {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		out = append(out, node{kind: word, text: status})
		p.i = len(p.s) - len(text)
		if p.take("[") {
			out = append(out, node{kind: code, kids: p.nodes("]")})
			p.take(" ")
		}
		return append(out, node{kind: rest, text: p.s[p.i:]})
	}
	return append(out, p.nodes("")...)
}

// nodes reads up to end, and past it.
func (p *responseParser) nodes(end string) []node {
	var out []node
	for {
		for p.take(" ") {
		}
		switch {
		case p.i == len(p.s) && end == "", end != "" && p.take(end):
			return out
		case p.i == len(p.s):
			p.fail("no " + end)
		}
		out = append(out, p.node(end))
	}
}

func (p *responseParser) node(end string) node {
	switch {
	case p.take("("):
		return node{kind: list, kids: p.nodes(")")}
	case p.take(`"`):
		return p.quoted()
	case p.messages != nil && p.take("{{"):
		name, _, ok := strings.Cut(p.s[p.i:], "}}")
		text, known := p.messages[name]
		if !ok || !known {
			p.fail("no such message")
		}
		p.i += len(name) + 2
		return node{kind: quoted, text: text}
	case p.take("{"), p.take("~{"):
		return p.literal()
	}
	return p.word(end)
}

func (p *responseParser) quoted() node {
	var b strings.Builder
	for !p.take(`"`) {
		if p.i == len(p.s) {
			p.fail("string is not closed")
		}
		c := p.s[p.i]
		p.i++
		if c == '\\' && p.i < len(p.s) {
			c = p.s[p.i]
			p.i++
			switch {
			case p.messages != nil && c == 'r':
				c = '\r'
			case p.messages != nil && c == 'n':
				c = '\n'
			case p.messages != nil && c == '0':
				c = 0
			case c != '"' && c != '\\':
				p.fail("bad escape")
			}
		}
		b.WriteByte(c)
	}
	return node{kind: quoted, text: b.String()}
}

func (p *responseParser) literal() node {
	digits, _, ok := strings.Cut(p.s[p.i:], "}\r\n")
	n, err := strconv.Atoi(digits)
	p.i += len(digits) + len("}\r\n")
	if !ok || err != nil || n < 0 || n > len(p.s)-p.i {
		p.fail("bad literal")
	}
	p.i += n
	return node{kind: quoted, text: p.s[p.i-n : p.i]}
}

// word reads a word; one with a bracket in it goes on to the closing one and
// what follows that: BODY[HEADER.FIELDS (To)]<0>.
func (p *responseParser) word(end string) node {
	start := p.i
	for p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case c == ' ', c == '(', c == ')', c == '"', end != "" && p.s[p.i:p.i+1] == end:
			if p.i == start {
				p.fail("word expected")
			}
			return node{kind: word, text: p.s[start:p.i]}
		case c == '[':
			n := strings.IndexByte(p.s[p.i:], ']')
			if n < 0 {
				p.fail("no ]")
			}
			p.i += n
		}
		p.i++
	}
	return node{kind: word, text: p.s[start:]}
}

// order makes sets of what has no order.
func order(r []node) []node {
	if len(r) > 2 && r[2].kind == code {
		r[2].kids = orderCode(r[2].kids)
	}
	if len(r) > 3 && (r[2].is("FETCH") || r[2].is("UIDFETCH")) && r[3].kind == list {
		r[3] = pairs(r[3].kids)
	}
	if len(r) < 3 || r[0].text != "*" {
		return r
	}
	switch r[1].text {
	case "LIST", "LSUB", "XLIST", "FLAGS":
		r[2].kind = set
	case "STATUS":
		if len(r) > 3 {
			r[3] = pairs(r[3].kids)
		}
	case "CAPABILITY", "ENABLED", "SEARCH":
		r = append(r[:2:2], node{kind: set, kids: r[2:]})
	case "ESEARCH":
		r = append(r[:2:2], pairs(r[2:]))
	case "ID":
		if r[2].kind == list {
			r[2] = pairs(r[2].kids)
		}
	}
	return r
}

func (n node) is(text string) bool { return n.kind == word && n.text == text }

func orderCode(kids []node) []node {
	if len(kids) < 2 {
		return kids
	}
	switch kids[0].text {
	case "PERMANENTFLAGS":
		kids[1].kind = set
	case "CAPABILITY":
		return append(kids[:1:1], node{kind: set, kids: kids[1:]})
	}
	return kids
}

// pairs makes a set of names and their values. "...", the tag of ESEARCH, and
// its UID stand alone.
func pairs(kids []node) node {
	out := node{kind: set}
	for i := 0; i < len(kids); i++ {
		k := kids[i]
		if k.is("...") || k.kind == list || k.is("UID") && i == 1 && kids[0].kind == list || i+1 == len(kids) {
			out.kids = append(out.kids, k)
			continue
		}
		i++
		value := kids[i]
		if k.is("FLAGS") && value.kind == list {
			value.kids, value.kind = slices.Clone(value.kids), set
		}
		out.kids = append(out.kids, node{kind: list, kids: []node{k, value}})
	}
	return out
}

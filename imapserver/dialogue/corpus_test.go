package dialogue

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
)

// corpus makes messages, ordinary and hostile: the same ones for the same seed.
// Line ends are LF.
type corpus struct{ rnd *rand.Rand }

// any picks one of several texts.
func (c *corpus) any(list ...string) string { return list[c.rnd.IntN(len(list))] }

func (c *corpus) one(in int) bool { return c.rnd.IntN(in) == 0 }

var corpusWords = []string{"hello", "report", "invoice", "Grüße", "naïve", "meeting", "über", "quarterly", "日本", "plan", "X", "re:view"}

func (c *corpus) words(n int) string {
	var list []string
	for range 1 + c.rnd.IntN(n) {
		list = append(list, c.any(corpusWords...))
	}
	return strings.Join(list, " ")
}

// encoded is a text as a header has it.
func (c *corpus) encoded(s string) string {
	switch c.rnd.IntN(5) {
	case 0:
		return "=?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
	case 1:
		var b strings.Builder
		for i := range len(s) {
			fmt.Fprintf(&b, "=%02X", s[i])
		}
		return "=?UTF-8?q?" + b.String() + "?="
	case 2:
		return "=?utf-8?Q?a?= =?utf-8?Q?b?= " + asciiOf(s)
	}
	return asciiOf(s)
}

func asciiOf(s string) string {
	return strings.Map(func(r rune) rune {
		if r > 126 {
			return 'u'
		}
		return r
	}, s)
}

func (c *corpus) address() string {
	local := c.any("ann", "bob", `"b o b"`, "c.d", "x+y", "Ann")
	spec := local + "@" + c.any("example.org", "EXAMPLE.com", "[192.0.2.1]", "sub.example.net")
	switch c.rnd.IntN(9) {
	case 0:
		return spec
	case 1:
		return "<" + spec + ">"
	case 2:
		return `"Doe, ` + c.any("John", "Jane", `J \"x\" D`) + `" <` + spec + ">"
	case 3:
		return c.encoded(c.any("Jörg Groß", "Ann")) + " <" + spec + ">"
	case 4:
		return spec + " (" + c.any("Ann", "a (nested) one", "") + ")"
	case 5:
		return "Ann B. <" + spec + ">"
	case 6:
		return c.any("team", "undisclosed-recipients") + ":" + c.any("", spec, spec+", bob@example.org") + ";"
	}
	return c.any("Ann Smith", "Bob") + " <" + spec + ">"
}

func (c *corpus) addresses() string {
	var list []string
	for range 1 + c.rnd.IntN(3) {
		list = append(list, c.address())
	}
	return strings.Join(list, c.any(", ", ",", ",\n ", " , "))
}

// broken is an address field that is none.
func (c *corpus) broken() string {
	return c.any("", "<", "ann@", "@example.org", "ann", `"unclosed <a@b>`, "a@b, , c@d", "<a@b", "Ann <a@b> junk", "<@route.example:a@b>", ";", "x:", "a b c", "ann@example.org,")
}

func (c *corpus) date() string {
	return c.any("Mon, 2 Feb 2026 10:00:00 +0100", "2 Feb 2026 23:59:59 -0800", "Tue, 03 Mar 2026 04:05 GMT", "Wed, 04 Mar 26 04:05:06 EST",
		"Mon,  2 Feb 2026 10:00:00 +0100 (CET)", "not a date", "", "32 Foo 2026")
}

// header makes the fields of a message but for those of MIME.
func (c *corpus) header(n int) string {
	var b strings.Builder
	field := func(name, value string) { fmt.Fprintf(&b, "%s: %s\n", name, value) }
	if !c.one(12) {
		field("Date", c.date())
	}
	for _, name := range []string{"From", "To", "Cc", "Bcc", "Sender", "Reply-To"} {
		switch {
		case c.one(12):
			field(name, c.broken())
		case name == "From" || name == "To" || c.one(3):
			field(c.any(name, name, strings.ToLower(name), strings.ToUpper(name)), c.addresses())
		}
	}
	if !c.one(10) {
		field("Subject", c.any("", "Re: ", "Fwd: ", "[list] ")+c.encoded(c.words(5)))
	}
	if c.one(8) {
		field("Subject", "second subject")
	}
	if c.one(6) {
		field("X-Long", strings.Repeat("word ", 40)+"\n\tfolded\n more")
	}
	field("Message-ID", c.any(fmt.Sprintf("<m%d@example.org>", n), fmt.Sprintf("<m%d@example.org> (note)", n), fmt.Sprintf("m%d", n)))
	if c.one(3) {
		field("In-Reply-To", c.any(fmt.Sprintf("<m%d@example.org>", c.rnd.IntN(n+1)), "Your message of today", "<a@b> <c@d>"))
	}
	return b.String()
}

func (c *corpus) text() string {
	var b strings.Builder
	for range c.rnd.IntN(8) {
		b.WriteString(asciiOf(c.words(9)) + "\n")
	}
	return b.String()
}

// part makes an entity: its MIME fields, an empty line, its body.
func (c *corpus) part(depth int) string {
	switch c.rnd.IntN(10) {
	case 0, 1, 2:
		if depth > 0 {
			return c.multipart(depth)
		}
	case 3:
		if depth > 0 {
			return "Content-Type: message/rfc822" + c.any("", "; x=y") + "\n" + c.any("", "Content-Disposition: attachment\n") + "\n" + c.header(1) + c.part(depth-1)
		}
	case 4:
		return "\n" + c.text() // no field at all
	case 5:
		return "Content-Type: " + c.any("application/pdf; name=\"a b.pdf\"", "image/png;name=x.png", "application/octet-stream") + "\n" +
			"Content-Transfer-Encoding: " + c.any("base64", "BASE64", "Base64 ") + "\n" +
			c.any("", "Content-Disposition: attachment; filename=\"a b.pdf\"; size=17\n", "Content-Disposition: attachment; filename*=utf-8''%C3%A4.pdf\n") +
			c.any("", "Content-ID: <part@example.org>\n") + c.any("", "Content-Description: a thing\n") + c.any("", "Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\n") +
			"\n" + base64.StdEncoding.EncodeToString([]byte(c.text())) + "\n"
	case 6:
		if !c.one(4) {
			break
		}
		return c.any("Content-Type: \n", "Content-Type: text\n", "Content-Type: text/\n", "Content-Type: ; charset=x\n", "Content-Type: text/plain; charset\n",
			"Content-Type: text/plain; charset=\"unclosed\n", "Content-Type: multipart/mixed\n", "Content-Type: text/plain;;; charset=utf-8\n") + "\n" + c.text()
	}
	return "Content-Type: " + c.any("text/plain", "TEXT/Plain", "text/html") + c.any("", "; charset=utf-8", "; charset=\"us-ascii\"; format=flowed", ";\n charset=iso-8859-1") + "\n" +
		c.any("", "Content-Transfer-Encoding: 7bit\n", "Content-Transfer-Encoding: quoted-printable\n", "Content-Transfer-Encoding: 8bit\n") +
		c.any("", "", "Content-Language: de, en\n", "Content-Location: http://example.org/\n", "Content-Disposition: inline\n") + "\n" + c.text()
}

func (c *corpus) multipart(depth int) string {
	boundary := c.any("x", "x", "b1", "----=_Part", "a b") + c.any("", "1", "2", fmt.Sprint(depth))
	var b strings.Builder
	fmt.Fprintf(&b, "Content-Type: multipart/%s; %s=%q\n\n", c.any("mixed", "alternative", "related", "digest", "MIXED"), c.any("boundary", "Boundary"), boundary)
	b.WriteString(c.any("", "", "preamble\n"))
	parts := 1 + c.rnd.IntN(3)
	if c.one(30) {
		parts = 0
	}
	for range parts {
		b.WriteString("--" + boundary + c.any("\n", "\n", "  \n") + c.part(depth-1))
	}
	switch c.rnd.IntN(30) {
	case 0: // a line that is more than the delimiter
		b.WriteString("--" + boundary + "--")
	case 1, 2, 3, 4: // unclosed
	default:
		b.WriteString("--" + boundary + "--\n" + c.any("", "epilogue\n"))
	}
	return b.String()
}

// message makes message n.
func (c *corpus) message(n int) string {
	return c.header(n) + c.any("MIME-Version: 1.0\n", "MIME-Version: 1.0\n", "") + c.part(3)
}

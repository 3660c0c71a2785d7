package wire

import (
	"errors"
	"io"
	"math"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

// URL is an IMAP URL (RFC 5092) of a message or of a part of one, as it is
// relative to the server or to the selected mailbox.
type URL struct {
	Mailbox     string // UTF-8, as the client names it; "" is the selected one
	UIDValidity uint32 // 0: not given
	UID         imap.UID
	Section     *imap.FetchItemBodySection // all of the message, where none is given
}

var errURL = errors.New("not an IMAP URL of a message of this account")

// ParseURL reads the URL of a message. One that names a server is refused: it
// cannot be told to be this one.
func ParseURL(s string) (URL, error) {
	u := URL{Section: &imap.FetchItemBodySection{Peek: true}}
	mailbox, rest := "", s
	if strings.HasPrefix(s, "/") {
		i := strings.Index(s, "/;")
		if i < 1 { // RFC 5092 §11: imessagelist
			return u, errURL
		}
		mailbox, rest = s[1:i], s[i+1:]
		name, validity, found := cutParam(mailbox, ";UIDVALIDITY=")
		if found {
			n, ok := number(validity, math.MaxUint32)
			if !ok {
				return u, errURL
			}
			u.UIDValidity, mailbox = uint32(n), name
		}
		var err error
		if u.Mailbox, err = url.PathUnescape(mailbox); err != nil || u.Mailbox == "" || !utf8.ValidString(u.Mailbox) || strings.HasPrefix(mailbox, "/") {
			return u, errURL
		}
	}
	for i, part := range strings.Split(rest, "/") {
		if !u.param(part, i == 0) {
			return u, errURL
		}
	}
	return u, nil
}

// param reads one of the parameters of a message, of which UID is the first.
func (u *URL) param(s string, first bool) bool {
	name, value, ok := strings.Cut(s, "=")
	value, err := url.PathUnescape(value)
	if !ok || err != nil {
		return false
	}
	switch name = strings.ToUpper(name); {
	case first != (name == ";UID"):
		return false
	case first:
		n, ok := number(value, math.MaxUint32)
		u.UID = imap.UID(n)
		return ok
	case name == ";SECTION" && u.Section.Partial == nil:
		section, ok := parseSection(value)
		u.Section = section
		return ok
	case name == ";PARTIAL":
		offset, size, sized := strings.Cut(value, ".")
		p := &imap.SectionPartial{Size: math.MaxInt64}
		from, err := strconv.ParseUint(offset, 10, 63)
		p.Offset = int64(from)
		if sized {
			n, ok := number(size, math.MaxInt64)
			if !ok {
				return false
			}
			p.Size = int64(n)
		}
		u.Section.Partial = p
		return err == nil
	}
	return false
}

// cutParam cuts at a parameter's name, whose case does not count.
func cutParam(s, name string) (before, value string, found bool) {
	i := strings.LastIndexByte(s, ';')
	if i < 0 || len(s) < i+len(name) || !strings.EqualFold(s[i:i+len(name)], name) {
		return s, "", false
	}
	return s[:i], s[i+len(name):], true
}

// number reads an nz-number.
func number(s string, limit uint64) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n > 0 && n <= limit && s[0] != '+'
}

// parseSection reads a section as it stands between brackets. Without a line end in
// it, it has no literals, which a URL cannot have.
func parseSection(s string) (*imap.FetchItemBodySection, bool) {
	if strings.Contains(s, "\n") {
		return nil, false
	}
	limits := PostAuth
	d := &decoder{r: NewReader(strings.NewReader(s+"]"), NewWriter(nil), &limits)}
	section := &imap.FetchItemBodySection{Peek: true}
	d.sectionSpec(section)
	d.expect(']', "end of the section")
	_, err := d.r.br.Peek(1)
	return section, d.err == nil && err == io.EOF
}

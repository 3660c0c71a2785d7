package wire

import (
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

// expectMailbox reads a mailbox name.
func (d *decoder) expectMailbox() string {
	return d.mailboxName(d.expectAString("mailbox name"))
}

// expectReference reads the name that is put before patterns; ok is false where no
// mailbox has a name like that.
func (d *decoder) expectReference() (name string, ok bool) {
	name, fault := d.decodeName(d.expectAString("mailbox name"))
	return name, fault == ""
}

// expectPattern reads a mailbox name with wildcards; ok is false where no mailbox has
// a name like that.
func (d *decoder) expectPattern() (pattern string, ok bool) {
	s, quoted := d.takeString()
	if !quoted {
		if s = d.run(listChar); s == "" {
			d.fail("mailbox name expected")
		}
	}
	pattern, fault := d.decodeName(s)
	return pattern, fault == ""
}

// mailboxName decodes a name. A name in the wrong encoding is no mistake of
// syntax: the answer is NO.
func (d *decoder) mailboxName(s string) string {
	name, fault := d.decodeName(s)
	if fault != "" {
		d.refuse(imap.StatusResponseTypeNo, imap.ResponseCodeCannot, fault)
	}
	return name
}

// decodeName decodes a name, and says what is wrong with its encoding, if anything is.
func (d *decoder) decodeName(s string) (name, fault string) {
	if d.r.utf8 {
		if !utf8.ValidString(s) {
			return "", "mailbox name is not valid UTF-8"
		}
		return s, ""
	}
	name, ok := DecodeUTF7(s)
	if !ok && isUTF8Name(s) {
		return strings.ReplaceAll(s, "&-", "&"), ""
	}
	if !ok {
		return "", "mailbox name is not valid modified UTF-7"
	}
	return name, ""
}

// isUTF8Name tells a name in UTF-8 from one in a bad encoding. Deviation: clients
// made with go-imap write UTF-8 as soon as IMAP4rev2 is advertised, without
// enabling it, and "&" as "&-" all the same. No name in modified UTF-7 has such
// octets in it.
func isUTF8Name(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(c rune) bool { return c >= utf8.RuneSelf }) >= 0
}

func (d *decoder) spMailbox() string {
	d.expectSP()
	return d.expectMailbox()
}

func parseSelect(d *decoder) Command  { return d.selectMailbox(false) }
func parseExamine(d *decoder) Command { return d.selectMailbox(true) }
func parseDelete(d *decoder) Command  { return &Delete{Mailbox: d.spMailbox()} }

// selectMailbox reads SELECT and EXAMINE (RFC 9051 §6.3.2).
func (d *decoder) selectMailbox(readOnly bool) Command {
	c := &Select{Mailbox: d.spMailbox(), ReadOnly: readOnly}
	if d.take(' ') {
		modifiers(d, c, SelectParameters)
	}
	return c
}

// parseCreate reads CREATE (RFC 9051 §6.3.4, RFC 6154 §3).
func parseCreate(d *decoder) Command {
	c := &Create{Mailbox: d.spMailbox()}
	if d.take(' ') {
		modifiers(d, c, CreateParameters)
	}
	return c
}

func parseRename(d *decoder) Command {
	from := d.spMailbox()
	return &Rename{From: from, To: d.spMailbox()}
}

func parseSubscribe(d *decoder) Command   { return &Subscribe{Mailbox: d.spMailbox(), On: true} }
func parseUnsubscribe(d *decoder) Command { return &Subscribe{Mailbox: d.spMailbox()} }

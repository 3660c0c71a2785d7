package profile

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"mailstead/schema"
)

// ErrNoOutgoing is that of files that cannot be without a server for outgoing mail.
var ErrNoOutgoing = errors.New("the description names no server for outgoing mail (profiles: submission)")

const plistHead = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
`

// MobileConfig is a configuration profile for Apple's Mail, not signed: Sign does
// that. Its identifiers follow from host and user, so that a later one takes the
// place of the one that is installed. There is no password in it: the device asks.
// The payload com.apple.mail.managed has to have a server for outgoing mail; without
// one the error is ErrNoOutgoing.
func (s *Settings) MobileConfig() ([]byte, error) {
	switch {
	case s.Address == "":
		return nil, errors.New("a profile for Apple Mail is one user's")
	case s.Outgoing == nil:
		return nil, fmt.Errorf("a profile for Apple Mail: %w", ErrNoOutgoing)
	}
	user := s.Incoming[0].User
	p := plist{}
	p.raw(plistHead)
	p.open("dict")
	p.key("PayloadContent").open("array").open("dict")
	s.mailPayload(&p)
	p.close("dict").close("array")
	p.text("PayloadDescription", fmt.Sprintf("Sets up Mail for %s at %s. The password is asked for.", s.Address, s.Name))
	p.text("PayloadDisplayName", s.Name+": "+s.Address)
	p.text("PayloadIdentifier", s.identifier(user))
	p.text("PayloadOrganization", s.Name)
	p.flag("PayloadRemovalDisallowed", false)
	p.text("PayloadType", "Configuration")
	p.text("PayloadUUID", s.uuid(user, "profile"))
	p.number("PayloadVersion", 1)
	p.close("dict")
	p.raw("</plist>\n")
	return p.Bytes(), nil
}

// mailPayload writes the keys of the account.
func (s *Settings) mailPayload(p *plist) {
	in, out := s.Incoming[0], *s.Outgoing
	p.text("EmailAccountDescription", s.Name)
	p.text("EmailAccountType", "EmailTypeIMAP")
	p.text("EmailAddress", s.Address)
	p.text("IncomingMailServerAuthentication", "EmailAuthPassword")
	p.text("IncomingMailServerHostName", in.Host)
	if prefix := strings.TrimSuffix(s.Namespace, "."); prefix != "" {
		p.text("IncomingMailServerIMAPPathPrefix", prefix)
	}
	p.number("IncomingMailServerPortNumber", in.Port)
	p.flag("IncomingMailServerUseSSL", true) // STARTTLS where the port is not that of TLS
	p.text("IncomingMailServerUsername", in.User)
	if out.User == "" {
		p.text("OutgoingMailServerAuthentication", "EmailAuthNone")
	} else {
		p.text("OutgoingMailServerAuthentication", "EmailAuthPassword")
	}
	p.text("OutgoingMailServerHostName", out.Host)
	p.number("OutgoingMailServerPortNumber", out.Port)
	p.flag("OutgoingMailServerUseSSL", true)
	if out.User != "" {
		p.text("OutgoingMailServerUsername", out.User)
		p.flag("OutgoingPasswordSameAsIncomingPassword", true)
	}
	p.text("PayloadDescription", "The mail account "+s.Address)
	p.text("PayloadDisplayName", s.Address)
	p.text("PayloadIdentifier", s.identifier(in.User)+".mail")
	p.text("PayloadType", "com.apple.mail.managed")
	p.text("PayloadUUID", s.uuid(in.User, "mail"))
	p.number("PayloadVersion", 1)
}

// identifier is by what a device knows a profile again: the host's name in
// reverse order, and the user's UUID in place of a name that may have dots.
func (s *Settings) identifier(user string) string {
	labels := strings.Split(s.Host, ".")
	for i, j := 0, len(labels)-1; i < j; i, j = i+1, j-1 {
		labels[i], labels[j] = labels[j], labels[i]
	}
	return strings.Join(labels, ".") + ".mailstead." + s.uuid(user, "user")
}

// uuid follows from the host and the user (RFC 9562 §5.5).
func (s *Settings) uuid(user, what string) string {
	name := "imap://" + s.Host + "/" + what + "/" + user
	return strings.ToUpper(uuid.NewSHA1(uuid.NameSpaceURL, []byte(name)).String())
}

// plist writes a property list, one element a line.
type plist struct{ bytes.Buffer }

func (p *plist) raw(text string) *plist {
	p.WriteString(text)
	return p
}

func (p *plist) open(element string) *plist  { return p.raw("<" + element + ">\n") }
func (p *plist) close(element string) *plist { return p.raw("</" + element + ">\n") }
func (p *plist) key(name string) *plist      { return p.raw("<key>" + name + "</key>\n") }

func (p *plist) text(key, value string) {
	p.key(key).raw("<string>" + escape(value) + "</string>\n")
}

func (p *plist) number(key string, value int) {
	p.key(key).raw(fmt.Sprintf("<integer>%d</integer>\n", value))
}

func (p *plist) flag(key string, value bool) {
	p.key(key).raw(fmt.Sprintf("<%t/>\n", value))
}

// escape writes text for XML 1.0; what cannot be said there becomes U+FFFD.
func escape(text string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(text)) // a strings.Builder never fails
	return b.String()
}

// tlsWord picks the word of a format for how TLS starts.
func tlsWord(s Server, implicit, starttls string) string {
	if s.TLS == schema.Implicit {
		return implicit
	}
	return starttls
}

package profile

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"mailstead/schema"
)

// Schemas of Microsoft's autodiscover in its plain XML form (MS-OXDSCLI).
const (
	autodiscoverSchema = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"
	outlookSchema      = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"
)

// maxRequest is how much of a request is read: it says an address and two URLs.
const maxRequest = 16 << 10

// maxAddress is the longest address that is looked at (RFC 5321 §4.5.3.1).
const maxAddress = 64 + 1 + 255

// ErrOtherSchema is that of a request for something other than Outlook's settings,
// such as those of ActiveSync: AutodiscoverError answers it.
var ErrOtherSchema = errors.New("the request is not for Outlook's settings")

// ParseAutodiscover reads the address out of what Outlook asks for by POST. The
// address is a stranger's word. Of r no more than 16 KiB are read.
func ParseAutodiscover(r io.Reader) (address string, err error) {
	var request struct {
		XMLName xml.Name `xml:"Autodiscover"`
		Request struct {
			EMailAddress             string
			AcceptableResponseSchema string
		}
	}
	if err := xml.NewDecoder(io.LimitReader(r, maxRequest)).Decode(&request); err != nil {
		return "", fmt.Errorf("read autodiscover request: %w", err)
	}
	if want := strings.TrimSpace(request.Request.AcceptableResponseSchema); want != "" && want != outlookSchema {
		return "", ErrOtherSchema
	}
	address = strings.TrimSpace(request.Request.EMailAddress)
	if local, domain, _ := cutLast(address, "@"); local == "" || domain == "" || len(address) > maxAddress {
		return "", errors.New("read autodiscover request: it has no address")
	}
	return address, nil
}

// Autodiscover is the answer to Outlook. That of a domain leaves the login out, for
// which Outlook takes the part of the address before the "@": where users log in
// with all of it, the answer has to be a user's.
func (s *Settings) Autodiscover() ([]byte, error) {
	if s.Address == "" && s.login != ByName {
		return nil, fmt.Errorf("autodiscover for all of %s: Outlook takes the part before the \"@\" for the login, and users log in with their address", s.Domain)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Autodiscover xmlns=\"%s\">\n  <Response xmlns=\"%s\">\n", autodiscoverSchema, outlookSchema)
	if s.Address != "" {
		fmt.Fprintf(&b, "    <User>\n      <DisplayName>%s</DisplayName>\n    </User>\n", escape(s.Address))
	}
	b.WriteString("    <Account>\n      <AccountType>email</AccountType>\n      <Action>settings</Action>\n")
	outlookProtocol(&b, "IMAP", s.Incoming[0], s.placeOf(s.Incoming[0]) != "")
	if s.Outgoing != nil {
		outlookProtocol(&b, "SMTP", *s.Outgoing, s.placeOf(*s.Outgoing) != "")
	}
	b.WriteString("    </Account>\n  </Response>\n</Autodiscover>\n")
	return []byte(b.String()), nil
}

// outlookProtocol writes a server. SSL means from the start; Encryption, which
// newer programs go by, has both.
func outlookProtocol(b *strings.Builder, kind string, s Server, login bool) {
	element := func(name, value string) {
		fmt.Fprintf(b, "        <%s>%s</%s>\n", name, escape(value), name)
	}
	word := map[bool]string{true: "on", false: "off"}
	b.WriteString("      <Protocol>\n")
	element("Type", kind)
	element("Server", s.Host)
	element("Port", fmt.Sprint(s.Port))
	element("DomainRequired", "off")
	if s.User != "" {
		element("LoginName", s.User)
	}
	element("SPA", "off")
	element("SSL", word[s.TLS == schema.Implicit])
	element("Encryption", tlsWord(s, "SSL", "TLS"))
	element("AuthRequired", word[login])
	b.WriteString("      </Protocol>\n")
}

// Codes of AutodiscoverError.
const (
	AutodiscoverBadRequest = 600
	AutodiscoverNoProvider = 601 // nothing of what was asked for
)

// AutodiscoverError is the answer to a request that is not answered by settings.
func AutodiscoverError(code int, message string) []byte {
	return fmt.Appendf(nil, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<Autodiscover xmlns=\"%s\">\n  <Response>\n    <Error>\n      <ErrorCode>%d</ErrorCode>\n      <Message>%s</Message>\n    </Error>\n  </Response>\n</Autodiscover>\n",
		autodiscoverSchema, code, escape(message))
}

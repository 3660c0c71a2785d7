package login

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
)

// errForeign ends a connection on which another protocol is spoken, without a
// word: the octets of an answer could be made to mean something there (ALPACA),
// and a browser that was tricked into a POST here must not get to its second
// line.
var errForeign = errors.New("another protocol than IMAP")

// sniffer looks at the first octets of a connection before anyone else.
type sniffer struct {
	src  io.Reader
	seen bool
}

func (s *sniffer) Read(p []byte) (int, error) {
	n, err := s.src.Read(p)
	if !s.seen && n > 0 {
		s.seen = true
		line, _, _ := bytes.Cut(p[:n], []byte("\n"))
		tag, _, _ := bytes.Cut(line, []byte(" "))
		if line[:1][0] == tlsRecord || bytes.Contains(line, []byte(" HTTP/")) || words(string(tag)) {
			return 0, errForeign
		}
	}
	return n, err
}

// tlsRecord is the first octet of a TLS handshake, which is no character of a
// tag.
const tlsRecord = 0x16

// methods are the words that begin a request of HTTP, and that are tags of
// IMAP all the same.
var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"}

// words says whether a line that begins so is of a protocol that is no IMAP
// whatever follows.
func words(first string) bool {
	return strings.EqualFold(first, "EHLO") || strings.EqualFold(first, "HELO") || strings.HasPrefix(first, "SSH-")
}

// foreign says whether a command that was refused has a tag as no IMAP client
// makes them.
func foreign(tag string) bool {
	return words(tag) || slices.Contains(methods, tag) || strings.HasSuffix(tag, ":")
}

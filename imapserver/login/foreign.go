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

// sniffer looks at the first line of a connection before anyone else, in
// whatever pieces it comes: what has read no line feed can have executed nothing.
type sniffer struct {
	src  io.Reader
	line []byte // the first one as far as it has come, and no more than maxSniffed octets
	seen bool
}

// maxSniffed is more than a request line of a browser has that was tricked into
// sending one here; its command ends before that.
const maxSniffed = 2048

func (s *sniffer) Read(p []byte) (int, error) {
	n, err := s.src.Read(p)
	if s.seen || n == 0 {
		return n, err
	}
	line, _, whole := bytes.Cut(p[:n], []byte("\n"))
	s.line = append(s.line, line[:min(len(line), maxSniffed-len(s.line))]...)
	if !tagged(s.line) || whole && request(s.line) {
		return 0, errForeign
	}
	if whole || len(s.line) == maxSniffed {
		s.seen, s.line = true, nil
	}
	return n, err
}

// tagged says whether the first word of a line may be a tag (RFC 9051 §9), as far
// as it is there. The first octet of a TLS handshake is no character of one.
func tagged(line []byte) bool {
	for _, c := range line {
		switch {
		case c == ' ' || c == '\r':
			return true
		case c < ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\+`, c) >= 0:
			return false
		}
	}
	return true
}

// request says whether a whole line is a request of another protocol whatever
// its first word is, or that of one for which any word may follow.
func request(line []byte) bool {
	upper := strings.ToUpper(strings.TrimSuffix(string(line), "\r"))
	for _, protocol := range []string{" HTTP/", " RTSP/", " SIP/", " ICAP/"} {
		if i := strings.LastIndex(upper, protocol); i >= 0 && !strings.Contains(upper[i+1:], " ") {
			return true
		}
	}
	first, _, _ := strings.Cut(upper, " ")
	return slices.Contains(greetings, first) || strings.HasPrefix(first, "SSH-")
}

// greetings are the words that begin a session of SMTP or LMTP.
var greetings = []string{"EHLO", "HELO", "LHLO"}

// methods are words that begin requests of other protocols, and that are tags of
// IMAP all the same.
var methods = []string{
	"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI", // HTTP
	"DESCRIBE", "INVITE", "REGISTER", // RTSP, SIP
	"USER", "PROXY", // POP3 and FTP; what a proxy puts before a connection
}

// foreign says whether a command that was refused has a tag as no IMAP client
// makes them.
func foreign(tag string) bool {
	upper := strings.ToUpper(tag)
	return slices.Contains(methods, upper) || slices.Contains(greetings, upper) || strings.HasPrefix(upper, "SSH-") || strings.HasSuffix(tag, ":")
}

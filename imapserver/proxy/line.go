package proxy

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
	"strings"
	"sync"
)

// lines reads lines of any length in pieces, and knows where literals begin.
type lines struct {
	br   *bufio.Reader
	tail []byte // of the line as far as it was read
	seam []byte // where the last piece and the one before meet
}

// tailSize is enough for the announcement of any literal.
const tailSize = 32

// next gives a piece of a line, which is valid until the next call; end says that
// the line ends with it.
func (r *lines) next() (piece []byte, end bool, err error) {
	piece, err = r.br.ReadSlice('\n')
	if err != nil && err != bufio.ErrBufferFull {
		return nil, false, err
	}
	r.seam = append(append(r.seam[:0], r.tail...), piece[:min(len(piece), tailSize)]...)
	r.tail = append(r.tail, piece[max(0, len(piece)-tailSize):]...)
	r.tail = r.tail[max(0, len(r.tail)-tailSize):]
	return piece, err == nil, nil
}

// literal says what the line that has ended announces.
func (r *lines) literal() (n int64, waits, ok bool) { return literal(r.tail) }

// begin forgets the line before.
func (r *lines) begin() { r.tail = r.tail[:0] }

// literal reads the announcement of a literal at the end of a line: {N}, {N+}, or
// one of RFC 3516 with a tilde. waits says that whoever sends it waits for "+" first.
func literal(line []byte) (n int64, waits, ok bool) {
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	line, ok = bytes.CutSuffix(line, []byte("}"))
	open := bytes.LastIndexByte(line, '{')
	if !ok || open < 0 {
		return 0, false, false
	}
	number, now := bytes.CutSuffix(line[open+1:], []byte("+"))
	if len(number) == 0 || len(number) > 18 || bytes.ContainsFunc(number, func(c rune) bool { return c < '0' || c > '9' }) {
		return 0, false, false
	}
	n, err := strconv.ParseInt(string(number), 10, 64)
	return n, !now, err == nil
}

// statuses are the responses that end with a text for people, which may look like
// anything.
var statuses = []string{"OK", "NO", "BAD", "BYE", "PREAUTH"}

// isStatus tells whether the response that begins so is one of them: what is
// tagged or a continuation is.
func isStatus(piece []byte) bool {
	rest, untagged := bytes.CutPrefix(piece, []byte("* "))
	if !untagged {
		return true
	}
	word := rest[:min(len(rest), 9)]
	if i := bytes.IndexAny(word, " \r\n"); i >= 0 {
		word = word[:i]
	}
	return contains(statuses, string(word))
}

// copies are the buffers of literals that pass.
var copies = sync.Pool{New: func() any { return new([16 << 10]byte) }}

// pass copies n octets.
func pass(dst io.Writer, src io.Reader, n int64) error {
	buf := copies.Get().(*[16 << 10]byte)
	defer copies.Put(buf)
	for n > 0 {
		part := buf[:min(n, int64(len(buf)))]
		m, err := src.Read(part)
		n -= int64(m)
		if m > 0 {
			if _, werr := dst.Write(part[:m]); werr != nil {
				return werr
			}
		}
		if err != nil && n > 0 {
			return err
		}
	}
	return nil
}

// hidden are capabilities that end at the proxy: what they are for happens between
// it and the client, or would take the connection from who it is for.
func hidden(name string) bool {
	upper := strings.ToUpper(name)
	switch upper {
	case "STARTTLS", "LOGINDISABLED", "SASL-IR", "UNAUTHENTICATE":
		return true
	}
	return strings.HasPrefix(upper, "AUTH=")
}

// numberless is a capability without the number that some servers say with it.
func numberless(name string) string {
	word, number, _ := strings.Cut(name, "=")
	if strings.Trim(number, "0123456789") == "" {
		return word
	}
	return name
}

// shown are those of a server's capabilities that a client gets to see.
func shown(caps, off []string) []string {
	var out []string
	for _, c := range caps {
		if !hidden(c) && !contains(off, numberless(c)) {
			out = append(out, c)
		}
	}
	return out
}

// rewrite gives a whole response line with the capabilities in it that a client
// gets to see; one without any as it is.
func rewrite(line []byte, off []string) []byte {
	const word = "CAPABILITY "
	_, rest, _ := bytes.Cut(line, []byte(" "))
	from, to := 0, 0
	if len(rest) > len(word) && bytes.EqualFold(rest[:len(word)], []byte(word)) {
		from = len(line) - len(rest) + len(word)
		to = len(bytes.TrimRight(line, "\r\n"))
	} else if _, code, ok := bytes.Cut(rest, []byte(" [")); ok && isStatus(line) && len(code) > len(word) && bytes.EqualFold(code[:len(word)], []byte(word)) {
		from = len(line) - len(code) + len(word)
		end := bytes.IndexByte(line[from:], ']')
		if end < 0 {
			return line
		}
		to = from + end
	} else {
		return line
	}
	list := strings.Join(shown(strings.Fields(string(line[from:to])), off), " ")
	return []byte(string(line[:from]) + list + string(line[to:]))
}

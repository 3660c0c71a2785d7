package wire

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/emersion/go-imap/v2"
)

// held is how many octets of output are held back.
const held = 32 << 10

// Writer writes responses. It holds 32 KiB back until Flush, and no memory
// after it. Errors stick: the first one is what Flush and Err give from then
// on, and nothing more is written. One goroutine owns it.
type Writer struct {
	dst  io.Writer
	page *[held]byte // nil: nothing is held back
	buf  []byte      // of page
	utf8 bool
	rev2 bool
	err  error
}

// pages keeps buffers for the connections that are busy.
var pages = sync.Pool{New: func() any { return new([held]byte) }}

// NewWriter makes a Writer to dst.
func NewWriter(dst io.Writer) *Writer { return &Writer{dst: dst} }

// Flush sends what is held back.
func (w *Writer) Flush() error {
	if w.page == nil {
		return w.err
	}
	w.send(w.buf)
	pages.Put(w.page)
	w.page, w.buf = nil, nil
	return w.err
}

// send writes b to the connection.
func (w *Writer) send(b []byte) {
	if w.err != nil || len(b) == 0 {
		return
	}
	_, w.err = w.dst.Write(b)
}

// Err is the first error of writing.
func (w *Writer) Err() error { return w.err }

// SetUTF8 says that the client takes UTF-8 (RFC 6855, RFC 9051 §4.3).
func (w *Writer) SetUTF8() { w.utf8 = true }

// SetRev2 says that the client speaks IMAP4rev2, which has no \Recent
// (RFC 9051, appendix E).
func (w *Writer) SetRev2() { w.utf8, w.rev2 = true, true }

// Through has what is written from now on go through another writer. Nothing may
// be held back.
func (w *Writer) Through(wrap func(io.Writer) io.Writer) { w.dst = wrap(w.dst) }

// room gives a buffer that n octets can be appended to without growing, if n
// is at most what is held back.
func (w *Writer) room(n int) []byte {
	if w.page == nil {
		w.page = pages.Get().(*[held]byte)
		w.buf = w.page[:0]
	}
	if len(w.buf)+n > held {
		w.send(w.buf)
		w.buf = w.page[:0]
	}
	return w.buf
}

// Append has f append to what is held back. f must not keep its argument.
func (w *Writer) Append(f func(dst []byte) []byte) {
	out := f(w.room(held / 2))
	if len(out) > held { // it has grown out of the page
		w.send(out)
		out = w.page[:0]
	}
	w.buf = out
}

// Raw writes s as it is.
func (w *Writer) Raw(s string) {
	for len(s) > 0 {
		buf := w.room(min(len(s), held/2))
		n := copy(buf[len(buf):cap(buf)], s)
		w.buf = buf[:len(buf)+n]
		s = s[n:]
	}
}

// Bytes writes b as it is. A large one is not copied.
func (w *Writer) Bytes(b []byte) {
	if len(b) > held/2 {
		w.send(w.room(0))
		w.buf = w.page[:0]
		w.send(b)
		return
	}
	w.buf = append(w.room(len(b)), b...)
}

// CRLF ends a response.
func (w *Writer) CRLF() { w.Raw("\r\n") }

// Number writes n in decimal.
func (w *Writer) Number(n uint64) { w.buf = strconv.AppendUint(w.room(maxDigits), n, 10) }

// Status writes a status response: tag is "*" or a command's; code, if not
// "", goes in brackets and may have arguments. Code and text are the server's
// own words: octets that do not belong there become question marks.
func (w *Writer) Status(tag string, typ imap.StatusResponseType, code imap.ResponseCode, text string) {
	if tag == "" {
		tag = "*"
	}
	w.Raw(tag)
	w.Raw(" ")
	w.Raw(string(typ))
	w.Raw(" ")
	if code != "" {
		w.Raw("[")
		w.text(string(code), ']')
		w.Raw("] ")
	}
	w.text(text, 0)
	w.CRLF()
}

// text writes s as resp-text, which ends at a line end (RFC 9051 §9).
func (w *Writer) text(s string, not byte) {
	if s == "" {
		s = "-"
	}
	clean := []byte(s)
	for i, c := range clean {
		if c < ' ' || c >= 0x7f || c == not && c != 0 {
			clean[i] = '?'
		}
	}
	w.Bytes(clean)
}

// Error writes e as the status response of tag ("" means untagged).
func (w *Writer) Error(tag string, e *imap.Error) { w.Status(tag, e.Type, e.Code, e.Text) }

// Continue writes a continuation request with its text, which for SASL is
// base64 (RFC 9051 §7.6).
func (w *Writer) Continue(text string) {
	w.Raw("+ ")
	w.Raw(text)
	w.CRLF()
}

// String writes an IMAP string.
func (w *Writer) String(s string) {
	if len(s) > held/4 {
		w.Append(func(dst []byte) []byte { return appendString(dst, s, w.utf8) })
		return
	}
	w.buf = appendString(w.room(2*len(s)+maxDigits), s, w.utf8)
}

// AString writes s as an atom where it may be one, else as a string.
func (w *Writer) AString(s string) {
	if isAtom(s) {
		w.Raw(s)
		return
	}
	w.String(s)
}

// Mailbox writes a mailbox name: in modified UTF-7, or in UTF-8 after SetUTF8.
// It is always quoted: some clients take an atom that looks like a number or
// like NIL for one.
func (w *Writer) Mailbox(name string) {
	if !w.utf8 {
		name = EncodeUTF7(name)
	}
	w.String(name)
}

// Flags writes a flag list; recent puts \Recent first, where there is such a flag.
func (w *Writer) Flags(flags []imap.Flag, recent bool) {
	recent = recent && !w.rev2
	w.Raw("(")
	if recent {
		w.Raw(string(FlagRecent))
	}
	first := !recent
	for _, f := range flags {
		if !isFlag(string(f)) {
			continue
		}
		if !first {
			w.Raw(" ")
		}
		first = false
		w.Raw(string(f))
	}
	w.Raw(")")
}

// isFlag tells what can be written as a flag. Keywords may come from files that
// other programs have written.
func isFlag(s string) bool {
	return s == string(imap.FlagWildcard) || isAtom(strings.TrimPrefix(s, `\`))
}

// Literal writes b as a literal. NUL octets become 0x80: they cannot be sent,
// and the size must stay what RFC822.SIZE said.
func (w *Writer) Literal(b []byte) {
	w.Raw("{")
	w.Number(uint64(len(b)))
	w.Raw("}\r\n")
	if bytes.IndexByte(b, 0) >= 0 {
		b = bytes.ReplaceAll(b, []byte{0}, []byte{0x80})
	}
	w.Bytes(b)
}

// ErrShort says that a literal has fewer octets than it was said to have: nothing can
// follow it.
var ErrShort = errors.New("what is sent has become shorter meanwhile")

// LiteralFrom writes the next n octets of r as a literal, as Literal does, and no more
// of them in memory than it holds back.
func (w *Writer) LiteralFrom(r io.Reader, n int64) {
	w.Raw("{")
	w.Number(uint64(n))
	w.Raw("}\r\n")
	for n > 0 && w.err == nil {
		buf := w.room(held / 2)
		space := buf[len(buf):min(int64(cap(buf)), int64(len(buf))+n)]
		k, err := io.ReadFull(r, space)
		for i := range space[:k] {
			if space[i] == 0 {
				space[i] = 0x80
			}
		}
		w.buf, n = buf[:len(buf)+k], n-int64(k)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = ErrShort
		}
		if err != nil && w.err == nil {
			w.err = err
		}
	}
}

package deliver

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Envelope is what is known of a message beside its text.
type Envelope struct {
	// Sender becomes Return-Path (RFC 5321 §4.4), in place of what the text says;
	// "" is the null sender of a bounce.
	Sender string
	// NoSender says that nobody has named a sender: the text's own Return-Path stays.
	NoSender bool
	// Recipient becomes Delivered-To; "" adds none.
	Recipient string
	// Received is traced (RFC 5321 §4.4); "" adds nothing.
	Received string
	// Mailbox is where it goes, in UTF-8, levels parted by "."; "" is INBOX. Where
	// there is none of that name, it is INBOX too.
	Mailbox string
}

// copied is what has been written of a message.
type copied struct {
	disk  int64 // octets
	lines int64 // line feeds that follow no CR: the text has a CR for each on the wire
}

// copyMessage writes a message as Maildirs have it: with LF line ends, the
// envelope in front, and without the line "From ..." that some programs put
// there. Every other octet stays, be it NUL, 8-bit or a CR that stands alone. It
// fails with ErrTooLong beyond most octets.
func copyMessage(w io.Writer, r io.Reader, e Envelope, most int64) (copied, error) {
	out := &unixWriter{w: w, room: most}
	if !e.NoSender {
		out.field("Return-Path", "<"+e.Sender+">")
	}
	if e.Recipient != "" {
		out.field("Delivered-To", e.Recipient)
	}
	if e.Received != "" {
		out.field("Received", e.Received)
	}
	in := bufio.NewReaderSize(r, 64<<10)
	var h header
	for out.err == nil {
		part, err := in.ReadSlice('\n')
		if !h.drops(part, !e.NoSender) {
			out.Write(part)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			out.end()
			return out.copied, out.err
		case err != nil:
			return out.copied, fmt.Errorf("read the message: %w", err)
		}
	}
	return out.copied, out.err
}

// header follows a message through its header, in parts that end with a line
// feed or where a buffer did.
type header struct {
	inside   bool // a line, of which the next part is more
	from     bool // that line is "From " in front
	dropping bool // the field that it is in
	begun    bool // the first line is through
	over     bool // so is the header
}

// drops tells whether a part is to be left out: the line "From " in front, and
// where there is another sender, Return-Path.
func (h *header) drops(part []byte, sender bool) bool {
	first := !h.inside
	h.inside = len(part) > 0 && part[len(part)-1] != '\n'
	if first {
		h.from = !h.begun && bytes.HasPrefix(part, []byte("From "))
		h.begun = true
	}
	switch {
	case h.from:
		return true
	case h.over, !first:
	case len(bytes.TrimRight(part, "\r\n")) == 0:
		h.over, h.dropping = true, false
	case part[0] == ' ' || part[0] == '\t': // more of the field before
	default:
		h.dropping = sender && isField(part, "return-path")
	}
	return h.dropping
}

// isField tells whether a line begins the field of that name, in lower case.
func isField(line []byte, name string) bool {
	found, _, ok := bytes.Cut(line[:min(len(line), len(name)+32)], []byte(":"))
	return ok && strings.EqualFold(string(bytes.TrimRight(found, " \t")), name)
}

// unixWriter makes CRLF LF, counts, and keeps the first error.
type unixWriter struct {
	w      io.Writer
	room   int64
	cr     bool // the last octet was a CR, which is held back
	last   byte
	err    error
	copied copied
}

// field adds a field. What could not be one line of a header is left out: the
// message is worth more than the field.
func (u *unixWriter) field(name, value string) {
	if len(value) > 900 || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return
	}
	u.Write([]byte(name + ": " + value + "\n"))
}

// Write takes a piece of the text.
func (u *unixWriter) Write(p []byte) (int, error) {
	n := len(p)
	if u.cr && len(p) > 0 {
		u.cr = false
		if p[0] != '\n' {
			u.put([]byte{'\r'})
		}
	}
	for len(p) > 0 && u.err == nil {
		i := bytes.IndexByte(p, '\r')
		switch {
		case i < 0:
			u.put(p)
			p = nil
		case i == len(p)-1:
			u.put(p[:i])
			u.cr, p = true, nil
		case p[i+1] == '\n':
			u.put(p[:i])
			p = p[i+1:]
		default:
			u.put(p[:i+1])
			p = p[i+1:]
		}
	}
	return n, u.err
}

// put writes octets as they are.
func (u *unixWriter) put(p []byte) {
	if len(p) == 0 || u.err != nil {
		return
	}
	if u.room -= int64(len(p)); u.room < 0 {
		u.err = ErrTooLong
		return
	}
	u.copied.disk += int64(len(p))
	u.copied.lines += int64(bytes.Count(p, []byte{'\n'}) - bytes.Count(p, []byte("\r\n")))
	if p[0] == '\n' && u.last == '\r' {
		u.copied.lines--
	}
	u.last = p[len(p)-1]
	_, u.err = u.w.Write(p)
}

// end ends the last line.
func (u *unixWriter) end() {
	if u.cr {
		u.cr = false
		u.put([]byte{'\r'})
	}
	if u.last != '\n' {
		u.put([]byte{'\n'})
	}
}

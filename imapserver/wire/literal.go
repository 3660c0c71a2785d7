package wire

import (
	"bufio"
	"bytes"
	"io"
	"math"
	"strconv"

	"github.com/emersion/go-imap/v2"
)

// head is the announcement of a literal.
type head struct {
	size int64
	sync bool // the client waits for a continuation request
}

// expectHead reads {n} or {n+} (RFC 7888) and the end of the line after it. Where a
// limit is met within, the connection ends: skipLine would not know the rest for a head.
func (d *decoder) expectHead() (h head) {
	if d.err != nil {
		return head{}
	}
	d.expect('{', "literal")
	s := d.digits()
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case s == "":
		d.fail("size of the literal expected")
	case err != nil, len(s) > maxDigits: // it could not even be skipped
		d.stop(&ByeError{"literal too large"})
	default:
		h = head{size: n, sync: !d.take('+')}
		d.expect('}', "literal")
		d.take('\r')
		d.expect('\n', "literal")
	}
	if e, ok := d.err.(*imap.Error); ok && e.Code == imap.ResponseCodeTooBig {
		d.err = &ByeError{e.Text}
	}
	return h
}

// literal reads a literal that is not the message of APPEND. A synchronising
// client is asked to go on only once the size is accepted.
func (d *decoder) literal() (string, bool) { return d.octets(false) }

// octets is literal for one that may hold NUL (literal8, RFC 9051 §9).
func (d *decoder) octets(nul bool) (string, bool) {
	h := d.expectHead()
	if d.err != nil {
		return "", false
	}
	d.literals++
	l := d.r.limits
	switch {
	case h.size > l.Literal, !h.sync && h.size > l.NonSync, h.size > l.Command-d.total:
		d.refuseLiteral(h, imap.StatusResponseTypeBad, "literal too large")
		return "", false
	case d.literals > l.Literals:
		d.refuseLiteral(h, imap.StatusResponseTypeBad, "too many literals")
		return "", false
	}
	if h.sync {
		d.r.w.Continue("go ahead")
	}
	b := make([]byte, h.size)
	if _, err := io.ReadFull(d.r.br, b); err != nil {
		d.stop(midCommand(err))
		return "", false
	}
	d.total += h.size
	if !nul && bytes.IndexByte(b, 0) >= 0 {
		d.fail("NUL in a literal")
		return "", false
	}
	return string(b), true
}

// refuseLiteral answers the command with [TOOBIG]. A synchronising client then
// sends nothing more of it; of another the literal is dropped.
func (d *decoder) refuseLiteral(h head, typ imap.StatusResponseType, text string) {
	d.refuse(typ, imap.ResponseCodeTooBig, text)
	if h.sync {
		d.ended = true
		return
	}
	if err := d.drop(h.size); err != nil {
		d.err = err
	}
}

// drop reads n octets of a literal to nowhere.
func (d *decoder) drop(n int64) error {
	l := d.r.limits
	if n > max(l.Command-d.total, l.Discard-d.dropped) {
		return &ByeError{"literal too large"}
	}
	if n > l.Command-d.total {
		d.dropped += n
	} else {
		d.total += n
	}
	if _, err := io.CopyN(io.Discard, d.r.br, n); err != nil {
		return midCommand(err)
	}
	return nil
}

// recover reads up to the end of a refused command and gives what to tell the
// client: its error, or that of the attempt.
func (d *decoder) recover() error {
	if !refusal(d.err) {
		return d.err
	}
	if err := d.skipRest(); err != nil {
		return err
	}
	return d.err
}

// skipRest reads up to the end of the command.
func (d *decoder) skipRest() error {
	for !d.ended {
		if d.total > d.r.limits.Command {
			return &ByeError{"command too long"}
		}
		if err := d.skipLine(); err != nil {
			return err
		}
	}
	return nil
}

// skipLine reads the rest of a line, and the literal that it ends with. Where
// that one is synchronising the command is at its end: the client awaits our
// answer before it goes on.
func (d *decoder) skipLine() error {
	var tail []byte // from the last "{" on: a literal's head may have any number of zeros
	for {
		part, err := d.r.br.ReadSlice('\n')
		d.total += int64(len(part))
		if i := bytes.LastIndexByte(part, '{'); i >= 0 {
			tail, part = tail[:0], part[i:]
		} else if len(tail) == 0 {
			part = nil
		}
		tail = append(tail, part...)
		if d.total > d.r.limits.Command {
			return &ByeError{"command too long"}
		}
		if err == nil {
			break
		}
		if err != bufio.ErrBufferFull {
			return midCommand(err)
		}
	}
	h, ok := parseHead(tail)
	if !ok || h.sync {
		d.ended = true
		return nil
	}
	return d.drop(h.size)
}

// parseHead looks for a literal's head at the end of a line. One that is larger
// than any number is taken for the largest.
func parseHead(line []byte) (head, bool) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	line, ok := bytes.CutSuffix(line, []byte("}"))
	open := bytes.LastIndexByte(line, '{')
	if !ok || open < 0 {
		return head{}, false
	}
	digits, plus := bytes.CutSuffix(line[open+1:], []byte("+"))
	for _, c := range digits {
		if c < '0' || c > '9' {
			return head{}, false
		}
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		n = math.MaxInt64
	}
	return head{size: n, sync: !plus}, len(digits) > 0
}

// Literal is a literal of a message of APPEND. The first Read asks a
// synchronising client to go on.
type Literal struct {
	r        *Reader
	head     head
	closing  bool // UTF8 (~{n}...): a parenthesis follows
	accepted bool
	left     int64
}

// Size is its size in octets as announced.
func (l *Literal) Size() int64 { return l.head.size }

// Read reads the literal.
func (l *Literal) Read(p []byte) (int, error) {
	if !l.accepted {
		l.accepted = true
		l.left = l.head.size
		if l.head.sync {
			l.r.w.Continue("go ahead")
		}
	}
	if l.left == 0 {
		return 0, io.EOF
	}
	n, err := l.r.br.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	if n == 0 && err != nil {
		return 0, midCommand(err)
	}
	return n, nil
}

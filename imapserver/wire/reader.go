package wire

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// Reader reads the commands of one client. It sends the continuation requests
// that literals need, and flushes the Writer before each read of the
// connection, so a pipeline of commands is answered in one write. One goroutine
// owns it.
type Reader struct {
	br      *bufio.Reader
	src     *flushFirst
	w       *Writer
	limits  *Limits
	utf8    bool
	accept  bool    // UTF8=ACCEPT is enabled
	pending *Append // the last command, if it was not read to its end
}

// flushFirst sends what the server has to say before it waits for the client.
type flushFirst struct {
	src  io.Reader
	w    *Writer
	hold bool // another goroutine has the Writer
}

func (f *flushFirst) Read(p []byte) (int, error) {
	if !f.hold {
		if err := f.w.Flush(); err != nil {
			return 0, err
		}
	}
	return f.src.Read(p)
}

// readAhead is the size of the input buffer: what an idle connection costs.
const readAhead = 1024

// NewReader makes a Reader of src. limits is PreAuth or PostAuth, or a copy.
func NewReader(src io.Reader, w *Writer, limits *Limits) *Reader {
	f := &flushFirst{src: src, w: w}
	return &Reader{br: bufio.NewReaderSize(f, readAhead), src: f, w: w, limits: limits}
}

// Request is a command as it was read.
type Request struct {
	Tag     string // "" if not even the tag could be read: answer untagged
	Row     *CommandRow
	Command Command
	Uses    []imap.Cap // the capabilities that it makes use of, that of Row among them
	BySeq   bool       // it has a set of sequence numbers in it
}

// Flags is those of the command's row. One whose arguments have sequence numbers in
// them, such as the criteria of UID SEARCH, is UsesSeq too (RFC 9051 §7.5.1, RFC 7162
// §3.2.10.2), unless it is to tell what it Removes.
func (r *Request) Flags() CommandFlag {
	if r.BySeq && r.Row.Flags&Removes == 0 {
		return r.Row.Flags | UsesSeq
	}
	return r.Row.Flags
}

// ByeError ends a connection.
type ByeError struct{ Text string }

func (e *ByeError) Error() string { return e.Text }

// ReadCommand reads the next command. The errors:
//
//   - *imap.Error: the command is refused; send it with Request.Tag, which is
//     set if it could be read. The connection is in step and goes on.
//   - *ByeError: the client and the server cannot come back in step. Send BYE
//     with its text and close.
//   - others are the connection's; io.EOF between two commands.
func (r *Reader) ReadCommand(state State) (Request, error) {
	if c := r.pending; c != nil {
		if err := c.Close(); err != nil {
			return Request{}, err
		}
	}
	d := &decoder{r: r}
	if _, ok := d.peek(); !ok && errors.Is(d.err, io.ErrUnexpectedEOF) {
		return Request{}, io.EOF
	}
	var req Request
	req.Tag = d.expectTag()
	d.expectSP()
	if req.Row = d.expectCommand(state); req.Row != nil {
		req.Command = req.Row.parse(d)
		req.Uses, req.BySeq = d.uses, d.bySeq
	}
	if r.pending == nil {
		d.expectCRLF()
	}
	if d.err != nil {
		r.pending = nil
		return req, d.recover()
	}
	return req, nil
}

// refusal tells an answer to the client from the end of the connection.
func refusal(err error) bool {
	_, ok := err.(*imap.Error)
	return ok
}

// ReadSASL reads one response of a SASL exchange, after Writer.Continue, and
// decodes its base64. The errors are those of ReadCommand; a cancelled
// exchange ("*") is an *imap.Error (BAD), as is bad base64.
func (r *Reader) ReadSASL() ([]byte, error) {
	line, err := r.readLine(r.limits.SASL)
	if err != nil {
		return nil, err
	}
	if string(line) == "*" {
		return nil, bad("authentication cancelled")
	}
	return decodeSASL(string(line))
}

func decodeSASL(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") { // the decoder would skip them
		return nil, bad("base64 expected")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, bad("base64 expected")
	}
	return b, nil
}

// Wait waits until the client begins another command. Like ReadDone it does not
// flush the Writer.
func (r *Reader) Wait() error {
	r.src.hold = true
	defer func() { r.src.hold = false }()
	_, err := r.br.Peek(1)
	return err
}

// Waiting tells whether the client has sent something that was not read yet.
func (r *Reader) Waiting() bool { return r.br.Buffered() > 0 }

// Between tells whether all that was read is of commands that are whole, so that what is
// read next begins another.
func (r *Reader) Between() bool { return r.pending == nil && !r.Waiting() }

// ReadDone reads the DONE that ends IDLE. It does not flush the Writer, so that
// another goroutine may use that while ReadDone waits.
func (r *Reader) ReadDone() error {
	r.src.hold = true
	defer func() { r.src.hold = false }()
	line, err := r.readLine(r.limits.Line)
	if err != nil {
		return err
	}
	if !strings.EqualFold(string(line), "DONE") {
		return bad("DONE expected")
	}
	return nil
}

// readLine reads a line of at most limit octets, and gives it without its end.
func (r *Reader) readLine(limit int64) ([]byte, error) {
	var line []byte
	for {
		part, err := r.br.ReadSlice('\n')
		if int64(len(line)+len(part)) > limit {
			return nil, &ByeError{"line too long"}
		}
		line = append(line, part...)
		if err == nil {
			break
		}
		if err != bufio.ErrBufferFull {
			return nil, midCommand(err)
		}
	}
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), nil
}

// midCommand tells a client that left at a proper moment from one that did not.
func midCommand(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// SetUTF8 says that mailbox names are UTF-8 from now on.
func (r *Reader) SetUTF8() { r.utf8 = true }

// SetAccept turns UTF8=ACCEPT on (RFC 6855), which is SetUTF8 and more.
func (r *Reader) SetAccept() { r.utf8, r.accept = true, true }

// Through has what comes from now on, and what has been read of it already, come
// through another reader.
func (r *Reader) Through(wrap func(io.Reader) io.Reader) {
	r.src.src = wrap(io.MultiReader(bytes.NewReader(r.Buffered()), r.src.src))
	r.br.Reset(r.src)
}

// Buffered gives what has been read of the connection and not been used: what
// STARTTLS drops and what a login hands over to the session.
func (r *Reader) Buffered() []byte {
	b, _ := r.br.Peek(r.br.Buffered())
	return bytes.Clone(b)
}

// bad makes the answer to bad syntax.
func bad(text string) *imap.Error {
	return &imap.Error{Type: imap.StatusResponseTypeBad, Text: text}
}

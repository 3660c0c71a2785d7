package target

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Protocol is the version of what two mailsteads say to each other. It changes
// with whatever one of them would misunderstand.
const Protocol = 1

// The bounds of what is read from the other end. A host with 300,000 users is a
// message of some 60 MB; a plan that makes it is a few times that.
const (
	MaxRequest = 256 << 20 // octets of a message to the far end
	MaxAnswer  = 1 << 30   // octets of a message from the far end
)

// The bounds of what a login may say before the far end does.
const (
	maxBefore  = 16 << 10 // octets
	maxGreeted = 64       // lines
)

// Hello is the first message of the far end.
type Hello struct {
	Protocol int    `json:"mailstead_protocol"`
	Version  string `json:"version"` // of the program
}

// The kinds of messages beside the verbs of requests. A request is answered by
// any number of Said and one Answer.
const (
	Stop   = "stop"   // to the far end: end what you are doing, in good order
	Said   = "said"   // from the far end: a text for people
	Answer = "answer" // from the far end: the end of a request
)

// Message is one line of JSON.
type Message struct {
	Kind string          `json:"kind"`
	Body json.RawMessage `json:"body,omitempty"`
}

// ErrTooLong says that the other end sends a longer line than it may.
var ErrTooLong = errors.New("message too long")

// Reader reads messages.
type Reader struct {
	r     *bufio.Reader
	limit int
}

// NewReader gives a reader of messages of at most limit octets.
func NewReader(r io.Reader, limit int) *Reader {
	return &Reader{bufio.NewReaderSize(r, 64<<10), limit}
}

// Next gives the next message; io.EOF where there is none, and
// io.ErrUnexpectedEOF in the middle of one.
func (r *Reader) Next() (Message, error) {
	var m Message
	line, err := r.line(r.limit)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return m, fmt.Errorf("read message: %w", err)
	}
	if m.Kind == "" {
		return m, errors.New("read message: it has no kind")
	}
	return m, nil
}

// line gives the next line without its end.
func (r *Reader) line(limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.r.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return nil, ErrTooLong
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// hello reads the first message. The login itself may have said something
// before it (a shell that greets everybody); where nothing else comes, that is
// the error.
func (r *Reader) hello() (Hello, error) {
	var h Hello
	var before []byte
	for range maxGreeted {
		line, err := r.line(maxBefore)
		if err != nil {
			return h, beforeHello(before, err)
		}
		if json.Unmarshal(line, &h) == nil && h.Protocol > 0 {
			return h, nil
		}
		if before = append(before, line...); len(before) > maxBefore {
			break
		}
		before = append(before, '\n')
	}
	return h, beforeHello(before, errors.New("too much of something else"))
}

// beforeHello is the error of a far end that said something else.
func beforeHello(before []byte, err error) error {
	before = bytes.TrimSpace(before)
	if len(before) == 0 {
		return err
	}
	const most = 200
	if len(before) > most {
		before = before[:most]
	}
	return fmt.Errorf("%w; it said %q", err, bytes.ToValidUTF8(before, []byte(string(utf8.RuneError))))
}

// Write writes one message.
func Write(w io.Writer, kind string, body any) error {
	m := Message{Kind: kind}
	var err error
	if body != nil {
		if m.Body, err = json.Marshal(body); err != nil {
			return fmt.Errorf("write message: %w", err)
		}
	}
	return writeLine(w, m)
}

// Greet writes the first message of the far end.
func Greet(w io.Writer, h Hello) error { return writeLine(w, h) }

func writeLine(w io.Writer, value any) error {
	line, err := json.Marshal(value)
	if err == nil {
		_, err = w.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	return nil
}

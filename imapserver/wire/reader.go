package wire

import (
	"bufio"
	"io"
)

// Reader reads the commands of one client. It sends the continuation requests
// that literals need, and flushes the Writer before each read of the
// connection, so a pipeline of commands is answered in one write. One goroutine
// owns it.
type Reader struct {
	br     *bufio.Reader
	w      *Writer
	limits *Limits
}

// NewReader makes a Reader of src. limits is PreAuth or PostAuth, or a copy.
func NewReader(src io.Reader, w *Writer, limits *Limits) *Reader { panic("todo") }

// Request is a command as it was read.
type Request struct {
	Tag     string // "" if not even the tag could be read: answer untagged
	Row     *CommandRow
	Command Command
}

// ReadCommand reads the next command. The errors:
//
//   - *imap.Error: the command is refused; send it with Request.Tag, which is
//     set if it could be read. The connection is in step and goes on.
//   - *ByeError: the client and the server cannot come back in step. Send BYE
//     with its text and close.
//   - others are the connection's.
func (r *Reader) ReadCommand(state State) (Request, error) { panic("todo") }

// ReadSASL reads one response of a SASL exchange, after Writer.Continue, and
// decodes its base64. The errors are those of ReadCommand; a cancelled
// exchange ("*") is an *imap.Error (BAD), as is bad base64.
func (r *Reader) ReadSASL() ([]byte, error) { panic("todo") }

// ReadDone reads the DONE that ends IDLE.
func (r *Reader) ReadDone() error { panic("todo") }

// SetUTF8 turns UTF8=ACCEPT on (RFC 6855): mailbox names are UTF-8 from now on.
func (r *Reader) SetUTF8() { panic("todo") }

// Buffered gives what has been read of the connection and not been used: what
// STARTTLS drops and what a login hands over to the session.
func (r *Reader) Buffered() []byte { panic("todo") }

// ByeError ends a connection.
type ByeError struct{ Text string }

func (e *ByeError) Error() string { return e.Text }

// Literal is the message of APPEND. The first Read asks a synchronising client
// to go on.
type Literal struct{ r *Reader }

// Size is its size in octets as announced.
func (l *Literal) Size() int64 { panic("todo") }

// Read reads the message.
func (l *Literal) Read(p []byte) (int, error) { panic("todo") }

// Close reads the end of the command. Of a message that has not been read, it
// drops what the client will send of it. The errors are those of ReadCommand.
func (l *Literal) Close() error { panic("todo") }

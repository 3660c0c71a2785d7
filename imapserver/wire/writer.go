package wire

import (
	"io"

	"github.com/emersion/go-imap/v2"
)

// Writer writes responses. It holds 32 KiB back until Flush, and no memory
// after it. Errors stick: the first one is what Flush and Err give from then
// on, and nothing more is written. One goroutine owns it.
type Writer struct {
	dst  io.Writer
	buf  []byte
	utf8 bool
	err  error
}

// NewWriter makes a Writer to dst.
func NewWriter(dst io.Writer) *Writer { panic("todo") }

// Flush sends what is held back.
func (w *Writer) Flush() error { panic("todo") }

// Err is the first error of writing.
func (w *Writer) Err() error { return w.err }

// Status writes a status response: tag is "*" or a command's; code, if not
// "", goes in brackets and may have arguments. Code and text are the server's
// own words: octets that do not belong there are left out.
func (w *Writer) Status(tag string, typ imap.StatusResponseType, code imap.ResponseCode, text string) {
	panic("todo")
}

// Error writes e as the status response of tag ("" means untagged).
func (w *Writer) Error(tag string, e *imap.Error) { panic("todo") }

// Continue writes a continuation request with its text, which for SASL is
// base64 (RFC 9051 §7.6).
func (w *Writer) Continue(text string) { panic("todo") }

// SetUTF8 turns UTF8=ACCEPT on (RFC 6855).
func (w *Writer) SetUTF8() { w.utf8 = true }

// Raw writes s as it is.
func (w *Writer) Raw(s string) { panic("todo") }

// Bytes writes b as it is.
func (w *Writer) Bytes(b []byte) { panic("todo") }

// Number writes n in decimal.
func (w *Writer) Number(n uint64) { panic("todo") }

// String writes an IMAP string.
func (w *Writer) String(s string) { panic("todo") }

// Mailbox writes a mailbox name: in modified UTF-7, or in UTF-8 after SetUTF8.
func (w *Writer) Mailbox(name string) { panic("todo") }

// Flags writes a flag list.
func (w *Writer) Flags(flags []imap.Flag) { panic("todo") }

// Literal writes b as a literal. NUL octets become 0x80: they cannot be sent.
func (w *Writer) Literal(b []byte) { panic("todo") }

// CRLF ends a response.
func (w *Writer) CRLF() { panic("todo") }

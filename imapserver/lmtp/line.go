package lmtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// The faults of what is read. After them nobody knows where the next command
// begins.
var (
	errLongLine = errors.New("the line is too long")
	errBareLF   = errors.New("a line ends with CRLF (RFC 5321 §2.3.8)")
	errEndless  = errors.New("the message has no end")
)

// readLine reads a command, without its CRLF. A line feed alone ends no line and
// is none of a command's octets: what follows it would be another command to
// some, and part of this one to others.
func readLine(r *bufio.Reader, most int) (string, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull) || len(line) > most:
		return "", errLongLine
	case err != nil:
		return "", err
	case !bytes.HasSuffix(line, []byte("\r\n")):
		return "", errBareLF
	}
	return string(line[:len(line)-2]), nil
}

// readData copies a message up to the line with a dot alone, without the dots
// that were put in front of others (RFC 5321 §4.5.2). Lines end with CRLF and by
// nothing else: "\n.\r\n" and its like are the message's own. Of one that is
// longer than most the rest is read, and left out: whole is false. One longer
// than endless is an error.
func readData(w io.Writer, r *bufio.Reader, most, endless int64) (whole bool, err error) {
	begins, cr := true, false // a line begins here; the last octet was a CR
	for n := int64(0); ; {
		part, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return false, unexpected(err)
		}
		if begins && part[0] == '.' {
			if string(part) == ".\r\n" {
				return n <= most, nil
			}
			part = part[1:]
		}
		if n += int64(len(part)); n > endless {
			return false, errEndless
		}
		if n <= most {
			if _, err := w.Write(part); err != nil {
				return false, err
			}
		}
		begins = bytes.HasSuffix(part, []byte("\r\n")) || cr && string(part) == "\n"
		cr = len(part) > 0 && part[len(part)-1] == '\r'
	}
}

// unexpected makes the end of a connection inside a message an error.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

package store

import (
	"bytes"
	"context"
	"io"

	"mailstead/imapserver/message"
)

// Header gives the header of message n, with the empty line after it and CRLF
// line ends, or its first message.MaxHeader octets at least. No more of the message is read than a piece beyond it.
// ErrExpunged where another session has removed it.
func (v *View) Header(ctx context.Context, n SeqNum) ([]byte, error) {
	f, err := v.mb.open(ctx, v.told.at(int(n)-1))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readHeader(f)
}

// headerPiece is how much is read at once in search of a header's end.
const headerPiece = 8 << 10

// readHeader reads up to the first empty line, or as much as anything is looked for in.
func readHeader(r io.Reader) ([]byte, error) {
	var data []byte
	for line := 0; ; { // line is where the last line that is not known to be whole starts
		if len(data) > message.MaxHeader {
			return addCR(data), nil
		}
		start := len(data)
		data = append(data, make([]byte, max(headerPiece, start))...)
		n, err := io.ReadFull(r, data[start:])
		data = data[:start+n]
		for {
			i := bytes.IndexByte(data[line:], '\n')
			if i < 0 {
				break
			}
			empty := i == 0 || i == 1 && data[line] == '\r'
			if line += i + 1; empty {
				return addCR(data[:line]), nil
			}
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return addCR(data), nil
		default:
			return nil, err
		}
	}
}

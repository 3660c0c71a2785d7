package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"mailstead/imapserver/maildir"
)

// Body is a message that is read in pieces, from its file, as somebody takes them. It
// may be held by many goroutines, and read by one at a time.
type Body struct {
	file  *maildir.File
	size  int64 // octets, with CRLF line ends
	asIs  bool  // the file has them, too
	mark  mark
	holds atomic.Int32
}

// mark is a place in a file at which reading may begin.
type mark struct {
	off, at int64 // octets before it, with CRLF line ends and in the file
	last    byte  // the octet before it
}

// Take gives message n whole, with CRLF line ends, or, if its file has more than most
// octets, to be read in pieces. ErrExpunged where another session has removed it.
func (v *View) Take(ctx context.Context, n SeqNum, most int64) ([]byte, *Body, error) {
	return v.mb.take(ctx, v.told.at(int(n)-1), most)
}

func (mb *mailbox) take(ctx context.Context, r *record, most int64) ([]byte, *Body, error) {
	f, err := mb.open(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	size := f.Stat().Size
	if size <= most {
		defer f.Close()
		data, err := readAll(f)
		if err != nil {
			return nil, nil, err
		}
		data = addCR(data)
		mb.learn(r, int64(len(data)))
		return data, nil, nil
	}
	n, err := int64(0), tooLarge(f)
	if err == nil {
		n, err = countCRLF(f, size)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	mb.learn(r, n)
	b := &Body{file: f, size: n, asIs: n == size}
	b.holds.Store(1)
	return nil, b, nil
}

// learn notes the RFC822.SIZE of a message.
func (mb *mailbox) learn(r *record, size int64) {
	if r.size.Swap(size) != size {
		mb.keepSize(r)
	}
}

var errTooLarge = errors.New("too large for a message")

func tooLarge(f *maildir.File) error {
	if size := f.Stat().Size; size > maxMessage {
		return fmt.Errorf("read %s: %w: %d octets", f.Name(), errTooLarge, size)
	}
	return nil
}

// Size is how many octets the message had, with CRLF line ends, when it was opened.
func (b *Body) Size() int64 { return b.size }

// Hold keeps the file open until another Close, unless it is closed already.
func (b *Body) Hold() bool {
	for {
		n := b.holds.Load()
		if n == 0 {
			return false
		}
		if b.holds.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Close is called once by whoever has opened it and once for each Hold.
func (b *Body) Close() {
	if b.holds.Add(-1) == 0 {
		b.file.Close()
	}
}

// Section gives n octets from off on. There are fewer if the file has become shorter.
func (b *Body) Section(off, n int64) io.Reader {
	r := &bodyReader{body: b}
	switch {
	case b.asIs:
		r.at = off
	case b.mark.off <= off: // clients take one piece after the other
		r.mark, r.skip = b.mark, off-b.mark.off
	default:
		r.skip = off
	}
	return io.LimitReader(r, n)
}

// bodyReader reads a message with CRLF line ends.
type bodyReader struct {
	body *Body
	mark
	skip int64  // octets that are left out first
	page []byte // of the file
	text []byte // what was made of it
	rest []byte // of text, for the next Read
}

// bodyPage is how many octets of a file are read at once.
const bodyPage = 32 << 10

func (r *bodyReader) Read(p []byte) (int, error) {
	if r.body.asIs {
		n, err := r.body.file.ReadAt(p, r.at)
		r.at += int64(n)
		return n, err
	}
	for len(r.rest) == 0 {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// fill reads the next page.
func (r *bodyReader) fill() error {
	if r.page == nil {
		r.page = make([]byte, bodyPage)
	}
	r.body.mark = r.mark
	n, err := r.body.file.ReadAt(r.page, r.at)
	if n == 0 {
		return err
	}
	page := r.page[:n]
	r.text = appendCR(r.text[:0], page, r.last)
	r.off, r.at, r.last = r.off+int64(len(r.text)), r.at+int64(n), page[n-1]
	out := min(r.skip, int64(len(r.text)))
	r.rest, r.skip = r.text[out:], r.skip-out
	return nil
}

// appendCR appends data to dst with a CR before each LF that has none; last is the
// octet before data.
func appendCR(dst, data []byte, last byte) []byte {
	for {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			return append(dst, data...)
		}
		if i > 0 {
			last = data[i-1]
		}
		dst = append(dst, data[:i]...)
		if last != '\r' {
			dst = append(dst, '\r')
		}
		dst, data, last = append(dst, '\n'), data[i+1:], '\n'
	}
}

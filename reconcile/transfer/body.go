package transfer

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
)

// maxMessage bounds the octets of a message: more than the daemon takes, so that
// it is the one to refuse; and an end to what a source sends without one.
const maxMessage = 128 << 20

// maxHeld bounds what of a message is held in memory; a larger one goes through
// a file.
const maxHeld = 1 << 20

// errEndless is the fault of a message of more than maxMessage octets.
var errEndless = fmt.Errorf("it is larger than %d MiB", maxMessage>>20)

// body is the octets of a message with CRLF line ends, as they go into an APPEND.
type body struct {
	size   int64
	held   []byte
	file   *os.File // in place of held
	binary bool     // has NUL, or CR alone, which only a literal8 can carry
	sum    hash.Hash
	last   byte
	cr     bool // a CR has come that may be the first half of a line end
}

// readBuffers are what messages are read with: one for each would be ten times what most
// of them have.
var readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}

const readSize = 64 << 10

// readBody reads a message whole. Whatever line ends the source has, those of the
// body are CRLF.
func readBody(r io.Reader) (*body, error) {
	b := &body{sum: sha256.New()}
	buf := readBuffers.Get().(*[readSize]byte)
	defer readBuffers.Put(buf)
	for {
		n, err := r.Read(buf[:])
		if werr := b.add(buf[:n]); werr != nil {
			b.close()
			return nil, werr
		}
		switch {
		case errors.Is(err, io.EOF):
			if b.cr {
				b.binary = true
				err = b.put([]byte{'\r'})
			} else {
				err = nil
			}
			return b, err
		case err != nil:
			b.close()
			return nil, err
		}
	}
}

// add takes octets of the source.
func (b *body) add(p []byte) error {
	for len(p) > 0 {
		line, ended := p, false
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			line, ended = p[:i], true
			p = p[i+1:]
		} else {
			p = nil
		}
		if b.cr && (len(line) > 0 || !ended) { // it was not that of a line end
			b.binary, b.cr = true, false
			if err := b.put([]byte{'\r'}); err != nil {
				return err
			}
		}
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line, b.cr = line[:n-1], true
		}
		b.binary = b.binary || bytes.IndexByte(line, 0) >= 0 || bytes.IndexByte(line, '\r') >= 0
		err := b.put(line)
		if err == nil && ended {
			b.cr = false
			err = b.put([]byte("\r\n"))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// put takes octets as they are to be.
func (b *body) put(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if b.size += int64(len(p)); b.size > maxMessage {
		return errEndless
	}
	b.last = p[len(p)-1]
	b.sum.Write(p)
	if b.file == nil && len(b.held)+len(p) > maxHeld {
		f, err := os.CreateTemp("", "mailstead-import-")
		if err != nil {
			return fmt.Errorf("hold a large message: %w", err)
		}
		os.Remove(f.Name())
		b.file = f
		if _, err := f.Write(b.held); err != nil {
			return fmt.Errorf("hold a large message: %w", err)
		}
		b.held = nil
	}
	if b.file == nil {
		b.held = append(b.held, p...)
		return nil
	}
	if _, err := b.file.Write(p); err != nil {
		return fmt.Errorf("hold a large message: %w", err)
	}
	return nil
}

// writeTo writes all of it.
func (b *body) writeTo(w io.Writer) error {
	if b.file == nil {
		_, err := w.Write(b.held)
		return err
	}
	if _, err := b.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(w, b.file)
	return err
}

// digest is what tells messages apart. One whose last line has no end has got it
// once it is ours, so that it is taken for having it.
func (b *body) digest() digest {
	if b.last != '\n' && !b.binary {
		b.sum.Write([]byte("\r\n"))
		b.last = '\n'
	}
	return digest(b.sum.Sum(nil))
}

func (b *body) close() {
	if b.file != nil {
		b.file.Close()
	}
}

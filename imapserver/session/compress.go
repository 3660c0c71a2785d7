package session

import (
	"bytes"
	"cmp"
	"io"
	"slices"
	"sync"

	"github.com/emersion/go-imap/v2"
	"github.com/klauspost/compress/flate"
)

// codeCompressionActive says that there is nothing more to switch on
// (RFC 4978 §3).
const codeCompressionActive imap.ResponseCode = "COMPRESSIONACTIVE"

// compress is COMPRESS DEFLATE (RFC 4978). What is said of it is the last that is
// not compressed: startCompression follows it.
func (s *session) compress() (imap.ResponseCode, error) {
	if s.compressed {
		return "", no(codeCompressionActive, "compression is active already")
	}
	return "", nil
}

// startCompression has both directions compressed from here on. TLS is not below
// this process, so nothing else need be asked whether it compresses already.
func (s *session) startCompression() error {
	if err := s.w.Flush(); err != nil {
		return err
	}
	s.compressed = true
	s.r.Through(func(src io.Reader) io.Reader { return s.above(tapped{Reader: inflate(src)}) })
	s.w.Through(func(dst io.Writer) io.Writer { return s.above(tapped{Writer: deflater{dst}}) })
	return nil
}

// inflate reads what a client has compressed. Clients flush a block and no more,
// whereupon a reader that waits for the next block would wait for ever. It costs
// a session its window of 32 KiB, which the client may refer to at any time. What
// comes out is bounded as any client's octets are, by wire.Limits.
func inflate(src io.Reader) io.Reader {
	return flate.NewReaderOpts(src, flate.WithPartialBlock())
}

// deflater compresses each piece of output by itself: between two pieces, in IDLE
// and for as long as the client takes nothing, a session has no compressor. Pieces
// are as large as the window, so that little is lost by starting anew.
type deflater struct{ dst io.Writer }

const windowSize = 32 << 10

// compressors are for those who have something to say at the moment.
var compressors = sync.Pool{New: func() any {
	w, err := flate.NewWriter(io.Discard, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is one of the package's own
	}
	return w
}}

func (d deflater) Write(p []byte) (n int, err error) {
	for piece := range slices.Chunk(p, windowSize) {
		var small bytes.Buffer
		if err = deflate(&small, piece); err == nil {
			_, err = d.dst.Write(small.Bytes())
		}
		if err != nil {
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}

// deflate compresses a piece and flushes it.
func deflate(to io.Writer, piece []byte) error {
	w := compressors.Get().(*flate.Writer)
	defer compressors.Put(w)
	defer w.Reset(io.Discard)
	w.Reset(to)
	_, err := w.Write(piece)
	return cmp.Or(err, w.Flush())
}

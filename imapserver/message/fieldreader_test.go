package message

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// TestFieldReader reads headers of all sorts in pieces: it gives what Append adds.
func TestFieldReader(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	parts := []string{"To: a", "Cc : b", "cc:", "X<y: c", ":", "no colon", " folded", "\tTo: folded", "\x00", strings.Repeat("To: long ", 5000),
		strings.Repeat("x", 40_000), "\r\r"}
	for range 500 {
		var header strings.Builder
		for range r.IntN(12) {
			header.WriteString(parts[r.IntN(len(parts))] + []string{"\n", "\r\n"}[r.IntN(2)])
		}
		header.WriteString([]string{"", "\n", "\r\n", "\r", "To: open"}[r.IntN(5)])
		text := []byte(header.String())
		for _, f := range []*FieldFilter{NewFieldFilter([]string{"to", "CC"}, true), NewFieldFilter([]string{"to", "X<y"}, false)} {
			want := f.Append(nil, text)
			for _, in := range []io.Reader{bytes.NewReader(text), iotest.HalfReader(bytes.NewReader(text))} {
				if got, err := io.ReadAll(f.Reader(in)); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("of %.300q: %.300q, %v; want %.300q", text, got, err, want)
				}
			}
		}
	}
}

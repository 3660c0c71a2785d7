package message

import (
	"io"
	"testing"
	"testing/iotest"
)

func TestQuotedPrintable(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"a=3Db=zz=", "a=b=zz"},
		{"a =\r\n b", "a  b"},
		{"a= \t\r\nb", "ab"},
		// RFC 2045 §6.7 (3): white space at the end of a line is not the text's.
		{"abc  \r\nd \t\ne\t", "abc\r\nd\ne"},
		{"a  b\t c\r\n", "a  b\t c\r\n"},
		{"abc =20\r\n-- =\r\n\r\n", "abc  \r\n-- \r\n"},
		{"a \rb \r\r\n \r\n", "a \rb \r\r\n\r\n"},
	} {
		for _, r := range []io.Reader{decodeTransfer("Quoted-Printable", []byte(c.in)), iotest.OneByteReader(decodeTransfer("quoted-printable", []byte(c.in)))} {
			if have := readAll(t, r); have != c.want {
				t.Errorf("%q: have %q, want %q", c.in, have, c.want)
			}
		}
	}
}

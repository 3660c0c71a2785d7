package message

import (
	"bytes"
	"io"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/transform"
)

// findEncoding gives the encoding of a charset as MIME names it, nil for UTF-8
// and its subset ASCII and for charsets that are not known: text in those is
// taken for UTF-8. Names that only the web uses are known too.
func findEncoding(charset string) encoding.Encoding {
	charset = strings.ToLower(charset)
	switch charset {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return nil
	}
	if len(charset) > maxCharset {
		return nil
	}
	if enc, err := ianaindex.MIME.Encoding(charset); err == nil && enc != nil {
		return enc
	}
	if enc, err := htmlindex.Get(charset); err == nil && enc != encoding.Replacement {
		return enc
	}
	return nil
}

// toUTF8 decodes text. What is invalid becomes U+FFFD.
func toUTF8(charset string, b []byte) []byte {
	if enc := findEncoding(charset); enc != nil {
		if out, err := enc.NewDecoder().Bytes(b); err == nil {
			return out
		}
	}
	return bytes.ToValidUTF8(b, []byte("\uFFFD"))
}

// utf8Reader is toUTF8 for a stream, except that invalid UTF-8 passes as it is.
func utf8Reader(charset string, r io.Reader) io.Reader {
	if enc := findEncoding(charset); enc != nil {
		return transform.NewReader(r, enc.NewDecoder())
	}
	return r
}

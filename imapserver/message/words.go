package message

import (
	"bytes"
	"strings"
)

// DecodeHeader decodes the encoded words of a value (RFC 2047) as it stands in
// a header, unfolds it and gives valid UTF-8. Words may stand anywhere, in
// quoted strings too, and need not keep to 75 octets: mailers do so. What is
// not a proper word stays as it is.
func DecodeHeader(value []byte) string {
	value = unfold(value)
	if !bytes.Contains(value, []byte("=?")) {
		return strings.ToValidUTF8(string(value), "\uFFFD")
	}
	d := wordDecoder{out: make([]byte, 0, len(value))}
	for len(value) > 0 {
		i := bytes.Index(value, []byte("=?"))
		if i < 0 {
			break
		}
		w, n := parseWord(value[i:])
		if n == 0 {
			d.plain(value[:i+2])
			value = value[i+2:]
			continue
		}
		d.between(value[:i])
		d.word(w)
		value = value[i+n:]
	}
	d.plain(value)
	return string(d.out)
}

// word is an encoded word.
type word struct {
	charset  string
	encoding byte // 'b' or 'q'
	text     []byte
}

// parseWord reads the encoded word that b starts with and gives its length,
// 0 where there is none. It looks no further than to the third "?".
func parseWord(b []byte) (w word, n int) {
	rest := b[2:]
	i := bytes.IndexByte(rest, '?')
	if i <= 0 || i > maxCharset || len(rest) < i+3 || rest[i+2] != '?' {
		return word{}, 0
	}
	charset, _, _ := bytes.Cut(rest[:i], []byte{'*'}) // RFC 2231 §5: a language follows
	w = word{charset: strings.ToLower(string(charset)), encoding: lower(rest[i+1])}
	if w.encoding != 'b' && w.encoding != 'q' {
		return word{}, 0
	}
	rest = rest[i+3:]
	j := bytes.IndexByte(rest, '?')
	if j < 0 || len(rest) < j+2 || rest[j+1] != '=' {
		return word{}, 0
	}
	w.text = rest[:j]
	return w, 2 + i + 3 + j + 2
}

// wordDecoder puts words together. Those of one charset in a row are decoded as
// one, because mailers cut characters in two.
type wordDecoder struct {
	out     []byte
	charset string
	pending []byte // octets in charset
}

// between adds what stands before a word: white space between two words is not
// part of the text (RFC 2047 §6.2).
func (d *wordDecoder) between(b []byte) {
	if d.pending == nil || len(bytes.TrimLeft(b, " \t")) > 0 {
		d.plain(b)
	}
}

func (d *wordDecoder) plain(b []byte) {
	d.flush()
	d.out = append(d.out, bytes.ToValidUTF8(b, []byte("\uFFFD"))...)
}

func (d *wordDecoder) word(w word) {
	if w.charset != d.charset {
		d.flush()
	}
	d.charset = w.charset
	if d.pending == nil {
		d.pending = []byte{}
	}
	if w.encoding == 'b' {
		d.pending = appendBase64(d.pending, w.text)
	} else {
		d.pending = appendQ(d.pending, w.text)
	}
}

func (d *wordDecoder) flush() {
	if len(d.pending) > 0 {
		d.out = append(d.out, toUTF8(d.charset, d.pending)...)
	}
	d.pending = nil
}

// appendQ decodes the Q encoding (RFC 2047 §4.2).
func appendQ(dst, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '_':
			dst = append(dst, ' ')
		case c == '=' && isHex(text[i+1:]):
			dst = append(dst, unhex[text[i+1]]<<4|unhex[text[i+2]])
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func appendBase64(dst, text []byte) []byte {
	r := base64Reader{src: text}
	var buf [96]byte
	for {
		n, err := r.Read(buf[:])
		dst = append(dst, buf[:n]...)
		if err != nil {
			return dst
		}
	}
}

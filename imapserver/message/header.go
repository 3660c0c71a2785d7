package message

import (
	"bytes"
	"iter"
)

// allFields goes through the fields of a header: the name, and the value as it
// stands there, folded, without the last line break. Lines that are no field
// are left out.
func allFields(header []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for f := range rawFields(header) {
			name, value, ok := splitField(f)
			if ok && !yield(name, value) {
				return
			}
		}
	}
}

// rawFields goes through a header by whole fields: lines with what is folded
// onto them and their line breaks. The empty line at the end is not one.
func rawFields(header []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for len(header) > 0 {
			n := fieldLen(header)
			f := header[:n]
			header = header[n:]
			if len(trimBreak(f)) > 0 && !yield(f) {
				return
			}
		}
	}
}

// fieldLen is the length of the first field, its line break included.
func fieldLen(header []byte) int {
	n := 0
	for {
		i := bytes.IndexByte(header[n:], '\n')
		if i < 0 {
			return len(header)
		}
		n += i + 1
		if n == len(header) || header[n] != ' ' && header[n] != '\t' {
			return n
		}
	}
}

func splitField(f []byte) (name, value []byte, ok bool) {
	name, value, ok = bytes.Cut(f, []byte{':'})
	name = bytes.TrimRight(name, " \t")
	if !ok || len(name) == 0 {
		return nil, nil, false
	}
	return name, trimBreak(value), true
}

func trimBreak(b []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte{'\n'}), []byte{'\r'})
}

func firstField(header []byte, name string) (value []byte, ok bool) {
	for n, v := range allFields(header) {
		if equalFold(n, name) {
			return v, true
		}
	}
	return nil, false
}

// equalFold compares names of fields, which are ASCII.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		if lower(b[i]) != lower(s[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// unfold takes the line breaks out of a value (RFC 5322 §2.2.3) and the white
// space off its ends.
func unfold(value []byte) []byte {
	value = bytes.Trim(value, " \t\r\n")
	if bytes.IndexByte(value, '\n') < 0 && bytes.IndexByte(value, '\r') < 0 {
		return value
	}
	out := make([]byte, 0, len(value))
	for _, c := range value {
		if c != '\r' && c != '\n' {
			out = append(out, c)
		}
	}
	return out
}

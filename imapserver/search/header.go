package search

import (
	"bytes"
	"strings"

	"mailstead/imapserver/message"
)

// headerKeys is the HEADER keys of a program, looked for in one go through a
// header.
type headerKeys struct {
	keys    []headerKey
	byName  map[string][]int // lower-case name of a field: indexes in keys
	lengths uint64           // bit n: a name of n octets, or of 63 or more, is asked for
	name    []byte           // of the field that is looked at
	buf     []byte
}

type headerKey struct {
	pattern []byte // folded; empty: the field need only be there
	found   bool
}

func (h *headerKeys) add(name string, pattern []byte) int {
	if h.byName == nil {
		h.byName = map[string][]int{}
	}
	name = strings.ToLower(name)
	h.byName[name] = append(h.byName[name], len(h.keys))
	h.lengths |= 1 << min(len(name), 63)
	h.keys = append(h.keys, headerKey{pattern: pattern})
	return len(h.keys) - 1
}

// fold puts a value as it is compared into buf. Most are plain, and decoded as
// they stand.
func (h *headerKeys) fold(value []byte) {
	value = bytes.Trim(value, " \t\r\n")
	if asciiLen(value) < len(value) || bytes.IndexByte(value, '\n') >= 0 || bytes.IndexByte(value, '\r') >= 0 || bytes.Contains(value, []byte("=?")) {
		value = []byte(message.DecodeHeader(value))
	}
	h.buf, _ = appendFold(h.buf[:0], value, true)
}

// appendLower adds the name of a field, which is ASCII, in lower case.
func appendLower(dst, name []byte) []byte {
	for _, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

func (h *headerKeys) scan(header []byte) {
	for i := range h.keys {
		h.keys[i].found = false
	}
	for {
		name, value, rest, ok := message.CutField(header)
		if !ok {
			return
		}
		header = rest
		if h.lengths&(1<<min(len(name), 63)) == 0 {
			continue
		}
		h.name = appendLower(h.name[:0], name)
		list := h.byName[string(h.name)]
		if len(list) == 0 {
			continue
		}
		h.fold(value)
		for _, i := range list {
			k := &h.keys[i]
			k.found = k.found || bytes.Contains(h.buf, k.pattern)
		}
	}
}

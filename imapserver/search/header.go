package search

import (
	"bytes"
	"strings"

	"mailstead/imapserver/message"
)

// headerKeys is the HEADER keys of a program, looked for in one go through a
// header.
type headerKeys struct {
	keys   []headerKey
	byName map[string][]int // lower-case name of a field: indexes in keys
	name   []byte           // of the field that is looked at
	buf    []byte
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
	h.keys = append(h.keys, headerKey{pattern: pattern})
	return len(h.keys) - 1
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

func (h *headerKeys) scan(m *message.Message) {
	for i := range h.keys {
		h.keys[i].found = false
	}
	for name, value := range m.Fields() {
		h.name = appendLower(h.name[:0], name)
		list := h.byName[string(h.name)]
		if len(list) == 0 {
			continue
		}
		h.buf, _ = appendFold(h.buf[:0], []byte(message.DecodeHeader(value)), true)
		for _, i := range list {
			k := &h.keys[i]
			k.found = k.found || bytes.Contains(h.buf, k.pattern)
		}
	}
}

package search

import (
	"bytes"
	"context"
	"io"

	"mailstead/imapserver/message"
)

// chunk is how much text is decoded before it is looked through.
const chunk = 32 << 10

// textKeys is the BODY and TEXT keys of a program, looked for in one go through
// a message. It holds no more of the text than a chunk and a pattern's length.
type textKeys struct {
	keys   []textKey
	keep   int    // the longest pattern less one: what of a chunk may begin a match in the next
	in     []byte // text as read
	folded []byte
}

type textKey struct {
	pattern []byte // folded, not empty
	header  bool   // TEXT: the message's header counts too
	found   bool
}

func (x *textKeys) add(pattern []byte, header bool) int {
	x.keys = append(x.keys, textKey{pattern: pattern, header: header})
	x.keep = max(x.keep, len(pattern)-1)
	return len(x.keys) - 1
}

// scan looks through the message until every key is found or it ends. It stops
// when ctx ends.
func (x *textKeys) scan(ctx context.Context, m *message.Message) error {
	for i := range x.keys {
		x.keys[i].found = false
	}
	for i := range x.keys {
		if x.keys[i].header {
			if err := x.read(ctx, m.HeaderText(), true); err != nil {
				return err
			}
			break
		}
	}
	for r := range m.Texts() {
		if x.done() {
			break
		}
		if err := x.read(ctx, r, false); err != nil {
			return err
		}
	}
	return nil
}

func (x *textKeys) done() bool {
	for i := range x.keys {
		if !x.keys[i].found {
			return false
		}
	}
	return true
}

// read looks through one text.
func (x *textKeys) read(ctx context.Context, r io.Reader, header bool) error {
	if x.in == nil {
		x.in = make([]byte, chunk)
	}
	x.folded = x.folded[:0]
	left := 0 // octets of a character not yet whole, at the start of x.in
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, x.in[left:])
		final := err != nil // the readers of package message end with io.EOF and nothing else
		var rest []byte
		x.folded, rest = appendFold(x.folded, x.in[:left+n], final)
		x.look(header)
		if final {
			return nil
		}
		left = copy(x.in, rest)
		if drop := len(x.folded) - x.keep; drop > 0 {
			x.folded = x.folded[:copy(x.folded, x.folded[drop:])]
		}
	}
}

func (x *textKeys) look(header bool) {
	for i := range x.keys {
		k := &x.keys[i]
		if !k.found && (k.header || !header) {
			k.found = bytes.Contains(x.folded, k.pattern)
		}
	}
}

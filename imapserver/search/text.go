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
// a message.
type textKeys struct {
	keys []textKey
	keep int // the longest pattern less one: what of a piece may begin a match in the next
	folder
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
	return x.fold(ctx, r, x.keep, func(text []byte) bool {
		x.look(text, header)
		return !x.done()
	})
}

func (x *textKeys) look(text []byte, header bool) {
	for i := range x.keys {
		k := &x.keys[i]
		if !k.found && (k.header || !header) {
			k.found = bytes.Contains(text, k.pattern)
		}
	}
}

// folder folds texts piece by piece. It holds no more of a text than a chunk.
type folder struct {
	in     []byte // text as read
	folded []byte
}

// fold reads one text and gives it to look, folded, in pieces: each begins with
// the last keep octets of the one before. It stops when look returns false, and
// when ctx ends.
func (f *folder) fold(ctx context.Context, r io.Reader, keep int, look func(text []byte) bool) error {
	if f.in == nil {
		f.in = make([]byte, chunk)
	}
	f.folded = f.folded[:0]
	left := 0 // octets of a character not yet whole, at the start of f.in
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, f.in[left:])
		final := err != nil // the readers of package message end with io.EOF and nothing else
		var rest []byte
		f.folded, rest = appendFold(f.folded, f.in[:left+n], final)
		if !look(f.folded) || final {
			return nil
		}
		left = copy(f.in, rest)
		if drop := len(f.folded) - keep; drop > 0 {
			f.folded = f.folded[:copy(f.folded, f.folded[drop:])]
		}
	}
}

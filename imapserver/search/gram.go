package search

import (
	"context"
	"io"

	"mailstead/imapserver/message"
)

// Gram is three octets that follow each other in the folded text of a message,
// and where: in its header, or in its body. What contains a string contains all
// grams of the string.
type Gram uint32

const (
	gramLen            = 3
	headerGram    Gram = 1 << 24
	numberOfGrams      = 2 * headerGram
)

// gramAt gives the gram of the first three octets of text.
func gramAt(text []byte, part Gram) Gram {
	return part | Gram(text[0])<<16 | Gram(text[1])<<8 | Gram(text[2])
}

// Grams finds the grams of messages, one message at a time. It takes 4 MiB. One
// goroutine at a time may use it.
type Grams struct {
	seen   []uint64 // one bit for each gram
	list   []Gram   // those whose bit is set
	limit  int
	header []byte
	folder
}

// NewGrams makes one.
func NewGrams() *Grams { return &Grams{seen: make([]uint64, numberOfGrams/64)} }

// Of gives the grams of all that BODY, TEXT and HEADER keys look through, each
// once, in no order; good until the next call. ok is false if there are more
// than limit. It ends with ctx's error and no other.
func (g *Grams) Of(ctx context.Context, m *message.Message, limit int) (list []Gram, ok bool, err error) {
	for _, n := range g.list {
		g.seen[n/64] = 0
	}
	g.list, g.limit = g.list[:0], limit
	// HEADER keys are looked for in the value alone. Most often that is a part
	// of what HeaderText gives, but "=?utf-8?q?a" is the name of a field, too, and
	// with it the value may be half of an encoded word.
	for _, value := range m.Fields() {
		g.header, _ = appendFold(g.header[:0], []byte(message.DecodeHeader(value)), true)
		g.add(g.header, headerGram)
	}
	if err := g.read(ctx, m.HeaderText(), headerGram); err != nil {
		return nil, false, err
	}
	for r := range m.Texts() {
		if err := g.read(ctx, r, 0); err != nil {
			return nil, false, err
		}
		if len(g.list) > limit {
			break
		}
	}
	return g.list, len(g.list) <= limit, nil
}

func (g *Grams) read(ctx context.Context, r io.Reader, part Gram) error {
	return g.fold(ctx, r, gramLen-1, func(text []byte) bool {
		g.add(text, part)
		return len(g.list) <= g.limit
	})
}

func (g *Grams) add(text []byte, part Gram) {
	if len(text) < gramLen {
		return
	}
	n := gramAt(text, part)
	for i := gramLen - 1; ; {
		if bit := uint64(1) << (n % 64); g.seen[n/64]&bit == 0 {
			g.seen[n/64] |= bit
			g.list = append(g.list, n)
		}
		if i++; i >= len(text) {
			return
		}
		n = part | n<<8&(headerGram-1) | Gram(text[i])
	}
}

// gramsOf gives grams of a pattern, at most limit, from all over it.
func gramsOf(pattern []byte, part Gram, limit int) []Gram {
	n := len(pattern) - gramLen + 1
	if n <= 0 {
		return nil
	}
	list := make([]Gram, 0, min(n, limit))
	for i := range cap(list) {
		list = append(list, gramAt(pattern[i*n/cap(list):], part))
	}
	return list
}

package search

import (
	"slices"

	"mailstead/imapserver/wire"
)

const (
	// maxKeyGrams is how many grams of one string are looked up. A string of
	// many is rare by a few of them.
	maxKeyGrams = 24
	// maxGrams is how many a whole program has looked up. Keys beyond do not
	// narrow it.
	maxGrams = 1024
)

// Narrowing is what a message must contain to meet a program, as far as grams
// tell. It leaves a message out only if no message with its grams meets the
// program, so whoever matches those that are left finds the same as before.
type Narrowing struct {
	// One of three: all of grams, all of parts, or one of parts.
	grams []Gram
	parts []*Narrowing
	one   bool
}

// Narrow gives the narrowing of a key, or nil where the key has none.
func Narrow(key wire.SearchKey) *Narrowing {
	left := maxGrams
	return narrow(key, &left)
}

func narrow(k wire.SearchKey, left *int) *Narrowing {
	switch k.Op {
	case wire.SearchAnd:
		return allOf(k.Keys, left)
	case wire.SearchOr:
		return oneOf(k.Keys, left)
	case wire.SearchHeader:
		return containing(k.Text, headerGram, left)
	case wire.SearchBody:
		return containing(k.Text, 0, left)
	case wire.SearchText:
		header, body := containing(k.Text, headerGram, left), containing(k.Text, 0, left)
		if header == nil || body == nil {
			return nil
		}
		return &Narrowing{one: true, parts: []*Narrowing{header, body}}
	}
	// NOT is met by messages of which nothing is known, and the other keys are
	// not about text.
	return nil
}

func allOf(keys []wire.SearchKey, left *int) *Narrowing {
	all := new(Narrowing)
	for _, k := range keys {
		if n := narrow(k, left); n != nil {
			all.parts = append(all.parts, n)
		}
	}
	if len(all.parts) == 0 {
		return nil
	}
	return all
}

func oneOf(keys []wire.SearchKey, left *int) *Narrowing {
	one := &Narrowing{one: true}
	for _, k := range keys {
		n := narrow(k, left)
		if n == nil {
			return nil
		}
		one.parts = append(one.parts, n)
	}
	if len(one.parts) == 0 {
		return nil
	}
	return one
}

func containing(s string, part Gram, left *int) *Narrowing {
	grams := gramsOf(fold(s), part, maxKeyGrams)
	if len(grams) == 0 || len(grams) > *left {
		return nil
	}
	*left -= len(grams)
	return &Narrowing{grams: grams}
}

// Grams gives those that the narrowing asks about, ascending, each once.
func (n *Narrowing) Grams() []Gram {
	all := n.gather(nil)
	slices.Sort(all)
	return slices.Compact(all)
}

func (n *Narrowing) gather(to []Gram) []Gram {
	to = append(to, n.grams...)
	for _, p := range n.parts {
		to = p.gather(to)
	}
	return to
}

// Left gives which of many messages are left, one bit for each; having gives
// those that have a gram, in as many words, and is asked about Grams alone.
func (n *Narrowing) Left(having func(Gram) []uint64) []uint64 {
	var left []uint64
	combine := func(with []uint64) {
		switch {
		case left == nil:
			left = slices.Clone(with)
		case n.one:
			for i := range left {
				left[i] |= with[i]
			}
		default:
			for i := range left {
				left[i] &= with[i]
			}
		}
	}
	for _, g := range n.grams {
		combine(having(g))
	}
	for _, p := range n.parts {
		combine(p.Left(having))
	}
	return left
}

// HasText says whether a key looks into the text of messages: what an index of
// it would be worth making for.
func HasText(key wire.SearchKey) bool {
	return key.Op == wire.SearchBody || key.Op == wire.SearchText || slices.ContainsFunc(key.Keys, HasText)
}

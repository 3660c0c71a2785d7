package store

import (
	"iter"

	"mailstead/imapserver/maildir"
)

// nameRun gathers the names of a run of messages, so that they can lie in one string: a
// million strings would cost the garbage collector dearly. The zero value is empty.
type nameRun struct {
	text []byte
	ends []int // in text, of each
}

func addName[T string | []byte](r *nameRun, name T) {
	r.text = append(r.text, name...)
	r.ends = append(r.ends, len(r.text))
}

// strings gives the names, and takes them out.
func (r *nameRun) strings() iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		text, start := string(r.text), 0
		for i, end := range r.ends {
			if !yield(i, text[start:end]) {
				break
			}
			start = end
		}
		r.text, r.ends = r.text[:0], r.ends[:0]
	}
}

// gathering has files of a directory seen, in runs of chunkLen.
type gathering struct {
	list *maildir.Listing
	sub  maildir.Sub
	see  func(found)

	names nameRun
	inos  [chunkLen]uint64
}

// add takes entry i of the list.
func (g *gathering) add(i int) {
	if len(g.names.ends) == chunkLen {
		g.flush()
	}
	g.inos[len(g.names.ends)] = g.list.Inode(i)
	addName(&g.names, g.list.Name(i))
}

// flush has those seen that have not been.
func (g *gathering) flush() {
	for i, name := range g.names.strings() {
		base, suffix := maildir.SplitName(name)
		g.see(found{sub: g.sub, base: base, suffix: suffix, ino: g.inos[i]})
	}
}

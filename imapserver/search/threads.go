package search

import "strconv"

// Threads is the threads of an answer to THREAD.
type Threads struct {
	Roots    []int32 // one for each thread, for Append
	nodes    []threadNode
	messages []threadMessage
}

// maxBranches is how many parentheses an answer has inside each other at most.
// Deviation: RFC 5256 sets no limit, but a sender may make threads that branch
// at each of a hundred thousand messages, and clients read answers recursively.
// What branches deeper is told as if each message were the parent of the next.
const maxBranches = 100

// Append adds a thread as the THREAD response has it (RFC 5256 §4).
func (t *Threads) Append(dst []byte, root int32) []byte {
	dst, rest := t.open(dst, root, 1)
	stack := []int32{rest} // of each open parenthesis, the child that comes next
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if *top == none {
			dst = append(dst, ')')
			stack = stack[:len(stack)-1]
			continue
		}
		n := *top
		*top = t.nodes[n].next
		dst, rest = t.open(dst, n, len(stack)+1)
		stack = append(stack, rest)
	}
	return dst
}

// open begins a list with a node and those below it, until there are several
// children. It gives the first of them.
func (t *Threads) open(dst []byte, n int32, depth int) (out []byte, children int32) {
	dst = append(dst, '(')
	for {
		d := &t.nodes[n]
		dst = t.number(dst, n)
		switch {
		case d.first == none:
			return dst, none
		case d.first == d.last && d.message != none:
		case depth >= maxBranches:
			return t.flatten(dst, n), none
		case d.message == none:
			return dst, d.first
		default:
			return append(dst, ' '), d.first
		}
		dst = append(dst, ' ')
		n = d.first
	}
}

// number adds that of a message; a dummy has none.
func (t *Threads) number(dst []byte, n int32) []byte {
	if i := t.nodes[n].message; i != none {
		dst = strconv.AppendUint(dst, uint64(t.messages[i].num), 10)
	}
	return dst
}

// flatten adds all that stands below a node, parents before their children, in
// one row.
func (t *Threads) flatten(dst []byte, root int32) []byte {
	for n := t.nodes[root].first; n != root; {
		dst = t.number(append(dst, ' '), n)
		if t.nodes[n].first != none {
			n = t.nodes[n].first
			continue
		}
		for n != root && t.nodes[n].next == none {
			n = t.nodes[n].parent
		}
		if n != root {
			n = t.nodes[n].next
		}
	}
	return dst
}

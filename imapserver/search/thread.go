package search

import (
	"cmp"
	"slices"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/message"
	"mailstead/imapserver/wire"
)

// Threader makes threads of messages (RFC 5256 §3). Time is in proportion to
// n log n of the messages and their references, however deep or wide they are.
type Threader struct {
	algorithm imap.ThreadAlgorithm
	links     forest // a node for each message and for each id that is referred to
	byID      map[message.MessageID]int32
	nodes     []threadNode
	messages  []threadMessage
}

// threadNode is a message, or a dummy for one that is not there.
type threadNode struct {
	message int32 // none: a dummy
	parent  int32 // once the links are made: none for a root

	// The children, in the order in which they were hung.
	first, last, next int32
}

type threadMessage struct {
	num     uint32
	node    int32
	sent    int64
	subject string // base subject, folded
	reply   bool
}

// NewThreader makes one.
func NewThreader(algorithm imap.ThreadAlgorithm) *Threader {
	return &Threader{algorithm: algorithm, byID: map[message.MessageID]int32{}}
}

// Add adds a message. Messages come in the order of their sequence numbers.
func (t *Threader) Add(f *Found) {
	o := &f.Overview
	m := threadMessage{num: f.Num, sent: f.sent(), reply: o.Reply}
	if t.algorithm != wire.ThreadRefs {
		m.subject = string(fold(o.Subject))
	}
	if t.algorithm == imap.ThreadOrderedSubject {
		m.node = t.newNode()
	} else {
		m.node = t.link(o)
	}
	t.nodes[m.node].message = int32(len(t.messages))
	t.messages = append(t.messages, m)
}

// Threads makes the threads. Nothing can be added after it.
func (t *Threader) Threads() *Threads {
	order := t.sort()
	var roots []int32
	switch t.algorithm {
	case imap.ThreadOrderedSubject:
		roots = t.groupSubjects(order)
	case wire.ThreadRefs:
		t.prune(order)
		roots = t.newestLast(order)
	default:
		t.prune(order)
		t.mergeSubjects(t.roots(order))
		roots = t.roots(order)
	}
	t.hang(order)
	return &Threads{nodes: t.nodes, messages: t.messages, Roots: roots}
}

func (t *Threader) newNode() int32 {
	t.nodes = append(t.nodes, threadNode{none, none, none, none, none})
	t.links.add()
	return int32(len(t.nodes) - 1)
}

// node gives the node of an id.
func (t *Threader) node(id message.MessageID) int32 {
	n, ok := t.byID[id]
	if !ok {
		n = t.newNode()
		t.byID[id] = n
	}
	return n
}

// link is step 1 of REFERENCES for one message. It gives the message's node.
func (t *Threader) link(o *message.Overview) int32 {
	parent := none
	for _, id := range o.Refs {
		child := t.node(id)
		if parent != none && t.links.parent[child] == none && !t.links.below(parent, child) {
			t.links.link(child, parent)
		}
		parent = child
	}
	n := none
	if o.ID != 0 {
		n = t.node(o.ID)
	}
	if n == none || t.nodes[n].message != none { // no id, or that of an earlier message
		n = t.newNode()
	}
	if t.links.parent[n] == parent {
		return n
	}
	if t.links.parent[n] != none {
		t.links.cut(n)
	}
	if parent != none && !t.links.below(parent, n) {
		t.links.link(n, parent)
	}
	return n
}

// sort gives the messages in the order of their sent dates.
func (t *Threader) sort() []int32 {
	order := make([]int32, len(t.messages))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(t.messages[a].sent, t.messages[b].sent), cmp.Compare(a, b))
	})
	return order
}

// prune is steps 2 and 3: every message gets the nearest message above it as its
// parent, or the highest dummy, unless it would be that dummy's only child.
func (t *Threader) prune(order []int32) {
	above := t.above()
	for i := range t.messages {
		n := t.messages[i].node
		p := t.nodes[n].parent
		if p != none {
			t.nodes[n].parent = above[p]
		}
	}
	t.hang(order)
	for n := range t.nodes {
		d := &t.nodes[n]
		if d.message == none && d.first != none && d.first == d.last {
			t.nodes[d.first].parent = none
			d.first, d.last = none, none
		}
	}
}

// above gives for each node itself if it is a message or a root, otherwise what
// it gives for its parent. It sets the nodes' parents to those of the links.
func (t *Threader) above() []int32 {
	above := slices.Repeat([]int32{none}, len(t.nodes))
	var way []int32
	for n := range t.nodes {
		t.nodes[n].parent = t.links.parent[n]
		at := int32(n)
		for way = way[:0]; above[at] == none; at = t.links.parent[at] {
			if t.nodes[at].message != none || t.links.parent[at] == none {
				above[at] = at
				break
			}
			way = append(way, at)
		}
		for _, w := range way {
			above[w] = above[at]
		}
	}
	return above
}

// hang makes the lists of children, in order of the sent date: of each node
// that is some message's parent.
func (t *Threader) hang(order []int32) {
	for n := range t.nodes {
		t.nodes[n].first, t.nodes[n].last, t.nodes[n].next = none, none, none
	}
	for _, i := range order {
		n := t.messages[i].node
		if p := t.nodes[n].parent; p != none {
			t.adopt(p, n)
		}
	}
}

// adopt makes n the last child of p.
func (t *Threader) adopt(p, n int32) {
	d := &t.nodes[p]
	if d.last == none {
		d.first = n
	} else {
		t.nodes[d.last].next = n
	}
	d.last = n
	t.nodes[n].parent, t.nodes[n].next = p, none
}

// roots gives the roots that have a message in or below them, by sent date: a
// dummy's is that of its first child.
func (t *Threader) roots(order []int32) []int32 {
	var roots []int32
	seen := make(map[int32]bool) // dummies
	for _, i := range order {
		n := t.messages[i].node
		p := t.nodes[n].parent
		switch {
		case p == none:
			roots = append(roots, n)
		case t.nodes[p].message == none && !seen[p]:
			seen[p] = true
			roots = append(roots, p)
		}
	}
	return roots
}

// newestLast gives the roots by the sent date of the newest message below them.
func (t *Threader) newestLast(order []int32) []int32 {
	root := t.rootOf()
	newest := make([]int32, 0, len(order))
	seen := make([]bool, len(t.nodes))
	for _, i := range slices.Backward(order) {
		if r := root[t.messages[i].node]; !seen[r] {
			seen[r] = true
			newest = append(newest, r)
		}
	}
	slices.Reverse(newest)
	return newest
}

// rootOf gives the root of each node that is a message or a root.
func (t *Threader) rootOf() []int32 {
	root := slices.Repeat([]int32{none}, len(t.nodes))
	var way []int32
	for _, m := range t.messages {
		at := m.node
		for way = way[:0]; root[at] == none && t.nodes[at].parent != none; at = t.nodes[at].parent {
			way = append(way, at)
		}
		if root[at] == none {
			root[at] = at
		}
		for _, w := range way {
			root[w] = root[at]
		}
	}
	return root
}

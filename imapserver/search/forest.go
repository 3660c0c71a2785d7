package search

// forest is trees of nodes whose links can be made and cut, and which can tell
// in logarithmic time, amortized, which tree a node is in: a chain of replies
// is as deep as a sender likes, and walking up from each of its messages would
// cost the square of its length.
//
// It is a link-cut tree (Sleator and Tarjan, 1983): each tree is taken apart
// into paths, each path is a splay tree ordered by depth, and up leads from the
// top of a path's splay tree to the parent of the path's highest node.
type forest struct {
	parent []int32 // of the trees; none at the root
	nodes  []splayNode
	kids   []int32 // how many children each node has
}

// none is no node.
const none int32 = -1

type splayNode struct {
	up          int32 // parent in the splay tree, or see forest
	left, right int32
}

// add makes a tree of one node, with the next number.
func (f *forest) add() {
	f.parent = append(f.parent, none)
	f.kids = append(f.kids, 0)
	f.nodes = append(f.nodes, splayNode{none, none, none})
}

// below tells whether node n stands below the root r of a tree, or is r.
func (f *forest) below(n, r int32) bool {
	switch {
	case n == r:
		return true
	case f.kids[r] == 0 || f.parent[n] == none:
		return false
	}
	return f.root(n) == r
}

// link makes the root r of a tree a child of p, which must not be below r.
func (f *forest) link(r, p int32) {
	if f.kids[r] > 0 {
		f.access(r)
	}
	f.nodes[r].up = p
	f.parent[r] = p
	f.kids[p]++
}

// cut makes a node the root of a tree of its own.
func (f *forest) cut(n int32) {
	f.access(n)
	left := f.nodes[n].left
	f.nodes[left].up = none
	f.nodes[n].left = none
	f.kids[f.parent[n]]--
	f.parent[n] = none
}

// root gives the root of the tree that n is in.
func (f *forest) root(n int32) int32 {
	f.access(n)
	for f.nodes[n].left != none {
		n = f.nodes[n].left
	}
	f.splay(n)
	return n
}

// access makes the way from the root to n one path, with n on top of its splay
// tree and nothing below n in it.
func (f *forest) access(n int32) {
	last := none
	for at := n; at != none; at = f.nodes[at].up {
		f.splay(at)
		f.nodes[at].right = last
		last = at
	}
	f.splay(n)
}

// top tells whether n is on top of its splay tree.
func (f *forest) top(n int32) bool {
	up := f.nodes[n].up
	return up == none || f.nodes[up].left != n && f.nodes[up].right != n
}

// splay brings n to the top of its splay tree.
func (f *forest) splay(n int32) {
	for !f.top(n) {
		up := f.nodes[n].up
		if !f.top(up) {
			grand := f.nodes[up].up
			if (f.nodes[grand].left == up) == (f.nodes[up].left == n) {
				f.rotate(up)
			} else {
				f.rotate(n)
			}
		}
		f.rotate(n)
	}
}

// rotate brings n above its parent in the splay tree.
func (f *forest) rotate(n int32) {
	up := f.nodes[n].up
	grand := f.nodes[up].up
	if !f.top(up) {
		if f.nodes[grand].left == up {
			f.nodes[grand].left = n
		} else {
			f.nodes[grand].right = n
		}
	}
	var moved int32
	if f.nodes[up].left == n {
		moved = f.nodes[n].right
		f.nodes[up].left, f.nodes[n].right = moved, up
	} else {
		moved = f.nodes[n].left
		f.nodes[up].right, f.nodes[n].left = moved, up
	}
	if moved != none {
		f.nodes[moved].up = up
	}
	f.nodes[n].up, f.nodes[up].up = grand, n
}

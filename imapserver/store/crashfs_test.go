package store

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailstead/imapserver/maildir"
)

// crashFS follows the calls that a store makes, and builds what a disk may hold
// after a power cut between any two of them: what was synced for sure, of the
// rest what a model says.
type crashFS struct {
	root string

	mu    sync.Mutex
	nodes []*crashNode
	base  crashTree // what was there at the start, all on disk
	tree  crashTree // with all calls
	log   []crashCall
	last  *maildir.Op // made since it was told of, but not taken in
	skip  func(maildir.Op) bool
	cuts  []crashCut
	acked int
}

// crashNode is a file or directory, whatever its names.
type crashNode struct {
	dir  bool
	data []crashData // in the order of the calls
}

// crashData is the content of a file as of a cut.
type crashData struct {
	cut    int
	synced bool
	bytes  []byte
	mtime  time.Time
}

// crashTree is the entries of all directories, by node number; the root is 0.
type crashTree map[int]map[string]int

func (t crashTree) clone() crashTree {
	c := make(crashTree, len(t))
	for dir, entries := range t {
		c[dir] = maps.Clone(entries)
	}
	return c
}

// crashCall is a call that changed entries.
type crashCall struct {
	node      int
	from, to  crashEntry // either may be none
	cut       int        // the first that it was made before
	persisted int        // the first that it was synced before; 0 never
}

type crashEntry struct {
	dir  int
	name string
}

var noEntry = crashEntry{dir: -1}

// crashCut is a moment at which the power may fail.
type crashCut struct {
	index int
	acked int    // so many commands were acknowledged
	wal   []byte // the log of the index as written
	next  maildir.Op
}

// newCrashFS takes in a tree that is quiet, and counts it as being on disk.
func newCrashFS(t *testing.T, root string) *crashFS {
	c := &crashFS{root: root, nodes: []*crashNode{{dir: true}}, base: crashTree{0: {}}}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		parent := c.find(c.base, filepath.Dir(path))
		n := c.newNode(d.IsDir())
		c.base[parent][d.Name()] = n
		if d.IsDir() {
			c.base[n] = map[string]int{}
			return nil
		}
		c.nodes[n].data = []crashData{c.content(path, true)}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c.tree = c.base.clone()
	return c
}

func (c *crashFS) newNode(dir bool) int {
	c.nodes = append(c.nodes, &crashNode{dir: dir})
	return len(c.nodes) - 1
}

// content reads a file as it is; one that is not there is empty.
func (c *crashFS) content(path string, synced bool) crashData {
	data, _ := os.ReadFile(path)
	st, err := os.Stat(path)
	if err != nil {
		return crashData{cut: len(c.cuts), synced: synced}
	}
	return crashData{cut: len(c.cuts), synced: synced, bytes: data, mtime: st.ModTime()}
}

// find gives the node of a path, or -1.
func (c *crashFS) find(t crashTree, path string) int {
	rel, err := filepath.Rel(c.root, path)
	if err != nil || rel == "." {
		return 0
	}
	n := 0
	for name := range strings.SplitSeq(rel, "/") {
		next, ok := t[n][name]
		if !ok {
			return -1
		}
		n = next
	}
	return n
}

// entry gives the entry of a path, whose directory it makes if it must: not
// all directories of our own are made through Ops.
func (c *crashFS) entry(path string) crashEntry {
	dir := c.find(c.tree, filepath.Dir(path))
	if dir < 0 {
		up := c.entry(filepath.Dir(path))
		dir = c.newNode(true)
		c.apply(crashCall{node: dir, from: noEntry, to: up})
		c.tree[dir] = map[string]int{}
	}
	return crashEntry{dir, filepath.Base(path)}
}

// trace is the Trace of an Ops: it notes a moment, and the call before it.
func (c *crashFS) trace(op maildir.Op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	wal, _ := os.ReadFile(filepath.Join(c.root, maildir.OwnDir, indexFile+"-wal"))
	c.cuts = append(c.cuts, crashCut{index: len(c.cuts), acked: c.acked, wal: wal, next: op})
	c.last = &op
	return nil
}

// ack notes that a command has been acknowledged, and the moment after.
func (c *crashFS) ack() {
	c.mu.Lock()
	c.settle()
	c.acked++
	c.mu.Unlock()
	c.trace(maildir.Op{Call: "the next"})
	c.last = nil
}

// settle takes in the call that has been made by now.
func (c *crashFS) settle() {
	if c.last == nil {
		return
	}
	op := *c.last
	c.last = nil
	switch op.Call {
	case "create", "mkdir":
		e := c.entry(op.Path)
		if _, ok := c.tree[e.dir][e.name]; ok {
			return
		}
		n := c.newNode(op.Call == "mkdir")
		if op.Call == "mkdir" {
			c.tree[n] = map[string]int{}
		}
		c.apply(crashCall{node: n, from: noEntry, to: e})
	case "rename", "link":
		from, to := c.entry(op.Path), c.entry(op.To)
		n, ok := c.tree[from.dir][from.name]
		if !ok || !c.exists(op.To) {
			return // it failed
		}
		c.see(n, op.To, false)
		if op.Call == "link" {
			from = noEntry
		}
		c.apply(crashCall{node: n, from: from, to: to})
	case "unlink", "removeall":
		e := c.entry(op.Path)
		if n, ok := c.tree[e.dir][e.name]; ok && !c.exists(op.Path) {
			c.apply(crashCall{node: n, from: e, to: noEntry})
		}
	case "sync":
		if n := c.find(c.tree, op.Path); n >= 0 && !c.skipped(op) {
			c.see(n, op.Path, true)
		} else if strings.HasSuffix(op.Path, "-wal") && !c.skipped(op) {
			c.entry(op.Path) // made by SQLite since
			n := c.newNode(false)
			c.tree[c.find(c.tree, filepath.Dir(op.Path))][filepath.Base(op.Path)] = n
			c.see(n, op.Path, true)
		}
	case "syncdir":
		if c.skipped(op) {
			return
		}
		dir := c.find(c.tree, op.Path)
		for i := range c.log {
			if l := &c.log[i]; l.persisted == 0 && (l.from.dir == dir || l.to.dir == dir) {
				l.persisted = len(c.cuts)
			}
		}
	}
}

func (c *crashFS) skipped(op maildir.Op) bool { return c.skip != nil && c.skip(op) }

func (c *crashFS) exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (c *crashFS) see(n int, path string, synced bool) {
	if !c.nodes[n].dir {
		c.nodes[n].data = append(c.nodes[n].data, c.content(path, synced))
	}
}

func (c *crashFS) apply(l crashCall) {
	l.cut = len(c.cuts)
	c.log = append(c.log, l)
	l.applyTo(c.tree)
}

func (l crashCall) applyTo(t crashTree) {
	if l.from.dir >= 0 && t[l.from.dir][l.from.name] == l.node {
		delete(t[l.from.dir], l.from.name)
	}
	if l.to.dir >= 0 && t[l.to.dir] != nil {
		t[l.to.dir][l.to.name] = l.node
	}
}

// crashModel says what of the calls that were not synced is on disk after all.
type crashModel struct {
	name  string
	entry func(*rand.Rand) bool // changes of directories
	data  func(*rand.Rand) bool // contents of files, and the log of the index
}

var crashModels = []crashModel{
	{"all", always, always},
	{"synced", never, never},
	{"entries", always, never},
	{"some", sometimes, sometimes},
}

func always(*rand.Rand) bool      { return true }
func never(*rand.Rand) bool       { return false }
func sometimes(r *rand.Rand) bool { return r.IntN(2) == 0 }

// write builds in dir what the disk holds after that cut.
func (c *crashFS) write(t *testing.T, dir string, cut crashCut, m crashModel, rnd *rand.Rand) {
	t.Helper()
	tree := c.base.clone()
	for n, node := range c.nodes {
		if node.dir && tree[n] == nil {
			tree[n] = map[string]int{}
		}
	}
	for _, l := range c.log {
		if l.cut <= cut.index && (l.persisted > 0 && l.persisted <= cut.index || m.entry(rnd)) {
			l.applyTo(tree)
		}
	}
	c.writeDir(t, dir, tree, 0, cut, m, rnd)
}

func (c *crashFS) writeDir(t *testing.T, dir string, tree crashTree, n int, cut crashCut, m crashModel, rnd *rand.Rand) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(tree[n])) {
		kid := tree[n][name]
		path := filepath.Join(dir, name)
		if c.nodes[kid].dir {
			c.writeDir(t, path, tree, kid, cut, m, rnd)
			continue
		}
		d := c.nodes[kid].at(cut, m.data(rnd))
		if name == indexFile+"-wal" && m.data(rnd) {
			d.bytes = cut.wal
		}
		if err := os.WriteFile(path, d.bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, d.mtime, d.mtime); err != nil {
			t.Fatal(err)
		}
	}
}

// at gives the content that a file has on disk after a cut.
func (n *crashNode) at(cut crashCut, unsynced bool) crashData {
	var d crashData
	for _, x := range n.data {
		if x.cut <= cut.index && (x.synced || unsynced) {
			d = x
		}
	}
	return d
}

func (c crashCut) String() string {
	return fmt.Sprintf("cut %d, %d commands acknowledged, before %s %s", c.index, c.acked, c.next.Call, c.next.Path)
}

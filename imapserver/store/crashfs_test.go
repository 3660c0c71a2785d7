package store

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
)

// crashFS follows the calls that a store makes, SQLite's among them, and knows of
// each change of a file or directory whether it has been synced since. Of that,
// crashCut.tree builds what a disk may hold after a power cut between any two.
type crashFS struct {
	root string

	mu    sync.Mutex
	nodes []*crashNode
	base  crashTree         // what was there at the start, all on disk
	tree  crashTree         // with all calls
	moved map[string]string // directories that were renamed, of which calls may be told by the old name
	log   []crashCall
	last  *maildir.Op // made since it was told of, but not taken in
	quiet bool        // calls are taken in, but are no moments to cut at
	cuts  []crashCut
	acked int
	syncs []string // calls that have made something durable
}

// crashNode is a file or directory, whatever its names.
type crashNode struct {
	dir     bool
	changes []crashChange // in the order of the calls
	content []byte        // of a file, with all of them
	mtime   time.Time
}

// crashChange is a change of a file.
type crashChange struct {
	cut       int // the first that it was made before
	persisted int // the first that it was synced before; 0 never
	kind      changeKind
	offset    int64 // truncate: the size
	data      []byte
	mtime     time.Time
}

type changeKind int

const (
	changeWrite changeKind = iota
	changeSize
	changeTime
)

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
	node     int
	from, to crashEntry // either may be none
	cut      int        // the first that it was made before
	left     int        // the first that the directory of from was synced before; 0 never
	arrived  int        // and that of to
}

// persisted is the first cut that either directory was synced before, as file systems
// with a journal have it: a rename is on disk as a whole.
func (l crashCall) persisted() int {
	if l.left == 0 || l.arrived > 0 && l.arrived < l.left {
		return l.arrived
	}
	return l.left
}

type crashEntry struct {
	dir  int
	name string
}

var noEntry = crashEntry{dir: -1}

// crashCut is a moment at which the power may fail.
type crashCut struct {
	index int
	acked int // so many commands were acknowledged
	next  maildir.Op
}

// newCrashFS takes in a tree that is quiet, and counts it as being on disk.
func newCrashFS(t testing.TB, root string) *crashFS {
	c := &crashFS{root: root, nodes: []*crashNode{{dir: true}}, base: crashTree{0: {}}, moved: map[string]string{}}
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
		node := c.nodes[n]
		c.see(node, path)
		for i := range node.changes {
			node.changes[i].persisted = 0
			node.changes[i].cut = -1 // before any
		}
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

// now gives the path that a path has become: a folder that is open goes by the name that
// its directory had then.
func (c *crashFS) now(path string) string {
	for dir := path; len(dir) > len(c.root); dir = filepath.Dir(dir) {
		if to, ok := c.moved[dir]; ok && c.find(c.tree, dir) < 0 {
			return c.now(to + path[len(dir):])
		}
	}
	return path
}

// entry gives the entry of a path, whose directory it makes if it must: not
// all directories of our own are made through Ops.
func (c *crashFS) entry(path string) crashEntry {
	dir := c.find(c.tree, filepath.Dir(path))
	if dir < 0 {
		up := c.entry(filepath.Dir(path))
		dir = c.newNode(true)
		c.tree[dir] = map[string]int{}
		c.apply(crashCall{node: dir, from: noEntry, to: up})
	}
	return crashEntry{dir, filepath.Base(path)}
}

// trace is the Trace of an Ops: it notes a moment, and the call before it.
func (c *crashFS) trace(op maildir.Op) error {
	c.moment(op)
	c.mu.Lock()
	c.last = &op
	c.mu.Unlock()
	return nil
}

// moment takes in what has been done, and notes that the power may fail now.
func (c *crashFS) moment(next maildir.Op) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	if !c.quiet {
		c.cuts = append(c.cuts, crashCut{index: len(c.cuts), acked: c.acked, next: next})
	}
}

// ack notes that a command has been acknowledged, and the moment after.
func (c *crashFS) ack() {
	c.mu.Lock()
	c.settle()
	c.acked++
	c.mu.Unlock()
	c.moment(maildir.Op{Call: "the next"})
}

// hush has calls taken in without being moments, or ends that.
func (c *crashFS) hush(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
	c.quiet = on
}

// sqlite takes in a call that SQLite has made.
func (c *crashFS) sqlite(op sqliteOp) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch op.call {
	case "create":
		c.create(op.path, false)
	case "unlink":
		c.unlink(op.path)
	case "sync":
		c.sync(op.path)
	case "syncdir":
		c.syncDir(op.path)
	case "write", "truncate":
		if c.find(c.tree, op.path) < 0 {
			c.create(op.path, false) // the index itself is made by us
		}
		change := crashChange{kind: changeWrite, offset: op.offset, data: op.data}
		if op.call == "truncate" {
			change.kind = changeSize
		}
		node := c.nodes[c.find(c.tree, op.path)]
		c.change(node, change)
	}
}

// settle takes in the call that has been made by now.
func (c *crashFS) settle() {
	if c.last == nil {
		return
	}
	op := *c.last
	c.last = nil
	op.Path = c.now(op.Path)
	if op.To != "" { // the name itself is new, though a directory may have had it before
		op.To = filepath.Join(c.now(filepath.Dir(op.To)), filepath.Base(op.To))
	}
	switch op.Call {
	case "create", "mkdir":
		if c.exists(op.Path) {
			c.create(op.Path, op.Call == "mkdir")
		}
	case "write", "utimes":
		if n := c.find(c.tree, op.Path); n >= 0 {
			c.see(c.nodes[n], op.Path)
		}
	case "rename", "link":
		from, to := c.entry(op.Path), c.entry(op.To)
		n, ok := c.tree[from.dir][from.name]
		if !ok || !c.exists(op.To) || op.Call == "rename" && c.exists(op.Path) {
			return // it failed
		}
		if c.nodes[n].dir {
			c.moved[op.Path] = op.To
		} else {
			c.see(c.nodes[n], op.To)
		}
		if op.Call == "link" {
			from = noEntry
		}
		c.apply(crashCall{node: n, from: from, to: to})
	case "unlink", "removeall":
		if !c.exists(op.Path) {
			c.unlink(op.Path)
		}
	case "sync":
		c.sync(op.Path)
	case "syncdir":
		c.syncDir(op.Path)
	}
}

func (c *crashFS) create(path string, dir bool) {
	e := c.entry(path)
	if _, ok := c.tree[e.dir][e.name]; ok {
		return
	}
	n := c.newNode(dir)
	if dir {
		c.tree[n] = map[string]int{}
	}
	c.apply(crashCall{node: n, from: noEntry, to: e})
}

func (c *crashFS) unlink(path string) {
	e := c.entry(path)
	if n, ok := c.tree[e.dir][e.name]; ok {
		c.apply(crashCall{node: n, from: e, to: noEntry})
	}
}

// sync makes what a file holds durable.
func (c *crashFS) sync(path string) {
	n := c.find(c.tree, path)
	if n < 0 || c.nodes[n].dir {
		return
	}
	if !strings.Contains(path, indexFile) { // what SQLite writes we know already
		c.see(c.nodes[n], path)
	}
	c.syncs = append(c.syncs, "sync "+strings.TrimPrefix(path, c.root+"/"))
	for i := range c.nodes[n].changes {
		if w := &c.nodes[n].changes[i]; w.persisted == 0 && w.cut >= 0 {
			w.persisted = len(c.cuts)
		}
	}
}

// syncDir makes the entries of a directory durable.
func (c *crashFS) syncDir(path string) {
	dir := c.find(c.tree, path)
	c.syncs = append(c.syncs, "syncdir "+strings.TrimPrefix(path, c.root))
	for i := range c.log {
		l := &c.log[i]
		if l.left == 0 && l.from.dir == dir {
			l.left = len(c.cuts)
		}
		if l.arrived == 0 && l.to.dir == dir {
			l.arrived = len(c.cuts)
		}
	}
}

func (c *crashFS) exists(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil
}

// see takes in what has been written to a file, and its time.
func (c *crashFS) see(n *crashNode, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		return
	}
	st, err := os.Stat(path)
	if err != nil {
		return
	}
	if !bytes.Equal(data, n.content) {
		if !bytes.HasPrefix(data, n.content) {
			c.change(n, crashChange{kind: changeSize})
		}
		c.change(n, crashChange{offset: int64(len(n.content)), data: data[len(n.content):]})
	}
	if !st.ModTime().Equal(n.mtime) {
		c.change(n, crashChange{kind: changeTime, mtime: st.ModTime()})
	}
}

func (c *crashFS) change(n *crashNode, w crashChange) {
	w.cut = len(c.cuts)
	n.changes = append(n.changes, w)
	n.content, n.mtime = w.applyTo(n.content, n.mtime)
}

// applyTo gives a file with the change.
func (w *crashChange) applyTo(content []byte, mtime time.Time) ([]byte, time.Time) {
	switch w.kind {
	case changeTime:
		return content, w.mtime
	case changeSize:
		return resize(content, w.offset), mtime
	}
	end := w.offset + int64(len(w.data))
	if int64(len(content)) < end {
		content = resize(content, end)
	}
	copy(content[w.offset:], w.data)
	return content, mtime
}

func resize(content []byte, size int64) []byte {
	if int64(len(content)) >= size {
		return content[:size]
	}
	return append(content, make([]byte, size-int64(len(content)))...)
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

func (c crashCut) String() string {
	return fmt.Sprintf("cut %d, %d commands acknowledged, before %s %s", c.index, c.acked, c.next.Call, c.next.Path)
}

package store

import (
	"encoding/binary"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// crashModel says what of the calls that were not synced is on disk after all.
type crashModel struct {
	name  string
	entry func(*rand.Rand) bool // changes of directories, and times
	data  func(*rand.Rand) bool // contents of files
	size  sizeModel
	seeds int
	torn  bool // a rename may be on disk in the directory that it left alone
}

// sizeModel is what a disk has of a file whose data and size, which is of the
// metadata, were not synced together.
type sizeModel int

const (
	sizeAlong  sizeModel = iota
	sizeNever            // all data, but no more than there was room for
	sizeAlways           // room for all data, with zeros in it
)

// crashModels are the four of how a disk forgets; the second has a form for file
// systems that sync a directory by itself, the third and the fourth have two each.
var crashModels = []crashModel{
	{name: "all issued", entry: always, data: always, seeds: 1},
	{name: "only synced", entry: never, data: never, seeds: 1},
	{name: "only synced, renames torn", entry: never, data: never, seeds: 1, torn: true},
	{name: "some entries", entry: sometimes, data: never, seeds: 32},
	{name: "some entries and data", entry: sometimes, data: sometimes, seeds: 32},
	{name: "data without size", entry: always, data: always, size: sizeNever, seeds: 1},
	{name: "size without data", entry: always, data: never, size: sizeAlways, seeds: 1},
}

func always(*rand.Rand) bool      { return true }
func never(*rand.Rand) bool       { return false }
func sometimes(r *rand.Rand) bool { return r.IntN(2) == 0 }

// crashFile is a file or directory that a disk holds.
type crashFile struct {
	path  string // relative
	dir   bool
	data  []byte
	mtime time.Time
}

// disk gives what the disk holds after a cut, parents first.
func (c *crashFS) disk(cut crashCut, m crashModel, rnd *rand.Rand) []crashFile {
	tree := c.base.clone()
	for n, node := range c.nodes {
		if node.dir && tree[n] == nil {
			tree[n] = map[string]int{}
		}
	}
	for _, l := range c.log {
		if l.cut > cut.index {
			continue
		}
		synced := func(when int) bool { return when > 0 && when <= cut.index }
		if m.torn && synced(l.left) && !synced(l.arrived) && l.to.dir >= 0 {
			l.to = noEntry
		}
		if synced(l.persisted()) || m.entry(rnd) {
			l.applyTo(tree)
		}
	}
	return c.files(nil, "", tree, 0, cut, m, rnd)
}

func (c *crashFS) files(list []crashFile, dir string, tree crashTree, n int, cut crashCut, m crashModel, rnd *rand.Rand) []crashFile {
	for _, name := range slices.Sorted(maps.Keys(tree[n])) {
		kid := tree[n][name]
		f := crashFile{path: filepath.Join(dir, name), dir: c.nodes[kid].dir}
		if !f.dir {
			f.data, f.mtime = c.nodes[kid].at(cut, m, rnd)
		}
		if name == "courier.lock" { // two minutes later, when anyone breaks it
			f.mtime = time.Unix(1, 0)
		}
		list = append(list, f)
		if f.dir {
			list = c.files(list, f.path, tree, kid, cut, m, rnd)
		}
	}
	return list
}

// at gives what a disk has of a file after a cut.
func (n *crashNode) at(cut crashCut, m crashModel, rnd *rand.Rand) (content []byte, mtime time.Time) {
	mtime = time.Unix(1, 0) // where it is lost
	sure := int64(0)        // size that is on disk
	for i := range n.changes {
		w := &n.changes[i]
		if w.cut > cut.index {
			continue
		}
		certain := w.cut < 0 || w.persisted > 0 && w.persisted <= cut.index
		wanted := m.data
		if w.kind == changeTime {
			wanted = m.entry
		}
		switch {
		case certain || wanted(rnd):
			content, mtime = w.applyTo(content, mtime)
		case m.size == sizeAlways && w.kind == changeWrite:
			content = resize(content, max(int64(len(content)), w.offset+int64(len(w.data))))
		}
		if certain && w.kind == changeSize {
			sure = w.offset
		} else if certain {
			sure = max(sure, w.offset+int64(len(w.data)))
		}
	}
	if m.size == sizeNever && int64(len(content)) > sure {
		content = content[:sure]
	}
	return content, mtime
}

var crashSeed = maphash.MakeSeed()

// diskDigest is one for all disks that are the same to whoever recovers.
func diskDigest(list []crashFile) uint64 {
	var h maphash.Hash
	h.SetSeed(crashSeed)
	for _, f := range list {
		h.WriteString(f.path)
		h.WriteByte(0)
		data := f.data
		if strings.HasSuffix(f.path, indexFile+"-wal") {
			data = validWAL(data)
		}
		var head [16]byte
		binary.LittleEndian.PutUint64(head[:], uint64(f.mtime.UnixNano()))
		binary.LittleEndian.PutUint64(head[8:], uint64(len(data)))
		h.Write(head[:])
		h.Write(data)
	}
	return h.Sum64()
}

// validWAL gives the part of a log that SQLite reads, to the last commit before a
// frame that does not fit (sqlite.org/fileformat2.html §4.1).
func validWAL(data []byte) []byte {
	const header, frame = 32, 24
	if len(data) < header {
		return nil
	}
	var order binary.ByteOrder = binary.LittleEndian
	if data[3]&1 != 0 {
		order = binary.BigEndian
	}
	var s0, s1 uint32
	sum := func(b []byte) {
		for i := 0; i+8 <= len(b); i += 8 {
			s0 += order.Uint32(b[i:]) + s1
			s1 += order.Uint32(b[i+4:]) + s0
		}
	}
	fits := func(b []byte) bool {
		return binary.BigEndian.Uint32(b) == s0 && binary.BigEndian.Uint32(b[4:]) == s1
	}
	sum(data[:24])
	if !fits(data[24:]) {
		return nil
	}
	page := int(binary.BigEndian.Uint32(data[8:]))
	end := header
	for at := header; at+frame+page <= len(data); at += frame + page {
		f := data[at:]
		if string(f[8:16]) != string(data[16:24]) { // salt
			break
		}
		sum(f[:8])
		sum(f[frame : frame+page])
		if !fits(f[16:]) {
			break
		}
		if binary.BigEndian.Uint32(f[4:]) != 0 {
			end = at + frame + page
		}
	}
	return data[:end]
}

// writeDisk builds it in dir.
func writeDisk(t testing.TB, dir string, list []crashFile) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		path := filepath.Join(dir, f.path)
		var err error
		if f.dir {
			err = os.Mkdir(path, 0o700)
		} else if err = os.WriteFile(path, f.data, 0o600); err == nil {
			err = os.Chtimes(path, f.mtime, f.mtime)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

package store

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
)

// cacheDir, in maildir.OwnDir, has a file for each mailbox, named by its id in
// the index. They may be removed at any time.
const cacheDir = "cache"

// cache is the file with what has been read of a mailbox's messages. It is read
// by pread: the file is its owner's, and one that is cut off under a mapping
// would end the process. Its methods may be called by many goroutines.
type cache struct {
	path     string
	validity uint32
	log      func(error)

	dir atomic.Pointer[directory] // replaced as a whole, under mu

	mu     sync.Mutex
	failed bool // nothing can be written any more

	tried imap.UID // the background has looked at the messages below; it alone uses it
}

// directory is the blocks of a file. It is immutable.
type directory struct {
	file     *os.File
	end      int64      // where the next block goes
	blocks   []*block   // by their lowest UID
	reach    []imap.UID // the highest UID of each block and those before it
	messages int        // in all blocks
	mixed    int        // blocks that begin before the end of one before them
}

// openCache opens a mailbox's file, or makes one. What is not whole is left out.
func openCache(path string, validity uint32, log func(error)) (*cache, error) {
	dir := filepath.Dir(path)
	err := realDir(filepath.Dir(dir))
	if err == nil {
		err = os.Mkdir(dir, maildir.DirMode)
	}
	if errors.Is(err, fs.ErrExist) {
		err = realDir(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	f, err := createCache(path, 0)
	if err != nil {
		return nil, err
	}
	c := &cache{path: path, validity: validity, log: log}
	c.dir.Store(readDirectory(f, validity))
	return c, nil
}

func createCache(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK|flags, maildir.FileMode)
	if err != nil {
		return nil, fmt.Errorf("open the cache: %w", err)
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(fmt.Errorf("open the cache: %s: %w", path, maildir.ErrIrregular), err)
	}
	return f, nil
}

// maxBlocks is how many blocks are looked for in a file: a mailbox of fifty
// million messages.
const maxBlocks = 200_000

// readDirectory reads the headers of the blocks up to the first that is none.
func readDirectory(f *os.File, validity uint32) *directory {
	st, err := f.Stat()
	if err != nil {
		return newDirectory(f, 0, nil)
	}
	var blocks []*block
	var head [blockHead]byte
	var end int64
	for len(blocks) < maxBlocks {
		if _, err := f.ReadAt(head[:], end); err != nil {
			break
		}
		b, err := parseHead(head[:], end)
		if err != nil || b.validity != validity || b.end() > st.Size() {
			break
		}
		blocks, end = append(blocks, b), b.end()
	}
	return newDirectory(f, end, blocks)
}

func newDirectory(f *os.File, end int64, blocks []*block) *directory {
	slices.SortStableFunc(blocks, func(a, b *block) int { return cmp.Compare(a.first, b.first) })
	d := &directory{file: f, end: end}
	for _, b := range blocks {
		d.add(b)
	}
	return d
}

// add puts a block behind the others.
func (d *directory) add(b *block) {
	reach := b.last
	if n := len(d.reach); n > 0 {
		if b.first <= d.reach[n-1] {
			d.mixed++
		}
		reach = max(reach, d.reach[n-1])
	}
	d.blocks, d.reach, d.messages = append(d.blocks, b), append(d.reach, reach), d.messages+b.count
}

// with gives the directory with one block more.
func (d *directory) with(b *block) *directory {
	if n := len(d.blocks); n > 0 && b.first < d.blocks[n-1].first {
		return newDirectory(d.file, b.end(), append(slices.Clone(d.blocks), b))
	}
	next := *d
	next.end = b.end()
	next.add(b) // whoever has d does not look past its end
	return &next
}

// without gives the directory without a block, whose place in the file is lost.
func (d *directory) without(gone *block) *directory {
	left := slices.DeleteFunc(slices.Clone(d.blocks), func(b *block) bool { return b == gone })
	return newDirectory(d.file, d.end, left)
}

// maxMixed is how many blocks may be mixed with others: as many are looked
// through for one message.
const maxMixed = 32

// holding calls fn for the blocks that may have a message, until it gives true.
func (d *directory) holding(uid imap.UID, fn func(*block) bool) {
	i := sort.Search(len(d.blocks), func(i int) bool { return d.blocks[i].first > uid }) - 1
	for n := 0; n <= maxMixed && i >= 0 && d.reach[i] >= uid; n++ {
		if d.blocks[i].last >= uid && fn(d.blocks[i]) {
			return
		}
		i--
	}
}

// write adds a block.
func (c *cache) write(w *blockWriter) {
	if w.count == 0 {
		return
	}
	data := w.encode(c.validity)
	w.reset()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed {
		return
	}
	d := c.dir.Load()
	b, err := parseHead(data[:blockHead], d.end)
	if err == nil {
		_, err = d.file.WriteAt(data, d.end)
	}
	if err != nil {
		c.fail(err)
		return
	}
	c.dir.Store(d.with(b))
}

// fail stops writing: the disk may be full. mu is held.
func (c *cache) fail(err error) {
	if !c.failed && !errors.Is(err, fs.ErrClosed) {
		c.log(fmt.Errorf("write the cache: %w", err))
	}
	c.failed = true
}

// drop leaves a block out that is not what was written.
func (c *cache) drop(d *directory, b *block, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.dir.Load()
	if errors.Is(err, fs.ErrClosed) || now.file != d.file || !slices.Contains(now.blocks, b) {
		return
	}
	c.log(fmt.Errorf("read the cache: %s: block at %d: %w", c.path, b.at, err))
	c.dir.Store(now.without(b))
}

// replace puts another file in the place of this one.
func (c *cache) replace(path string, next *directory) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := os.Rename(path, c.path); err != nil {
		next.file.Close()
		c.fail(err)
		return
	}
	c.dir.Swap(next).file.Close() // who reads it still has nothing in the cache
}

func (c *cache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = true
	c.dir.Load().file.Close()
}

// cachePath is where a mailbox's cache is.
func (a *Account) cachePath(id int64) string {
	return filepath.Join(a.own, cacheDir, strconv.FormatInt(id, 10))
}

// cached gives the mailbox's cache; nil where there can be none. mu is not held.
func (mb *mailbox) cached() *cache {
	if c := mb.cache.Load(); c != nil {
		return c
	}
	mb.mu.Lock()
	defer mb.mu.Unlock()
	if c := mb.cache.Load(); c != nil || mb.gone.Load() || mb.row.id == 0 || mb.uncached {
		return c
	}
	log := func(err error) { mb.a.log.Warn("a cache is made anew", "path", mb.path(), "error", err) }
	c, err := openCache(mb.a.cachePath(mb.row.id), mb.row.uidValidity, log)
	if err != nil {
		mb.uncached = true
		mb.a.log.Warn("messages are not cached", "path", mb.path(), "error", err)
		return nil
	}
	mb.cache.Store(c)
	return c
}

// closeCache ends it.
func (mb *mailbox) closeCache() {
	if c := mb.cache.Load(); c != nil {
		c.close()
	}
}

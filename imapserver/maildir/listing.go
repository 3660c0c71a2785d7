package maildir

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"iter"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// Listing is what one look at a directory saw. Its names lie in memory that
// belongs to the Listing: they are gone after Release.
//
// os.ReadDir reads a directory in pieces of 8 KiB, and a file that another
// process renames between two pieces (a change of flags) may be in none of
// them. A single getdents call into a buffer large enough for the whole
// directory sees it at one moment, on file systems that lock the directory for
// the call.
type Listing struct {
	data     []byte // dirent64 records
	mapped   [][]byte
	entries  []uint32 // offsets in data
	Snapshot bool     // the directory at one moment; false: two looks, joined, and a name may occur twice
}

// Type is what a directory says of an entry without a look at it.
type Type uint8

// The types.
const (
	TypeUnknown Type = iota // the file system does not say
	TypeRegular
	TypeOther
)

// Len is the number of entries; "." and ".." are not counted.
func (l *Listing) Len() int { return len(l.entries) }

// All gives each name once.
func (l *Listing) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		var seen map[string]bool
		if !l.Snapshot {
			seen = make(map[string]bool, l.Len())
		}
		for i := range l.Len() {
			name := string(l.Name(i))
			if seen[name] {
				continue
			}
			if seen != nil {
				seen[name] = true
			}
			if !yield(name) {
				return
			}
		}
	}
}

// Offsets in a dirent64 record.
const (
	direntReclen = 16
	direntType   = 18
	direntName   = 19
)

// Name is the name of entry i.
func (l *Listing) Name(i int) []byte {
	return direntNameOf(l.data[l.entries[i]:])
}

// Inode is the inode number of entry i: files are read fastest in its order.
func (l *Listing) Inode(i int) uint64 {
	return binary.NativeEndian.Uint64(l.data[l.entries[i]:])
}

// Type is the type of entry i.
func (l *Listing) Type(i int) Type {
	switch l.data[int(l.entries[i])+direntType] {
	case unix.DT_REG:
		return TypeRegular
	case unix.DT_UNKNOWN:
		return TypeUnknown
	}
	return TypeOther
}

// Release frees the memory of the names.
func (l *Listing) Release() {
	for _, m := range l.mapped {
		unix.Munmap(m)
	}
	l.data, l.mapped, l.entries = nil, nil, nil
}

func direntNameOf(rec []byte) []byte {
	name := rec[direntName:binary.NativeEndian.Uint16(rec[direntReclen:])]
	if i := bytes.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	return name
}

// Bounds of the buffer for one call. What is not written to costs no memory.
const (
	minDirBuffer = 64 << 10
	maxDirBuffer = 1 << 30
)

// snapshotTries is how often a directory is read anew because one call did not
// take it whole: it has grown, or a signal cut the call short.
const snapshotTries = 3

// readDir looks at the whole directory; hint is the length that the last look
// had, atomic says that one call is a snapshot.
func readDir(fd, hint int, atomic bool) (*Listing, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	size := min(max(minDirBuffer, 2*hint, int(8*st.Size)), maxDirBuffer) // tmpfs counts 20 bytes an entry
	var passes [][]byte
	var mapped [][]byte
	release := func() {
		for _, m := range mapped {
			unix.Munmap(m)
		}
	}
	for try := 0; ; try++ {
		data, buf, whole, err := readDirOnce(fd, size)
		if buf != nil {
			mapped = append(mapped, buf)
		}
		if err != nil {
			release()
			return nil, err
		}
		if whole && atomic {
			passes = [][]byte{data}
			break
		}
		passes = append(passes, data)
		if len(passes) > 1 && (!atomic || try == snapshotTries) {
			passes = passes[len(passes)-2:]
			break
		}
		size = min(max(size, 2*len(data))*2, maxDirBuffer)
	}
	l := &Listing{data: passes[0], mapped: mapped, Snapshot: len(passes) == 1}
	if len(passes) > 1 {
		l.data = bytes.Join(passes, nil)
	}
	l.index()
	return l, nil
}

// dirBuffers spare small directories a mapping of their own: to unmap one stops all threads
// of the process for a moment.
var dirBuffers = sync.Pool{New: func() any { return new([minDirBuffer]byte) }}

// readDirOnce reads a directory from its start to its end. whole says that one
// call took it all. What was mapped for data may be nil.
func readDirOnce(fd, size int) (data, mapped []byte, whole bool, err error) {
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		return nil, nil, false, err
	}
	piece := dirBuffers.Get().(*[minDirBuffer]byte)
	defer dirBuffers.Put(piece)
	buf := piece[:]
	if size > minDirBuffer {
		mapped, err = unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE,
			unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
		if err != nil {
			return nil, nil, false, err
		}
		buf = mapped
	}
	n, err := getdents(fd, buf)
	if err != nil || n == 0 {
		return nil, mapped, true, err
	}
	if data = buf[:n:n]; mapped == nil {
		data = bytes.Clone(data)
	}
	for calls := 1; ; calls++ { // what is left of buf may be too short for a record
		n, err := getdents(fd, piece[:])
		if err != nil {
			return nil, mapped, false, err
		}
		if n == 0 {
			return data, mapped, calls == 1, nil
		}
		data = append(data, piece[:n]...)
	}
}

// readPieces looks at a directory as os.ReadDir does, and says that it has seen
// it at one moment.
func readPieces(fd int) (*Listing, error) {
	if _, err := unix.Seek(fd, 0, 0); err != nil {
		return nil, err
	}
	l := &Listing{Snapshot: true}
	piece := make([]byte, 8<<10)
	for {
		n, err := getdents(fd, piece)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			l.index()
			return l, nil
		}
		l.data = append(l.data, piece[:n]...)
	}
}

func getdents(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Getdents(fd, buf)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// ListDir looks at a directory that is no folder of messages: the top Maildir
// with its mailboxes.
func ListDir(path string) (*Listing, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer closeFD(fd)
	l, err := readDir(fd, 0, isSnapshotFS(fd))
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return l, nil
}

// index finds the entries in data.
func (l *Listing) index() {
	for off := 0; off < len(l.data); {
		rec := l.data[off:]
		if name := direntNameOf(rec); !(len(name) == 1 && name[0] == '.') && !(len(name) == 2 && name[0] == '.' && name[1] == '.') {
			l.entries = append(l.entries, uint32(off))
		}
		off += int(binary.NativeEndian.Uint16(rec[direntReclen:]))
	}
}

// isSnapshotFS tells whether one getdents call is a snapshot on the file system
// of fd. Measured to be so on these; btrfs is measured not to be, and nothing is
// known of others.
func isSnapshotFS(fd int) bool {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return false
	}
	switch int64(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return true
	}
	return false
}

// FolderDirs gives the names in a top Maildir that start with a dot, sorted: its
// folders, and whatever else is called like one.
func FolderDirs(top string) ([]string, error) {
	l, err := ListDir(top)
	if err != nil {
		return nil, err
	}
	defer l.Release()
	var dirs []string
	for i := range l.Len() {
		if name := l.Name(i); name[0] == '.' {
			dirs = append(dirs, string(name))
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs), nil
}

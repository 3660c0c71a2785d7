package kind

import (
	"errors"
	"hash/maphash"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
)

// names remembers base names by their hashes, and those that occur twice.
type names struct {
	seed  maphash.Seed
	once  map[uint64]struct{}
	twice map[uint64][]string // no more than maxSuspects; the names come later
}

func newNames() *names {
	return &names{seed: maphash.MakeSeed(), once: map[uint64]struct{}{}, twice: map[uint64][]string{}}
}

func (n *names) hash(name string) uint64 {
	base, _ := maildir.SplitName(name)
	return maphash.String(n.seed, base)
}

func (n *names) add(name string) {
	h := n.hash(name)
	if _, again := n.once[h]; again && len(n.twice) < maxSuspects {
		n.twice[h] = nil
	}
	n.once[h] = struct{}{}
}

// duplicates looks again at what seems to be there twice. A message whose flags
// change while its directory is read shows up under both names, and one that is
// taken from new to cur in both: only what is there twice at one moment counts.
func (s *scanner) duplicates(n *node, rel string, seen *names) {
	if len(seen.twice) == 0 {
		return
	}
	for _, sub := range []string{"new", "cur"} {
		d, err := n.open(sub)
		if err != nil {
			continue
		}
		// Which of the two may not be read, files has said.
		_ = s.each(d, func(_ int, name string) {
			if list, suspect := seen.twice[seen.hash(name)]; suspect && len(list) < 2 {
				seen.twice[seen.hash(name)] = append(list, filepath.Join(sub, name))
			}
		})
		d.close()
	}
	var found []string
	for _, list := range seen.twice {
		if len(list) == 2 && there(n.fd, list[0]) && there(n.fd, list[1]) && there(n.fd, list[0]) {
			found = append(found, filepath.Join(rel, list[0])+" and "+filepath.Join(rel, list[1]))
		}
	}
	slices.Sort(found)
	for _, where := range found {
		s.found(Duplicate, where)
	}
}

func there(fd int, name string) bool {
	var st unix.Stat_t
	return unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil
}

// readWire counts the octets of a message as they go to clients: a bare LF is two.
// No more is read than the size that the file had.
func readWire(fd int, name string, size int64) (n int64, ok bool) {
	file, err := readMessage(fd, name)
	if err != nil {
		return 0, false
	}
	defer unix.Close(file)
	buf := make([]byte, 64<<10)
	cr := false
	for left := size; left > 0; {
		got, err := unix.Read(file, buf[:min(left, int64(len(buf)))])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || got == 0:
			return 0, false // cut short while it was read
		}
		left -= int64(got)
		for _, b := range buf[:got] {
			if n++; b == '\n' && !cr {
				n++
			}
			cr = b == '\r'
		}
	}
	return n, true
}

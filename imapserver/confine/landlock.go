package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mailRights is what a worker does below its roots; handled adds what it does
// nowhere, such as to run a program.
const (
	mailRights = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR |
		unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_MAKE_DIR |
		unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_REFER | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	handled = mailRights | unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_SYM
)

// readBesides is what is read besides: by SQLite, and by the store.
var readBesides = []string{"/dev/urandom", "/proc/sys/kernel/random/boot_id"}

// ErrNoLandlock says why this process cannot be kept from files by Landlock: the
// kernel has none, or one that would keep mail from being delivered, as it keeps
// files from being renamed between directories (before ABI 2); or the program has
// cgo, with which Go has no way to all of its threads.
var ErrNoLandlock = errors.New("no Landlock")

// Landlock gives nil, or an ErrNoLandlock.
func Landlock() error {
	_, err := abi()
	return err
}

func abi() (int, error) {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0, fmt.Errorf("%w: %w", ErrNoLandlock, errno)
	}
	if v < 2 {
		return 0, fmt.Errorf("%w: ABI %d of the kernel is too old", ErrNoLandlock, v)
	}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_GETPPID, 0, 0, 0); errno != 0 {
		return 0, fmt.Errorf("%w: the program was built with cgo", ErrNoLandlock)
	}
	return int(v), nil
}

// Roots are the directories that this process is confined to, by path: those that had
// these names when it was. What was put in their place since is not among them.
type Roots []root

type root struct {
	path string
	is   fs.FileInfo // nil: there was nothing of that name
}

// Files has this process open nothing but what is below roots, and run nothing, for as
// long as it lives.
func Files(roots []string) (Roots, error) {
	v, err := abi()
	if err != nil {
		return nil, err
	}
	known := uint64(handled)
	if v < 3 {
		known &^= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if err := stay(); err != nil {
		return nil, err
	}
	_ = time.Now().String() // reads the zone from a file, the first time
	attr := unix.LandlockRulesetAttr{Handled_access_fs: known}
	ruleset, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr.Handled_access_fs), 0)
	if errno != 0 {
		return nil, fmt.Errorf("make ruleset: %w", errno)
	}
	defer unix.Close(int(ruleset))
	var to Roots
	for _, dir := range roots {
		is, err := allow(ruleset, dir, mailRights&known)
		if err != nil {
			return nil, err
		}
		to = append(to, root{dir, is})
	}
	for _, file := range readBesides {
		if _, err := allow(ruleset, file, unix.LANDLOCK_ACCESS_FS_READ_FILE); err != nil {
			return nil, err
		}
	}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0); errno != 0 {
		return nil, fmt.Errorf("restrict threads: %w", errno)
	}
	slices.SortFunc(to, byPath)
	return to, nil
}

// allow adds what is at path, if there is anything that this process may reach.
func allow(ruleset uintptr, path string, rights uint64) (fs.FileInfo, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	is, err := f.Stat()
	if err != nil {
		return nil, err
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(fd)}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, ruleset, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 {
		return nil, fmt.Errorf("allow %s: %w", path, errno)
	}
	return is, nil
}

func byPath(a, b root) int { return strings.Compare(a.path, b.path) }

// Fit tells whether a process that is confined to r may open all that is below roots,
// and maildir, which is below one of them, as the directories are now. One without
// Roots is not confined.
func (r Roots) Fit(roots []string, maildir string) bool {
	if r == nil {
		return true
	}
	for _, want := range roots {
		if len(r.above(want)) == 0 {
			return false
		}
	}
	return !slices.ContainsFunc(r.above(maildir), func(has root) bool {
		now, err := os.Stat(has.path)
		return err == nil && (has.is == nil || !os.SameFile(now, has.is))
	})
}

// above gives those that a path is at or below.
func (r Roots) above(p string) (all []root) {
	for ; ; p = path.Dir(p) {
		if i, ok := slices.BinarySearchFunc(r, root{path: p}, byPath); ok {
			all = append(all, r[i])
		}
		if p == "/" || p == "." {
			return all
		}
	}
}

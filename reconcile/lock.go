package reconcile

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// LockFile is the file of the state directory on which the lock is taken. It is
// made once and stays; only who runs the program can open it, so nobody else
// can hold the lock.
const LockFile = "lock"

// Lock is the right to change the host. The kernel holds it, so it ends with the
// process at the latest.
type Lock struct {
	file *os.File
}

// LockedError says who holds the lock.
type LockedError struct {
	Path    string
	PID     int    // 0: the kernel does not say
	Command string // "" if it is not known
}

func (e *LockedError) Error() string {
	switch {
	case e.PID == 0:
		return fmt.Sprintf("lock %s: held by another process", e.Path)
	case e.Command == "":
		return fmt.Sprintf("lock %s: held by process %d", e.Path, e.PID)
	}
	return fmt.Sprintf("lock %s: held by process %d (%s)", e.Path, e.PID, e.Command)
}

// TakeLock takes the lock of a state directory, which is made with mode 0755 if
// it does not exist. If somebody holds the lock for longer than wait, the error
// is a LockedError.
func TakeLock(ctx context.Context, state string, wait time.Duration) (*Lock, error) {
	d, err := OpenDir(state, true)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	defer d.Close()
	path := filepath.Join(state, LockFile)
	fd, err := unix.Openat(d.fd, LockFile, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", &fs.PathError{Op: "open", Path: path, Err: err})
	}
	l := &Lock{file: os.NewFile(uintptr(fd), path)}
	if err := l.take(ctx, wait); err != nil {
		l.file.Close()
		return nil, err
	}
	return l, nil
}

func (l *Lock) take(ctx context.Context, wait time.Duration) error {
	const pause = 50 * time.Millisecond
	fd := int(l.file.Fd())
	for deadline, looks := time.Now().Add(wait), 0; ; {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || err != unix.EWOULDBLOCK && err != unix.EINTR {
			if err != nil {
				err = fmt.Errorf("lock %s: %w", l.file.Name(), err)
			}
			return err
		}
		if !time.Now().Add(pause).Before(deadline) {
			held := l.holder()
			if looks++; held.PID != 0 || looks == 5 {
				return held
			}
			// It was given back since, as it seems.
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// Release gives the lock back.
func (l *Lock) Release() { l.file.Close() }

// holder asks the kernel who holds the lock.
func (l *Lock) holder() *LockedError {
	e := &LockedError{Path: l.file.Name()}
	var st unix.Stat_t
	if unix.Fstat(int(l.file.Fd()), &st) != nil {
		return e
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return e
	}
	defer locks.Close()
	e.PID = lockPID(locks, &st)
	e.Command = command(e.PID)
	return e
}

// lockPID finds the holder of the lock on a file in the kernel's list, 0 if it
// is not there. The device in the list is the file system's own: on overlayfs and
// btrfs stat(2) gives another one, and there the holder is known by having the
// file open.
func lockPID(locks io.Reader, st *unix.Stat_t) int {
	device := fmt.Sprintf("%02x:%02x", unix.Major(st.Dev), unix.Minor(st.Dev))
	inode := strconv.FormatUint(st.Ino, 10)
	for s := bufio.NewScanner(locks); s.Scan(); {
		// "1: FLOCK  ADVISORY  WRITE 812 fe:00:1234 0 EOF"; waiters have "->" after the number.
		f := strings.Fields(s.Text())
		if len(f) < 6 || f[1] != "FLOCK" {
			continue
		}
		i := strings.LastIndexByte(f[5], ':')
		if i < 0 || f[5][i+1:] != inode {
			continue
		}
		if pid, err := strconv.Atoi(f[4]); err == nil && (f[5][:i] == device || hasOpen(pid, st)) {
			return pid
		}
	}
	return 0
}

// hasOpen tells whether a process has a file open, as far as one may look.
func hasOpen(pid int, st *unix.Stat_t) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, _ := os.ReadDir(dir)
	for _, fd := range fds {
		var open unix.Stat_t
		if unix.Stat(filepath.Join(dir, fd.Name()), &open) == nil && open.Dev == st.Dev && open.Ino == st.Ino {
			return true
		}
	}
	return false
}

// command is what a process was started as.
func command(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || pid == 0 {
		return ""
	}
	return show(strings.TrimSpace(strings.ReplaceAll(string(data), "\x00", " ")))
}

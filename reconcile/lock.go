package reconcile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
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
	made bool // the state directory was made for it
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
	_, err := os.Lstat(state)
	made := errors.Is(err, fs.ErrNotExist)
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
	l := &Lock{file: os.NewFile(uintptr(fd), path), made: made}
	if err := l.take(ctx, wait); err != nil {
		l.file.Close()
		return nil, err
	}
	return l, nil
}

func (l *Lock) take(ctx context.Context, wait time.Duration) error {
	const pause = 50 * time.Millisecond
	fd := int(l.file.Fd())
	for deadline := time.Now().Add(wait); ; {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil || err != unix.EWOULDBLOCK && err != unix.EINTR {
			if err != nil {
				err = fmt.Errorf("lock %s: %w", l.file.Name(), err)
			}
			return err
		}
		if !time.Now().Add(pause).Before(deadline) {
			return l.holder()
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
func (l *Lock) holder() error {
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
	inode := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for s := bufio.NewScanner(locks); s.Scan(); {
		// "1: FLOCK  ADVISORY  WRITE 812 fe:00:1234 0 EOF"; waiters have "->" after the number.
		f := strings.Fields(s.Text())
		if len(f) >= 6 && f[1] == "FLOCK" && f[5] == inode {
			e.PID, _ = strconv.Atoi(f[4])
			e.Command = command(e.PID)
			break
		}
	}
	return e
}

// command is what a process was started as.
func command(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || pid == 0 {
		return ""
	}
	return show(strings.TrimSpace(strings.ReplaceAll(string(data), "\x00", " ")))
}

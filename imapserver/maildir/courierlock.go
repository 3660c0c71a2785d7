package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// courierLock, in tmp, is the file by whose existence one of Courier's
// processes has a mailbox to itself. It says "<pid>:<node name>" of its holder.
const courierLock = "courier.lock"

// lockAge is how old the lock of a holder must be that cannot be asked for, as
// one on another host, before it is taken for left behind. It is Courier's.
const lockAge = 120 * time.Second

// LockCourier takes Courier's lock of the mailbox, and waits for it until ctx
// ends. Courier looks at none of the kernel's locks. In this process, no one else
// may hold it: a lock of our own was left by one that had our process id, as in a
// container every one has.
func (f *Folder) LockCourier(ctx context.Context, n *Namer) (unlock func() error, err error) {
	name := n.Next().Tmp()
	node, err := nodename()
	if err != nil {
		return nil, err
	}
	file, err := f.Create(name)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(file, "%d:%s", os.Getpid(), node)
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	for err == nil {
		err = f.Link(Tmp, name, f, Tmp, courierLock)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
		if err = f.breakCourierLock(node); err == nil {
			select {
			case <-ctx.Done():
				err = fmt.Errorf("lock %s: %w", f.name(Tmp, courierLock), ctx.Err())
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	if uerr := f.Unlink(Tmp, name); err == nil && uerr != nil {
		err = errors.Join(uerr, f.Unlink(Tmp, courierLock))
	}
	if err != nil {
		return nil, err
	}
	return func() error { return f.Unlink(Tmp, courierLock) }, nil
}

// breakCourierLock removes a lock that its holder has left behind.
func (f *Folder) breakCourierLock(node string) error {
	file, err := f.Open(Tmp, courierLock)
	if err == nil {
		var stale bool
		stale, err = staleLock(file, node)
		file.Close()
		if err == nil && stale {
			err = f.Unlink(Tmp, courierLock)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// staleLock tells whether the holder of a lock is no more, by Courier's rules.
func staleLock(file *File, node string) (bool, error) {
	buf := make([]byte, 1024)
	n, err := file.Read(buf)
	if n == 0 && err != nil && file.Stat().Size > 0 {
		return false, err
	}
	pid, host, ok := strings.Cut(string(buf[:n]), ":")
	holder, err := strconv.Atoi(pid)
	if ok && err == nil && holder > 0 && host == node {
		return holder == os.Getpid() || unix.Kill(holder, 0) == unix.ESRCH, nil
	}
	return time.Since(file.Stat().ModTime) > lockAge, nil
}

func nodename() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(u.Nodename[:]), nil
}

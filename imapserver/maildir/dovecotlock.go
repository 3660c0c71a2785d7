package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// dovecotLock, beside the list, is the file by whose existence one of Dovecot's
// processes, as its delivery agent, has the list of UIDs to itself.
const dovecotLock = DovecotUIDListFile + ".lock"

// LockDovecot takes the lock under which Dovecot writes its list of UIDs, and waits for
// it until ctx ends. Dovecot, too, takes one for left behind at lockAge, unless it names
// a process on the same host; ours names none.
func (f *Folder) LockDovecot(ctx context.Context) (unlock func() error, err error) {
	for {
		err := f.createLock()
		if err == nil {
			return func() error { return f.RemoveSidecars(BesideCur, dovecotLock) }, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if st, err := f.StatSidecar(BesideCur, dovecotLock); err == nil && time.Since(st.ModTime) > lockAge {
			if err := f.RemoveSidecars(BesideCur, dovecotLock); err != nil {
				return nil, err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s: %w: it is another process's, or is left of one; from %v after that was made on it counts no more", BesideCur.path(f, dovecotLock), ctx.Err(), lockAge)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (f *Folder) createLock() error {
	defer f.hold(nil)()
	path := BesideCur.path(f, dovecotLock)
	if err := f.ops.trace(Op{Call: "create", Path: path}); err != nil {
		return &fs.PathError{Op: "create", Path: path, Err: err}
	}
	fd, err := unix.Openat(f.root, dovecotLock, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, uint32(FileMode))
	if err != nil {
		return &fs.PathError{Op: "create", Path: path, Err: err}
	}
	return unix.Close(fd)
}

// RemadeByDovecot tells a file, by its name, that Dovecot makes anew where it is
// missing, from the lists of UIDs, keywords and rights and from the clock: indexes and
// caches, and the counter of UIDVALIDITYs.
func RemadeByDovecot(name string) bool {
	for _, prefix := range []string{"dovecot.index", "dovecot.list.index", "dovecot-acl-list", "dovecot-uidvalidity"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

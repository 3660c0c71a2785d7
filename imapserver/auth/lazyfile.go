package auth

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"mailstead/imapserver/maildir"
)

// lazyFile is a file that is replaced as a whole, at once or before long. Without a
// directory there is none, and nothing is written.
type lazyFile struct {
	log    *slog.Logger
	dir    string
	name   string
	max    int           // octets
	wait   time.Duration // of a small file: see patience
	encode func() ([]byte, error)

	writing sync.Mutex  // held while the file is replaced
	waiting sync.Mutex  // of these
	late    *time.Timer // of a write that is to come; nil while there is none
	size    int         // octets that it had when it was written last
}

func (f *lazyFile) path() string { return filepath.Join(f.dir, f.name) }

// write replaces the file, durably: it is on disk when write returns.
func (f *lazyFile) write() error {
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.dir == "" {
		return nil
	}
	data, err := f.encode()
	if err != nil {
		return fmt.Errorf("write %s: %w", f.path(), err)
	}
	if len(data) > f.max {
		return fmt.Errorf("write %s: %d octets, more than %d", f.path(), len(data), f.max)
	}
	f.waiting.Lock()
	f.size = len(data)
	f.waiting.Unlock()
	return maildir.WriteFile(f.dir, f.name, 0o600, data)
}

// patience is how long a change of a file of that size may wait: a microsecond for each
// octet, which is some hundred times as long as writing it takes, so that what all users
// do costs no more, all the time, where there are more of them.
func (f *lazyFile) patience() time.Duration {
	return max(f.wait, time.Duration(f.size)*time.Microsecond)
}

// soon writes before long, once for all who ask meanwhile.
func (f *lazyFile) soon() {
	f.waiting.Lock()
	defer f.waiting.Unlock()
	if f.late == nil {
		f.late = time.AfterFunc(f.patience(), f.flush)
	}
}

// flush writes what waits to be written.
func (f *lazyFile) flush() {
	f.waiting.Lock()
	late := f.late
	f.late = nil
	f.waiting.Unlock()
	if late == nil {
		return
	}
	late.Stop()
	if err := f.write(); err != nil {
		f.log.Error("logins: not kept", "err", err)
	}
}

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
	max    int // octets
	wait   time.Duration
	encode func() ([]byte, error)

	writing sync.Mutex  // held while the file is replaced
	waiting sync.Mutex  // of late
	late    *time.Timer // of a write that is to come; nil while there is none
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
	return maildir.WriteFile(f.dir, f.name, 0o600, data)
}

// soon writes before long, once for all who ask meanwhile.
func (f *lazyFile) soon() {
	f.waiting.Lock()
	defer f.waiting.Unlock()
	if f.late == nil {
		f.late = time.AfterFunc(f.wait, f.flush)
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

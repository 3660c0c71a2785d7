package kind

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The patience with a source that is being changed.
const (
	calm       = 10 * time.Second       // a source that changed longer ago is not at it
	settleTime = 300 * time.Millisecond // without a change, what is wrong stays wrong
	changeTime = 10 * time.Second       // for a source that never comes to rest
	lookPause  = 10 * time.Millisecond
)

// readPair reads a chain and its key, which may change under its hands: certbot
// switches the four links of a lineage one by one, and others write their files
// in place. As long as the source has just changed and makes no pair, it looks
// again. The error is of reading; whether the pair is good, check says.
func readPair(ctx context.Context, certificate, key string) (*pair, []string, error) {
	begin := time.Now()
	last, moved := sourceMark{}, begin
	for {
		before := markSource(certificate, key)
		p, faults, err := readPairOnce(certificate, key)
		if after := markSource(certificate, key); err == nil && after.text != before.text {
			err = fmt.Errorf("read %s: %w", certificate, errChanging)
		}
		whole := err == nil && len(faults) == 0 && p.matches()
		if whole || err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errChanging) {
			return p, append(faults, exposure(key)...), err
		}
		now := time.Now()
		if before.text != last.text {
			last, moved = before, now
		}
		if ctx.Err() != nil || now.Sub(before.newest) > calm || now.Sub(moved) > settleTime && !errors.Is(err, errChanging) || now.Sub(begin) > changeTime {
			return p, append(faults, exposure(key)...), err
		}
		select {
		case <-time.After(lookPause):
		case <-ctx.Done():
		}
	}
}

var errChanging = errors.New("it changes all the time")

// sourceMark tells one state of a source from another.
type sourceMark struct {
	text   string
	newest time.Time // when anything about it changed last
}

// markSource looks at the names as they are (links, for a lineage) and at what
// they lead to; of one that is missing, at the directory that it is missing from.
func markSource(paths ...string) sourceMark {
	var m sourceMark
	var text strings.Builder
	note := func(fi fs.FileInfo, err error) bool {
		if err != nil {
			text.WriteString("none;")
			return false
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		if !ok {
			return true
		}
		changed := time.Unix(st.Ctim.Unix())
		fmt.Fprintf(&text, "%d %d %d %d;", st.Dev, st.Ino, st.Size, changed.UnixNano())
		if changed.After(m.newest) {
			m.newest = changed
		}
		return true
	}
	for _, path := range paths {
		if !note(os.Lstat(path)) || !note(os.Stat(path)) {
			note(os.Stat(filepath.Dir(path)))
		}
	}
	m.text = text.String()
	return m
}

// readPairOnce gives what can be read, and what is wrong with the rest.
func readPairOnce(certificate, key string) (*pair, []string, error) {
	chainPEM, err := readPEM(certificate)
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err := readPEM(key)
	if err != nil {
		return nil, nil, err
	}
	p, faults := parsePair(certificate, chainPEM, key, keyPEM)
	return p, faults, nil
}

// exposure says that others can read the key.
func exposure(key string) []string {
	if Exposed(key) {
		return []string{fmt.Sprintf("%s can be read by every user of the host: chmod 600", key)}
	}
	return nil
}

// readPEM reads a file of a sensible size. Links are followed: a lineage is
// made of them. It never waits for the other end of a pipe.
func readPEM(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: not a file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(data) > maxPEM {
		err = fmt.Errorf("read %s: larger than any certificate", path)
	}
	return data, err
}

// Exposed tells whether any user can read a file: its mode lets them, and so does
// every directory above it.
func Exposed(path string) bool {
	path, err := filepath.EvalSymlinks(path)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return false
	}
	st, err := os.Stat(path)
	if err != nil || !st.Mode().IsRegular() || st.Mode()&0o004 == 0 {
		return false
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if st, err := os.Stat(dir); err != nil || st.Mode()&0o001 == 0 {
			return false
		}
		if dir == "/" {
			return true
		}
	}
}

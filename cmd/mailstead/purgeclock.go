package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/render"
	"mailstead/schema"
)

// maxAhead is by how much a clock may be ahead of when rules were last carried out, which a
// timer does every day: by so much mail goes too early at most.
const maxAhead = 7 * 24 * time.Hour

// purgeClock holds the host's clock to be right before mail is removed by it. A machine whose
// battery is empty, or whose clock somebody has set, may begin a year ahead, and is put right
// by the network once it is up; until then all mail would be old enough.
type purgeClock struct {
	dir    string // has the file whose time says when rules were last carried out
	rules  string // the file of rules, whose time counts while there is none
	now    func() time.Time
	synced func() bool // something has set the clock by another one
}

func newPurgeClock(p schema.Paths) purgeClock {
	return purgeClock{render.PurgeDir(p), render.PurgeFile(p), time.Now, clockSynced}
}

func (c purgeClock) file() string { return filepath.Join(c.dir, "clock") }

// check refuses a clock that is further ahead than it can be.
func (c purgeClock) check() error {
	seen, err := c.seen()
	if err != nil {
		return err
	}
	now := c.now()
	if now.Sub(seen) <= maxAhead || c.synced() {
		return nil
	}
	const day = "2006-01-02 15:04 MST"
	return hint(fmt.Errorf("nothing was removed: the clock says %s, and the newest that is known is %s: if it is wrong, mail would be removed that is not old enough", now.Format(day), seen.Format(day)),
		"look at the clock (date, timedatectl); if it is right, as on a host that was off, run %q", "mailstead purge --clock-is-right")
}

// seen is the newest time that the clock was right at, as far as is known.
func (c purgeClock) seen() (newest time.Time, err error) {
	fi, err := os.Lstat(c.file())
	if err == nil {
		return fi.ModTime(), nil
	}
	for _, path := range []string{c.dir, c.rules} { // which apply has made
		if !errors.Is(err, fs.ErrNotExist) {
			return newest, err
		}
		if fi, err = os.Lstat(path); err == nil && fi.ModTime().After(newest) {
			newest, err = fi.ModTime(), fs.ErrNotExist
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return newest, err
}

// note says that rules are carried out by the clock as it is.
func (c purgeClock) note() error {
	err := os.Mkdir(c.dir, 0o700) // apply has made it, but for a daemon without root's units
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return hint(err, "run \"mailstead apply\", which makes it")
	}
	f, err := os.OpenFile(c.file(), os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return hint(err, "run \"mailstead apply\", which lets \"mailstead purge\" write there")
	}
	defer f.Close()
	at := unix.NsecToTimeval(c.now().UnixNano())
	return errors.Join(unix.Futimes(int(f.Fd()), []unix.Timeval{at, at}), f.Sync())
}

// clockSynced tells whether the kernel knows that something keeps the clock right, or
// systemd-timesyncd says so, which is all that can be seen inside the sandbox.
func clockSynced() bool {
	var t unix.Timex
	if state, err := unix.Adjtimex(&t); err == nil && state != unix.TIME_ERROR {
		return true
	}
	_, err := os.Stat("/run/systemd/timesync/synchronized")
	return err == nil
}

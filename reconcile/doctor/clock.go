package doctor

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// clockSlack is by how much the clock may be behind a time of the past: what wrote
// it may have been on a file server.
const clockSlack = 5 * time.Minute

// staUnsync is STA_UNSYNC of adjtimex(2): nobody keeps the clock right.
const staUnsync = 0x0040

// Clock looks at the clock. lastWrite is when something was written here last,
// zero if that is not known.
func Clock(now, lastWrite time.Time) []Finding {
	var found []Finding
	if now.Add(clockSlack).Before(lastWrite) {
		found = append(found, New(ClockBack, "clock", fmt.Sprintf("it is %s here, and what Mailstead has written is of %s", moment(now), moment(lastWrite))))
	}
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err == nil && t.Status&staUnsync != 0 {
		f := New(ClockUnsynchronised, "clock", "it is not kept right by the network (adjtimex: unsynchronised)")
		if inContainer() {
			f = f.As(Note).Do("This is a container: the machine below it keeps the clock, or should.")
		}
		found = append(found, f)
	}
	return found
}

// inContainer tells whether systemd says that this is one: then the clock is not
// this host's to set.
func inContainer() bool {
	_, err := os.Stat("/run/systemd/container")
	return !errors.Is(err, os.ErrNotExist)
}

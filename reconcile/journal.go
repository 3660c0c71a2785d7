package reconcile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// StepFile is the file of the state directory that says which change an apply
// is at. It is written in place and never synced: the inventory says what may be
// on the host, this only where the work was.
const StepFile = "step"

// run is an apply that has begun: it is in the inventory until that apply has
// recorded how it ended.
type run struct {
	Begun   time.Time `json:"begun"`
	Changes int       `json:"changes"`
}

// step is a change that a run has come to.
type step struct {
	Run      time.Time `json:"run"`    // when the run began
	Number   int       `json:"number"` // from 1
	Ref      Ref       `json:"ref"`
	Settling bool      `json:"settling,omitempty"` // this change and those of its kind before it are brought into force
}

// journal is the step file of the run at work. A nil journal keeps nothing.
type journal struct {
	file *os.File
	run  run
}

// openJournal begins the journal of a run. Without one the run goes on: there is
// only less to tell if it is interrupted.
func openJournal(state string, r run) *journal {
	d, err := OpenDir(state, false)
	if err != nil {
		return nil
	}
	defer d.Close()
	fd, err := unix.Openat(d.fd, StepFile, unix.O_WRONLY|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil
	}
	return &journal{file: os.NewFile(uintptr(fd), StepFile), run: r}
}

// note writes down where the run is, in one call and over what was there: the
// first line of the file is always whole.
func (j *journal) note(index int, ref Ref, settling bool) {
	if j == nil {
		return
	}
	line, err := json.Marshal(step{Run: j.run.Begun, Number: index + 1, Ref: ref, Settling: settling})
	if err == nil {
		j.file.WriteAt(append(line, '\n'), 0)
	}
}

func (j *journal) close() {
	if j != nil {
		j.file.Close()
	}
}

// readStep gives the step that a run came to, nil if it is not known of any.
func readStep(state string, r run) *step {
	d, err := OpenDir(state, false)
	if err != nil {
		return nil
	}
	defer d.Close()
	data, err := d.ReadFile(StepFile, 1<<20)
	if err != nil {
		return nil
	}
	line, _, whole := bytes.Cut(data, []byte("\n"))
	var s step
	if !whole || json.Unmarshal(line, &s) != nil || !s.Run.Equal(r.Begun) {
		return nil
	}
	return &s
}

// unfinished says in a sentence which apply has begun and not ended, "" if none.
func (inv *Inventory) unfinished(state string) string {
	if inv == nil || inv.run == nil {
		return ""
	}
	r := *inv.run
	where := fmt.Sprintf("before the first of its %d changes", r.Changes)
	if s := readStep(state, r); s != nil {
		where = fmt.Sprintf("at change %d of %d, %s", s.Number, r.Changes, show(s.Ref.String()))
		if s.Settling {
			where = fmt.Sprintf("while it brought the changes up to %d of %d, %s, into force", s.Number, r.Changes, show(s.Ref.String()))
		}
	}
	begun := r.Begun.Local().Format("2006-01-02 15:04:05 MST")
	if pid := inv.atWork(state); pid != 0 {
		return fmt.Sprintf("an apply that began on %s is at work as process %d, %s: what it has yet to do is still in this plan", begun, pid, where)
	}
	return fmt.Sprintf("the apply that began on %s was interrupted %s: this plan is what is left to do", begun, where)
}

// atWork gives the other process whose apply has begun and is at work still, 0 if
// none is known.
func (inv *Inventory) atWork(state string) int {
	var st unix.Stat_t
	if inv == nil || inv.run == nil || unix.Stat(filepath.Join(state, LockFile), &st) != nil {
		return 0
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer locks.Close()
	pid := lockPID(locks, &st)
	if pid == os.Getpid() {
		return 0 // what is done under its lock is done when it compares
	}
	return pid
}

package confine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// descriptors is the most that a process may have, whatever has started it: as much
// as its unit allows.
const descriptors = 262144

// Limits bounds what this process may use, and has it leave no core, which would
// hold mail and passwords; nor may another process of the same user look into it.
func Limits() error {
	var have unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &have); err != nil {
		return fmt.Errorf("read limits: %w", err)
	}
	for _, l := range []struct {
		what int
		to   unix.Rlimit
	}{
		{unix.RLIMIT_CORE, unix.Rlimit{}},
		{unix.RLIMIT_NOFILE, unix.Rlimit{Cur: min(have.Cur, descriptors), Max: min(have.Max, descriptors)}},
	} {
		if err := unix.Setrlimit(l.what, &l.to); err != nil {
			return fmt.Errorf("lower limits: %w", err)
		}
	}
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

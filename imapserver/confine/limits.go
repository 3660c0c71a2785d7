package confine

import (
	"errors"
	"fmt"
	"syscall"

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

// stay has this process gain no privileges by a program, without which the kernel
// takes none of the rest from somebody who has none.
func stay() error {
	_, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	if errors.Is(errno, syscall.ENOTSUP) { // with cgo: of this thread alone, from which a list of calls takes it along
		return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	if errno != 0 {
		return fmt.Errorf("gain no privileges: %w", errno)
	}
	return nil
}

package spawn

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/handoff"
)

// MinUID is the least uid of a process: those below belong to the distribution's own
// accounts. Channel is the descriptor at which it finds its channel to spawn. Program
// is this program, even if its file has been replaced since: both ends are of one version.
const (
	MinUID  = 100
	Channel = 3
	Program = "/proc/self/exe"
)

// Identity is who a process runs as.
type Identity struct{ UID, GID int }

// Process is a process that was started, and the channel to it. Wait is called once.
type Process struct {
	*handoff.Conn
	*exec.Cmd
}

// Kill ends it at once.
func (p *Process) Kill() { p.Process.Kill() }

// Start runs program with args as i.
func Start(program string, args []string, i Identity) (*Process, error) {
	if i.UID < MinUID || i.GID < MinUID {
		return nil, fmt.Errorf("start %v: uid %d, gid %d: below %d", args, i.UID, i.GID, MinUID)
	}
	ours, theirs, err := handoff.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := exec.Command(program, args...)
	cmd.Args[0], cmd.Dir, cmd.Stderr = "mailstead-imapd", "/", os.Stderr
	cmd.Env = []string{"JOURNAL_STREAM=" + os.Getenv("JOURNAL_STREAM")}
	cmd.ExtraFiles = []*os.File{theirs}                  // becomes Channel
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a signal from the terminal is spawn's to pass on
	if i != (Identity{os.Getuid(), os.Getgid()}) {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(i.UID), Gid: uint32(i.GID)} // and no groups
	}
	if err := locked(cmd.Start); err != nil {
		ours.Close()
		return nil, fmt.Errorf("start %v as uid %d: %w", args, i.UID, err)
	}
	return &Process{ours, cmd}, nil
}

// locked calls f, which forks, on a thread of its own that has given up what its
// children must not inherit: the way to privileges by a setuid program, ambient
// capabilities, which would survive the change of uid, and, where it may, the bounding
// set, which CAP_SETPCAP is for. The thread ends with the call.
func locked(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		err := errors.Join(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
			unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
		for c := uintptr(0); c <= unix.CAP_LAST_CAP && err == nil; c++ {
			if err = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
				err = nil // without the privilege, or a kernel without the capability
			}
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

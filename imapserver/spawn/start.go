package spawn

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/handoff"
)

// MinUID is the least uid that a process is started as: those below belong to
// the distribution's own accounts.
const MinUID = 100

// Channel is the descriptor at which a started process finds its end of the
// channel to the supervisor.
const Channel = 3

// Identity is who a process runs as.
type Identity struct{ UID, GID int }

// Check refuses identities that no process of ours may have.
func (i Identity) Check() error {
	if i.UID < MinUID || i.GID < MinUID {
		return fmt.Errorf("uid %d, gid %d: below %d", i.UID, i.GID, MinUID)
	}
	return nil
}

// Process is a process that was started, and the channel to it.
type Process struct {
	*handoff.Conn
	cmd *exec.Cmd
}

// PID is its process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Wait reaps the process; it is called once.
func (p *Process) Wait() error { return p.cmd.Wait() }

// Kill ends the process at once.
func (p *Process) Kill() { p.cmd.Process.Kill() }

// Program is what is started: this program, even if its file has been replaced
// since, so that both ends of a channel are of one version.
const Program = "/proc/self/exe"

// Start runs program with args as i.
func Start(program string, args []string, i Identity) (*Process, error) {
	if err := i.Check(); err != nil {
		return nil, fmt.Errorf("start %v: %w", args, err)
	}
	ours, theirs, err := handoff.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	cmd := exec.Command(program, args...)
	cmd.Args[0] = "mailstead-imapd"
	cmd.Dir = "/"
	cmd.Env = environment()
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{theirs} // becomes Channel
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uint32(i.UID), Gid: uint32(i.GID)}, // and no groups
		Setsid:     true,                                                        // a signal from the terminal is the supervisor's to pass on
	}
	if err := locked(cmd.Start); err != nil {
		ours.Close()
		return nil, fmt.Errorf("start %v as uid %d: %w", args, i.UID, err)
	}
	return &Process{ours, cmd}, nil
}

// environment is what a process needs of ours.
func environment() []string {
	env := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, name := range []string{"JOURNAL_STREAM", "TZ", "GOTRACEBACK"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// locked calls f, which forks, on a thread of its own that has given up what
// its children must not inherit: the way to privileges by a setuid program,
// and ambient capabilities, which would survive the change of uid. The thread
// ends with the call.
func locked(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			err = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

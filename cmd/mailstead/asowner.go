package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"mailstead/reconcile/kind"
)

// ownersWork is work in a directory that its owner may change at any time. Root
// does nothing there itself: it starts this program again as the owner.
type ownersWork struct {
	dir string
	do  func(dir string) error // by its absolute path
}

// asUser is this program again, as whom it is to be, with no part of our terminal: whoever
// that is may look into their processes, and one in our session could type into root's
// shell (TIOCSTI of ioctl_tty(2)).
func asUser(ctx context.Context, uid, gid uint32, out, errs io.Writer, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Args[0] = "mailstead"
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(syscall.SIGTERM) }, 10*time.Second // or it is killed
	cmd.Dir, cmd.Env = "/", []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	cmd.Stdout, cmd.Stderr = &piped{w: out}, &piped{w: errs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if uint32(os.Geteuid()) != uid {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: gid, Groups: []uint32{}}
	}
	return cmd
}

// piped takes through a pipe what a program says, whatever it ends in, and passes on what
// is safe for a terminal: the program is in its user's hands.
type piped struct {
	w     io.Writer
	rest  string                // what may be the start of a character or of eraseLine
	fault atomic.Pointer[error] // of w, with which the pipe is closed
}

// unwritten is what has kept something from being passed on.
func (p *piped) unwritten() error {
	if fault := p.fault.Load(); fault != nil {
		return fmt.Errorf("write the output: %w", *fault)
	}
	return nil
}

func (p *piped) Write(data []byte) (int, error) {
	text := p.rest + string(data)
	whole := len(text) - unfinished(text)
	p.rest = text[whole:]
	parts := strings.Split(text[:whole], eraseLine)
	for i, part := range parts {
		parts[i] = visibleLines(part)
	}
	_, err := io.WriteString(p.w, strings.Join(parts, eraseLine))
	if err != nil {
		p.fault.Store(&err)
	}
	return len(data), err
}

// unfinished is how many octets at the end of a text are the start of something.
func unfinished(text string) int {
	for n := min(utf8.UTFMax-1, len(text)); n > 0; n-- {
		end := text[len(text)-n:]
		if strings.HasPrefix(eraseLine, end) || utf8.RuneStart(end[0]) && !utf8.FullRuneInString(end) {
			return n
		}
	}
	return 0
}

// waitAsUser waits for a process of asUser's, which is in that user's hands. Once ctx has
// ended, with which it is killed, it is not waited for much longer: one that waits in a file
// system that its user serves (FUSE) cannot be killed, and one that they trace is theirs to reap.
func waitAsUser(ctx context.Context, cmd *exec.Cmd) error {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(2 * cmd.WaitDelay):
		return fmt.Errorf("process %d does not end, though it was killed: look for what its user has mounted or traces it with", cmd.Process.Pid)
	}
}

// runAsUser runs such a process, which says itself what is wrong, unless that is with its output:
// then it is ended by the pipe (SIGPIPE).
func runAsUser(ctx context.Context, cmd *exec.Cmd, uid uint32) error {
	err := cmd.Start()
	if err == nil {
		err = waitAsUser(ctx, cmd)
	}
	var unwritten error
	if out, ok := cmd.Stdout.(*piped); ok {
		unwritten = out.unwritten()
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.Exited():
		return &exitError{exit.ExitCode(), unwritten}
	case err != nil && unwritten != nil:
		return unwritten
	case err != nil:
		return fmt.Errorf("run mailstead as the uid %d: %w", uid, err)
	}
	return nil
}

// maxSaid is how many octets are kept of what such a process says.
const maxSaid = 64 << 10

// outputAsUser runs such a process, and gives the beginning of what it says.
func outputAsUser(ctx context.Context, cmd *exec.Cmd) (string, error) {
	said := &kind.Head{Most: maxSaid}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		return "", err
	}
	err := waitAsUser(ctx, cmd)
	return strings.TrimSpace(said.String()), err
}

// ownWay refuses a way to a directory on which there is anything of somebody else, who
// could have it lead to whose directory they like.
func ownWay(dir string, owner uint32) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	for _, at := range []string{dir, real} {
		for ; at != "/"; at = filepath.Dir(at) {
			st, err := os.Lstat(at)
			if err != nil {
				return err
			}
			if uid := st.Sys().(*syscall.Stat_t).Uid; uid != 0 && uid != owner {
				return fmt.Errorf("%s belongs to the uid %d, and %s is on the way to it and belongs to the uid %d", real, owner, at, uid)
			}
		}
	}
	return nil
}

// run does the work, or has "mailstead ARGS -- DIR" do it.
func (w ownersWork) run(ctx context.Context, c *console, args ...string) error {
	dir, err := filepath.Abs(w.dir)
	if err != nil {
		return err
	}
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner := st.Sys().(*syscall.Stat_t)
	switch uid := uint32(os.Geteuid()); {
	case uid == owner.Uid:
		return w.do(dir)
	case uid != 0:
		return hint(fmt.Errorf("%s belongs to the uid %d", dir, owner.Uid), "run this as that user, or as root")
	}
	if err := ownWay(dir, owner.Uid); err != nil {
		return hint(err, "name the directory that is meant, or run this as its owner")
	}
	// Not by its name: the user may be unable to look into the directory that it
	// lies in.
	return runAsUser(ctx, asUser(ctx, owner.Uid, owner.Gid, c.out, c.err, append(args, "--", dir)...), owner.Uid)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// ownersWork is work in a directory that its owner may change at any time. Root
// does nothing there itself: it starts this program again as the owner.
type ownersWork struct {
	dir string
	do  func(dir string) error // by its absolute path
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
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append(args, "--", dir)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Dir, cmd.Env = "/", []string{"PATH=" + os.Getenv("PATH")}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.in, c.out, c.err
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid, Groups: []uint32{}}}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return &exitError{code: exit.ExitCode()} // it has said why
	}
	if err != nil {
		return fmt.Errorf("start mailstead as the uid %d: %w", owner.Uid, err)
	}
	return nil
}

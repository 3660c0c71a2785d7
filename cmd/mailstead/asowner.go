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

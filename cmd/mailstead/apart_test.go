package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// apart has all that a script of root's starts from now on find the whole machine
// read-only but for the script's directory, and nothing in /run: no description that
// forgets to say where things are, and no command that forgets --rootless, comes to this
// machine's accounts, files or systemd. It is the thread of the caller that is apart, with
// what is started from it, until the script has ended.
func apart(env *testscript.Env) error {
	if !ownsMachine() {
		return nil
	}
	writable := []string{env.WorkDir}
	if os.Getenv("MAILSTEAD_UPDATE") == "1" {
		writable = append(writable, "testdata/script")
	}
	runtime.LockOSThread() // and it ends with its goroutine
	machine, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	env.Defer(func() { // the directory is to be removed
		defer unix.Close(machine)
		if err := unix.Setns(machine, unix.CLONE_NEWNS); err != nil {
			env.T().Log("go back to the machine: ", err)
		}
	})
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("part the script from the machine: %w", err)
	}
	return mountApart(writable)
}

// mountApart makes the mounts of a namespace that is new read-only, but for some directories.
func mountApart(writable []string) error {
	steps := []func() error{
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
	}
	for _, dir := range writable {
		steps = append(steps, func() error { return unix.Mount(dir, dir, "", unix.MS_BIND, "") })
	}
	steps = append(steps, func() error {
		return unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	})
	for _, dir := range writable {
		steps = append(steps, func() error {
			return unix.MountSetattr(unix.AT_FDCWD, dir, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
		})
	}
	for _, step := range append(steps, func() error { return unix.Mount("tmpfs", "/run", "tmpfs", 0, "") }) {
		if err := step(); err != nil {
			return fmt.Errorf("part the script from the machine: %w", err)
		}
	}
	return nil
}

// ownsMachine tells whether this is root, and not only that of a container, who may
// change nothing of a machine, and cannot be parted from it either.
func ownsMachine() bool {
	var can [2]unix.CapUserData
	err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &can[0])
	return err == nil && can[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

// condition is what a script may ask of itself: [root] is ownsMachine.
func condition(name string) (bool, error) {
	if name != "root" {
		return false, fmt.Errorf("unknown condition %q", name)
	}
	return ownsMachine(), nil
}

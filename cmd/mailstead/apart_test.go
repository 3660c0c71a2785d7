package main

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// apart has all that a script of root's starts from now on find the whole machine
// read-only but for the script's directory, and nothing in /run: no description that
// forgets to say where things are, and no command that forgets --rootless, comes to this
// machine's accounts, files or systemd. It is the thread of the caller that is apart, with
// what is started from it; as it stays locked, it ends with its goroutine.
func apart(dir string) error {
	if !ownsMachine() {
		return nil
	}
	runtime.LockOSThread()
	for _, step := range []func() error{
		func() error { return unix.Unshare(unix.CLONE_NEWNS) },
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return unix.Mount(dir, dir, "", unix.MS_BIND, "") },
		func() error {
			return unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
		},
		func() error {
			return unix.MountSetattr(unix.AT_FDCWD, dir, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
		},
		func() error { return unix.Mount("tmpfs", "/run", "tmpfs", 0, "") },
	} {
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

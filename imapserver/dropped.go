package imapserver

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/confine"
	"mailstead/imapserver/spawn"
)

// dropped checks from inside a started process that nothing of the
// spawn's privileges is left, and lowers what a process may use. It must
// be called before anything is received.
func dropped() error {
	if os.Getuid() < spawn.MinUID || os.Geteuid() != os.Getuid() || os.Getgid() < spawn.MinUID || os.Getegid() != os.Getgid() {
		return fmt.Errorf("uid %d, gid %d: not started by spawn", os.Getuid(), os.Getgid())
	}
	if groups, err := os.Getgroups(); err != nil {
		return fmt.Errorf("read groups: %w", err)
	} else if slices.ContainsFunc(groups, func(g int) bool { return g != os.Getgid() }) {
		return fmt.Errorf("supplementary groups %v are left", groups)
	}
	if on, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || on != 1 {
		return errors.New("new privileges could still be gained")
	}
	var data [2]unix.CapUserData
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	for _, d := range data {
		// Inheritable ones, which systemd 257 leaves to services in a container,
		// give nothing: without new privileges no program's own are granted.
		if d.Effective|d.Permitted != 0 {
			return errors.New("capabilities are left")
		}
	}
	unix.Umask(0o077)
	return confine.Limits()
}

package schema

import (
	"fmt"
	"slices"
	"strings"
)

// Directories that are no one program's and no one user's, with and without what is
// below them.
var (
	systemTrees = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr"}
	runTrees    = []string{"/run/dbus", "/run/lock", "/run/systemd", "/run/udev"}
	systemTops  = []string{"/home", "/media", "/mnt", "/opt", "/root", "/run/user", "/srv", "/tmp", "/var", "/var/lib", "/var/log", "/var/mail", "/var/run", "/var/spool", "/var/tmp"}
)

// homeTops are those of them that hold homes.
var homeTops = []string{"/home", "/media", "/mnt", "/opt", "/srv", "/var/mail"}

// systemDirectory tells where neither homes nor mail may be.
func systemDirectory(dir string) bool {
	return slices.Contains(systemTops, dir) || slices.ContainsFunc(systemTrees, func(t string) bool { return below(dir, t) })
}

// below tells whether a clean path is a directory or in it.
func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// checkPaths checks the two directories that Mailstead makes its own: it sets
// their owners and modes, and systemd empties that of the sockets.
func (c *completer) checkPaths() {
	p, s := c.host.Paths, c.spot.at("paths")
	if !s.ok() {
		return
	}
	for name, dir := range map[string]string{"state": p.State, "run": p.Run} {
		others := slices.ContainsFunc(runTrees, func(t string) bool { return below(dir, t) })
		if others || slices.Contains(systemTops, dir) || slices.Contains(systemTrees, dir) {
			example := dir + "/mailstead"
			if others {
				example = "/run/mailstead"
			}
			s.at(name).faultOfValue(CodeUnsafe, "is a directory of the system: "+dir, "name one of its own, such as "+example)
		}
	}
	if below(p.State, p.Run) || below(p.Run, p.State) {
		at := s.at("state")
		if !at.exists() {
			at = s.at("run")
		}
		at.faultOfValue(CodeUnsafe, "stands in the way of the other: state is kept, and run is emptied when the daemon stops", "keep the two apart")
	}
	c.checkState()
}

// checkState keeps the state, which root reads, out of the reach of who has mail.
func (c *completer) checkState() {
	state, root := c.host.Paths.State, c.host.Mail.Root
	together := func(dir string) bool { return dir != "" && (below(state, dir) || below(dir, state)) }
	const hint = "keep the two apart, such as /var/lib/mailstead and /var/vmail"
	if together(root) {
		at := c.spot.at("mail", "root")
		if !at.exists() {
			at = c.spot.at("paths", "state")
		}
		at.faultOfValue(CodeUnsafe, fmt.Sprintf("puts mail and the files of Mailstead into each other: mail.root is %s, paths.state %s", root, state), hint)
	}
	for _, u := range c.host.Users {
		if u.System != nil && u.System.Home != "" && below(state, u.System.Home) {
			c.user(u.Name).at("home").faultOfValue(CodeUnsafe, "holds paths.state, "+state+", where the user could put other files: "+u.System.Home, hint)
		}
	}
	for _, m := range c.maildirs() {
		if together(m.dir) && (m.user.Virtual == nil || !together(root)) {
			c.user(m.user.Name).fault(CodeUnsafe, fmt.Sprintf("has the Maildir %s, and that and paths.state, %s, are one in the other", m.dir, state), hint)
		}
	}
}

package schema

import (
	"slices"
	"strings"
)

// Directories that are no one program's and no one user's, with and without what is
// below them.
var (
	systemTrees = []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr"}
	systemTops  = []string{"/home", "/media", "/mnt", "/opt", "/root", "/srv", "/tmp", "/var", "/var/lib", "/var/log", "/var/mail", "/var/run", "/var/spool", "/var/tmp"}
)

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
		if slices.Contains(systemTops, dir) || slices.Contains(systemTrees, dir) {
			s.at(name).faultOfValue(CodeUnsafe, "is a directory of the system: "+dir, "name one of its own, such as "+dir+"/mailstead")
		}
	}
	if below(p.State, p.Run) || below(p.Run, p.State) {
		at := s.at("state")
		if !at.exists() {
			at = s.at("run")
		}
		at.faultOfValue(CodeUnsafe, "stands in the way of the other: state is kept, and run is emptied when the daemon stops", "keep the two apart")
	}
}

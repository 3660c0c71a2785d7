package kind

import (
	"fmt"
	"io/fs"

	"mailstead/reconcile"
)

// Directory is a directory in a directory that only root (or who runs the
// program) writes. Missing parents are made with mode 0755. Owner and group are
// names; "" is who runs the program. It goes only if it is empty.
func Directory(path string, mode fs.FileMode, owner, group, origin string) reconcile.Resource {
	return reconcile.Resource{
		Ref:    reconcile.Ref{Kind: "directory", Name: path},
		Origin: origin,
		Attrs:  modeAttrs(mode, owner, group),
	}
}

func modeAttrs(mode fs.FileMode, owner, group string) []reconcile.Attr {
	if owner == "" {
		owner = Self
	}
	if group == "" {
		group = Self
	}
	return []reconcile.Attr{
		{Name: "mode", Value: modeString(mode), Impact: reconcile.Live},
		{Name: "owner", Value: owner, Impact: reconcile.Live},
		{Name: "group", Value: group, Impact: reconcile.Live},
	}
}

// modeString is a mode as chmod(1) takes it, such as "0750".
func modeString(mode fs.FileMode) string {
	m := uint32(mode.Perm())
	if mode&fs.ModeSetuid != 0 {
		m |= 0o4000
	}
	if mode&fs.ModeSetgid != 0 {
		m |= 0o2000
	}
	if mode&fs.ModeSticky != 0 {
		m |= 0o1000
	}
	return fmt.Sprintf("%04o", m)
}

package kind

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"mailstead/reconcile"
)

// WayStep is a directory on the way to mail, as the owner of the mail finds it.
type WayStep struct {
	Path  string `json:"path"`
	Link  string `json:"link,omitempty"` // where it leads, if it is a symbolic link
	Mode  uint32 `json:"mode"`           // permissions
	UID   int    `json:"uid"`
	GID   int    `json:"gid"`
	Dir   bool   `json:"dir"`             // it is a directory, or leads to one
	Enter bool   `json:"enter"`           // the owner of the mail may go through it
	Error string `json:"error,omitempty"` // why it could not be looked at: it is not there, or what it is in may not be gone through
}

// maxWay is how many directories lie on the way to mail, and more than any does.
const maxWay = 64

// Way goes from the root to a Maildir as the owner of the mail, and ends where that
// cannot go on. The answer may be of the owner's making.
func (h *Host) Way(ctx context.Context, m reconcile.Resource) ([]WayStep, error) {
	id, err := parseIdentity(m.Get("owner"))
	if err != nil {
		return nil, err
	}
	path := m.Get("path")
	if err := checkPath(path); err != nil {
		return nil, err
	}
	a, err := h.mail(ctx, id, mailRequest{Way: path})
	if err != nil {
		return nil, err
	}
	if len(a.Way) == 0 || len(a.Way) > maxWay {
		return nil, fmt.Errorf("helper as uid %d: %d steps", id.uid, len(a.Way))
	}
	for i, s := range a.Way {
		a.Way[i].Path, a.Way[i].Link, a.Way[i].Error = shorter(s.Path), shorter(s.Link), shorter(s.Error)
	}
	return a.Way, nil
}

// wayTo goes to path with the rights of the process.
func wayTo(path string) (way []WayStep) {
	for at := 0; len(way) < maxWay; {
		prefix := path
		if i := strings.IndexByte(path[at:], '/'); i >= 0 {
			prefix = path[:max(1, at+i)]
			at += i + 1
		} else {
			at = len(path) + 1
		}
		step := lookAtStep(prefix)
		way = append(way, step)
		if step.Error != "" || !step.Enter || at > len(path) {
			break
		}
	}
	return way
}

func lookAtStep(path string) WayStep {
	s := WayStep{Path: path}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		s.Error = err.Error()
		return s
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		buf := make([]byte, unix.PathMax)
		if n, err := unix.Readlink(path, buf); err == nil {
			s.Link = string(buf[:n])
		}
		if err := unix.Stat(path, &st); err != nil {
			s.Error = err.Error()
			return s
		}
	}
	s.Mode, s.UID, s.GID = st.Mode&0o7777, int(st.Uid), int(st.Gid)
	s.Dir = st.Mode&unix.S_IFMT == unix.S_IFDIR
	err := unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
	if s.Enter = s.Dir && err == nil; err != nil && !errors.Is(err, unix.EACCES) {
		s.Error = err.Error()
	}
	return s
}

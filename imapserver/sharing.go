package imapserver

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/spawn"
)

func identityOf(u *config.User) spawn.Identity { return spawn.Identity{UID: u.UID, GID: u.GID} }

// neighbours gives the Maildirs, by user, of the virtual users whose mail has that
// uid and gid. Without anyone to share with there are none: no process can open
// the mail of another uid. A name with a space would be taken for that of someone
// else, whose name has a dot there: in mailbox names a space stands for it.
func (s *Settings) neighbours(id spawn.Identity) map[string]string {
	if !s.Config.Sharing {
		return nil
	}
	maildirs := map[string]string{}
	for u := range s.of(id) {
		if u.Hash != "" && u.Elsewhere == "" && !strings.Contains(u.Name, " ") {
			maildirs[u.Name] = u.Maildir
		}
	}
	if len(maildirs) < 2 {
		return nil
	}
	return maildirs
}

// sharing is the neighbours of each uid, and its roots where these are many, as workers
// are told of them.
type sharing struct {
	mu   sync.Mutex
	told map[spawn.Identity]beside
}

type beside struct {
	roots  []string // which it was made for
	few    []string // those of them that are told with each session
	memory *os.File // has the rest; nil if there is none
}

// tell adds to a session what its worker is to know of the uid, which is put together
// once for each roots. A file that a session may still be sent with is left to the
// garbage collector to close.
func (h *sharing) tell(session *handoff.Session, s *Settings, id spawn.Identity, roots []string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, ok := h.told[id]
	if !ok || !sameSlice(b.roots, roots) {
		var err error
		if b, err = newBeside(roots, s.neighbours(id)); err != nil {
			return err
		}
		if h.told == nil {
			h.told = map[spawn.Identity]beside{}
		}
		h.told[id] = b
	}
	session.Roots, session.Beside = b.few, b.memory
	return nil
}

func newBeside(roots []string, neighbours map[string]string) (beside, error) {
	b, rest := beside{roots: roots}, handoff.Beside{Neighbours: neighbours}
	if octets(roots) <= fewRootNames {
		b.few = roots
	} else {
		rest.Roots = roots
	}
	if rest.Roots == nil && neighbours == nil {
		return b, nil
	}
	data, err := json.Marshal(rest)
	if err == nil {
		b.memory, err = handoff.Seal(data)
	}
	return b, err
}

// sameSlice tells whether a and b are the same strings in the same place: they may be
// thousands, and are never written to.
func sameSlice(a, b []string) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// met is what a worker was told last beside its sessions.
type met struct {
	roots  []string
	memory *os.File // open, so that no other has its number
	is     os.FileInfo
}

// meet takes note of who shares mail with each other. It gives the roots of a session
// if they are not known to be those of the session before.
func (m *mail) meet(s *handoff.Session) (roots []string, err error) {
	var is os.FileInfo
	if s.Beside != nil {
		if is, err = s.Beside.Stat(); err != nil {
			return nil, err
		}
	}
	if slices.Equal(s.Roots, m.met.roots) && (is == nil) == (m.met.is == nil) && (is == nil || os.SameFile(is, m.met.is)) {
		s.Beside.Close() // of nil it is an error, and nothing
		return nil, nil
	}
	told, err := s.Told()
	if err != nil {
		return nil, err
	}
	m.met.memory.Close()
	m.met = met{s.Roots, s.Beside, is}
	m.neighbours.Update(told.Neighbours)
	return told.Roots, nil
}

package imapserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/spawn"
)

func identityOf(u config.User) spawn.Identity { return spawn.Identity{UID: u.UID, GID: u.GID} }

// neighbours gives the Maildirs, by user, of the virtual users whose mail has that
// uid and gid. Without anyone to share with there are none: no process can open
// the mail of another uid. A name with a space would be taken for that of someone
// else, whose name has a dot there: in mailbox names a space stands for it.
func (s *Settings) neighbours(id spawn.Identity) map[string]string {
	if !s.Config.Sharing {
		return nil
	}
	maildirs := map[string]string{}
	for _, u := range s.Users {
		if identityOf(u) == id && u.Hash != "" && u.Elsewhere == "" && !strings.Contains(u.Name, " ") {
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
	roots []string
	data  []byte
}

// of gives those of a uid, whose neighbours are looked for once.
func (h *sharing) of(s *Settings, id spawn.Identity, roots []string) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, ok := h.told[id]
	if ok && slices.Equal(b.roots, roots) {
		return b.data
	}
	if h.told == nil {
		h.told = map[spawn.Identity]beside{}
	}
	b = beside{roots: roots}
	if maildirs := s.neighbours(id); maildirs != nil || roots != nil {
		b.data, _ = json.Marshal(handoff.Beside{Neighbours: maildirs, Roots: roots}) // strings always can be
	}
	h.told[id] = b
	return b.data
}

// meet takes note of who shares mail with each other, of Session.Beside.
func (m *mail) meet(data []byte) error {
	if bytes.Equal(data, m.met) {
		return nil
	}
	var b handoff.Beside
	if len(data) > 0 {
		if err := json.Unmarshal(data, &b); err != nil {
			return fmt.Errorf("neighbours: %w", err)
		}
	}
	m.met = data
	m.neighbours.Update(b.Neighbours)
	return nil
}

package imapserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"mailstead/imapserver/config"
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

// sharing is the neighbours of each uid, as workers are told of them.
type sharing struct {
	mu   sync.Mutex
	told map[spawn.Identity][]byte
}

// of gives the neighbours of a uid, which are looked for once.
func (h *sharing) of(s *Settings, id spawn.Identity) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	data, ok := h.told[id]
	if ok {
		return data
	}
	if h.told == nil {
		h.told = map[spawn.Identity][]byte{}
	}
	if maildirs := s.neighbours(id); maildirs != nil {
		data, _ = json.Marshal(maildirs) // strings by strings always can be
	}
	h.told[id] = data
	return data
}

// meet takes note of who shares mail with each other.
func (m *mail) meet(data []byte) error {
	if bytes.Equal(data, m.met) {
		return nil
	}
	var maildirs map[string]string
	if len(data) > 0 {
		if err := json.Unmarshal(data, &maildirs); err != nil {
			return fmt.Errorf("neighbours: %w", err)
		}
	}
	m.met = data
	m.neighbours.Update(maildirs)
	return nil
}

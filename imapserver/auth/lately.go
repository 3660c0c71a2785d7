package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"mailstead/imapserver/handoff"
)

// Web is the listener of Credentials that come from the web page: no listener can have
// the name. App passwords are not good there, since they are for one program each, nor
// are masters: what users do there lasts.
const Web = "(web)"

// Of how many users logins are remembered, how many of each, and for how long.
const (
	maxLately  = 1 << 14
	perUser    = 8
	latelyLife = 90 * 24 * time.Hour
)

// latelyFile has them in auth's directory. It is not part of keepFile, which is small and
// written at once. maxLatelyFile bounds it, in octets; latelyWait is how long a login may
// wait to be written, which is how much of them a power cut takes: the log has them all.
const (
	latelyFile    = "lately.json"
	maxLatelyFile = 64 << 20
	latelyWait    = 5 * time.Minute
)

// Login is a user's login, or several of one program: by the same listener, address,
// name and proof. Asked is the name by which a directory was asked about them.
type Login struct {
	Listener  string     `json:"listener"`
	Remote    netip.Addr `json:"remote"`
	Mechanism string     `json:"mechanism,omitempty"`
	By        string     `json:"by,omitempty"`
	Asked     string     `json:"asked,omitempty"`
	Last      time.Time  `json:"last"`
	Count     int        `json:"count"`
}

// lately is the last logins of users.
type lately struct {
	lazyFile
	of *memory[string, []Login] // each list is replaced as a whole
}

func newLately(log *slog.Logger, users int) *lately {
	l := &lately{of: newMemory[string, []Login](min(users, maxLately))}
	l.lazyFile = lazyFile{log: log, name: latelyFile, max: maxLatelyFile, wait: latelyWait, encode: l.json}
	return l
}

func (l *lately) json() ([]byte, error) {
	return json.Marshal(l.of.all())
}

// keepIn has them kept in a directory from now on, "" for none, and takes from it those
// of users who have not logged in since this process began.
func (l *lately) keepIn(dir string, now time.Time) {
	l.flush()
	l.writing.Lock()
	l.dir = dir
	l.writing.Unlock()
	if dir == "" {
		return
	}
	kept := map[string][]Login{}
	data, err := readFile(l.path(), maxLatelyFile)
	if err == nil {
		err = json.Unmarshal(data, &kept)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // it is written anew
		l.log.Error("last logins of users are lost", "err", fmt.Errorf("read %s: %w", l.path(), err))
		return
	}
	for user, logins := range kept {
		logins = slices.DeleteFunc(logins, func(o Login) bool { return now.Sub(o.Last) > latelyLife })
		if _, newer := l.of.get(user); !newer && len(logins) > 0 {
			l.of.update(user, logins[0].Last, func([]Login) []Login { return logins[:min(perUser, len(logins))] })
		}
	}
}

// note remembers a good login.
func (l *lately) note(c *handoff.Credentials, e entrant, now time.Time) {
	n := Login{Listener: c.Listener, Remote: c.Remote.Unmap(), Mechanism: c.Mechanism, By: e.by, Asked: e.asked, Last: now, Count: 1}
	l.of.update(e.user, now, func(old []Login) []Login {
		logins := make([]Login, 0, perUser)
		for _, o := range old {
			if o.Listener == n.Listener && o.Remote == n.Remote && o.Mechanism == n.Mechanism && o.By == n.By && o.Asked == n.Asked {
				n.Count += o.Count
			} else if len(logins) < perUser-1 && now.Sub(o.Last) <= latelyLife {
				logins = append(logins, o)
			}
		}
		return slices.Insert(logins, 0, n)
	})
	l.soon()
}

// Lately gives the last logins of a user, the latest first.
func (a *Auth) Lately(user string) []Login {
	logins, _ := a.lately.of.get(user)
	return logins
}

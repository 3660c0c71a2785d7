package imapserver

import (
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/spawn"
)

// maxRoots bounds the directories that a worker is told of one by one.
const maxRoots = 16

// roots are the directories below which the mail of a uid is, as far as it is known
// before anyone of a directory logs in: the Maildirs of its users and what is below
// the root of virtual mail or of a directory's, or, of many users, the directory
// that all of them have in common. A worker is confined to them for as long as it lives.
func (s *Settings) roots(id spawn.Identity) []string {
	return s.rooted.of(id, func() []string {
		var maildirs []string
		for _, u := range s.Users {
			if identityOf(u) == id && u.Elsewhere == "" {
				maildirs = append(maildirs, u.Maildir)
			}
		}
		if s.Config.MailRoot != "" && slices.ContainsFunc(maildirs, func(m string) bool { return within(m, s.Config.MailRoot) }) {
			maildirs = slices.DeleteFunc(maildirs, func(m string) bool { return within(m, s.Config.MailRoot) })
			maildirs = append(maildirs, s.Config.MailRoot)
		}
		for _, d := range s.Config.Directories {
			if d.May.Owner != nil && *d.May.Owner == config.Identity(id) {
				maildirs = append(maildirs, d.May.Roots...)
			}
		}
		return few(maildirs)
	})
}

// few makes a short list of one that may be long, in order.
func few(roots []string) []string {
	slices.Sort(roots)
	if roots = slices.Compact(roots); len(roots) > maxRoots {
		return []string{common(roots)}
	}
	return roots
}

// home is where a user of a directory, who has a uid of their own, may have mail
// made: in their home if it is there, and nobody else's.
func home(u config.User) string {
	if within(u.Maildir, u.Home) {
		return u.Home
	}
	return path.Dir(u.Maildir)
}

// within tells whether a path is a directory or below it.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// covered tells whether a worker that is confined to have may open all of want.
func covered(want, have []string) bool {
	for _, w := range want {
		if !slices.ContainsFunc(have, func(h string) bool { return within(w, h) }) {
			return false
		}
	}
	return true
}

// common is the deepest directory that all paths are below.
func common(paths []string) string {
	dir := path.Dir(paths[0])
	for _, p := range paths {
		for dir != "/" && !within(p, dir) {
			dir = path.Dir(dir)
		}
	}
	return dir
}

// rooted is the roots of each uid that has been asked for.
type rooted struct {
	mu   sync.Mutex
	told map[spawn.Identity][]string
}

func (r *rooted) of(id spawn.Identity, find func() []string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	roots, ok := r.told[id]
	if !ok {
		if r.told == nil {
			r.told = map[spawn.Identity][]string{}
		}
		roots = find()
		r.told[id] = roots
	}
	return roots
}

// with adds a directory to the roots of a uid, which lose nothing by it.
func (r *rooted) with(id spawn.Identity, dir string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if have := r.told[id]; !covered([]string{dir}, have) {
		r.told[id] = few(append(slices.Clone(have), dir))
	}
	return r.told[id]
}

// all are those that workers may have been told of.
func (r *rooted) all() map[spawn.Identity][]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.told)
}

// workerSession is what spawn and the worker are told of a session of u.
func (s *Settings) workerSession(o *handoff.Open, u config.User) *handoff.Session {
	id := identityOf(u)
	session := s.session(o, u)
	session.UID, session.GID = id.UID, id.GID
	session.Roots = s.roots(id)
	if u.Directory != "" {
		session.Roots = s.rooted.with(id, home(u))
	}
	session.Neighbours = s.sharing.of(s, id)
	return session
}

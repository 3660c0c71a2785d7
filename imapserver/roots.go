package imapserver

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/limit"
	"mailstead/imapserver/spawn"
)

// The octets of the names of the roots of a uid: a few are told with each session; all
// are arguments of its worker, of which the kernel takes 2 MiB.
const (
	fewRootNames = 4 << 10
	maxRootNames = 1 << 20
)

// roots are the directories below which the mail of a uid is, as far as it is known
// before anyone of a directory logs in: the Maildirs of its users and what is below
// the root of virtual mail or of a directory's. A worker is confined to them for as
// long as it lives.
func (s *Settings) roots(id spawn.Identity) []string {
	return s.rooted.of(id, s.known)
}

// known are the roots of a uid without the homes of those who have logged in.
func (s *Settings) known(id spawn.Identity) []string {
	var maildirs []string
	for u := range s.of(id) {
		if u.Elsewhere == "" {
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
	slices.Sort(maildirs)
	return slices.Compact(maildirs)
}

// tooMany says why a worker cannot be told of so many roots.
func tooMany(roots []string) error {
	if most := limit.Default().Worker.Roots; len(roots) > most {
		return fmt.Errorf("its mail is in %d directories, and a process may be kept to %d: have it below one", len(roots), most)
	}
	if n := octets(roots); n > maxRootNames {
		return fmt.Errorf("the names of the %d directories that its mail is in have %d octets, and may have %d: have it below one", len(roots), n, maxRootNames)
	}
	return nil
}

func octets(names []string) (n int) {
	for _, name := range names {
		n += len(name) + 1
	}
	return n
}

// checkRoots finds a uid with too many roots.
func (s *Settings) checkRoots() error {
	for all := s.owned.of(s.Users); len(all) > 0; {
		id := identityOf(&s.Users[all[0]])
		if err := tooMany(s.known(id)); err != nil {
			return fmt.Errorf("%s: uid %d: %w", s.Config.Users, id.UID, err)
		}
		n := slices.IndexFunc(all, func(i int32) bool { return identityOf(&s.Users[i]) != id })
		if n < 0 {
			return nil
		}
		all = all[n:]
	}
	return nil
}

// owned is the users by the uid and gid of their mail, and then by name: numbers of
// Settings.Users. Uids may be as many as users, so that none is looked for among all.
type owned struct {
	once sync.Once
	all  []int32
}

func (o *owned) of(users []config.User) []int32 {
	o.once.Do(func() {
		o.all = make([]int32, len(users))
		for i := range o.all {
			o.all[i] = int32(i)
		}
		slices.SortFunc(o.all, func(a, b int32) int {
			return cmp.Or(compareIdentities(identityOf(&users[a]), identityOf(&users[b])), cmp.Compare(a, b))
		})
	})
	return o.all
}

func compareIdentities(a, b spawn.Identity) int {
	return cmp.Or(cmp.Compare(a.UID, b.UID), cmp.Compare(a.GID, b.GID))
}

// of gives the users whose mail has that uid and gid, by name.
func (s *Settings) of(id spawn.Identity) iter.Seq[*config.User] {
	all := s.owned.of(s.Users)
	first, _ := slices.BinarySearchFunc(all, id, func(i int32, id spawn.Identity) int {
		return compareIdentities(identityOf(&s.Users[i]), id)
	})
	return func(yield func(*config.User) bool) {
		for _, i := range all[first:] {
			if u := &s.Users[i]; identityOf(u) != id || !yield(u) {
				return
			}
		}
	}
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
	if slices.Equal(want, have) { // they may be thousands
		return true
	}
	return !slices.ContainsFunc(want, func(w string) bool { return !below(w, have) })
}

// below tells whether a path is one of the directories, which are sorted, or below one.
func below(p string, dirs []string) bool {
	for ; ; p = path.Dir(p) {
		if _, ok := slices.BinarySearch(dirs, p); ok {
			return true
		}
		if p == "/" || p == "." {
			return false
		}
	}
}

// rooted is the roots of each uid that has been asked for.
type rooted struct {
	mu   sync.Mutex
	told map[spawn.Identity][]string
}

func (r *rooted) of(id spawn.Identity, known func(spawn.Identity) []string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	roots, ok := r.told[id]
	if !ok {
		if r.told == nil {
			r.told = map[spawn.Identity][]string{}
		}
		roots = known(id)
		r.told[id] = roots
	}
	return roots
}

// with adds a directory to the roots of a uid, which lose nothing by it, unless there
// are too many: then only those that had logged in before the last worker began have
// to wait for another one.
func (r *rooted) with(id spawn.Identity, known func(spawn.Identity) []string, dir string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	have := r.told[id]
	if below(dir, have) {
		return have
	}
	roots := append(slices.Clone(have), dir)
	if tooMany(roots) != nil {
		roots = append(known(id), dir)
	}
	slices.Sort(roots)
	r.told[id] = roots
	return roots
}

// all are those that workers may have been told of.
func (r *rooted) all() map[spawn.Identity][]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.told)
}

// workerSession is what spawn and the worker are told of a session of u.
func (s *Settings) workerSession(o *handoff.Open, u config.User) (*handoff.Session, error) {
	id := identityOf(&u)
	session := s.session(o, u)
	session.UID, session.GID = id.UID, id.GID
	roots := s.roots(id)
	if u.Directory != "" {
		roots = s.rooted.with(id, s.known, home(u))
	}
	return session, s.sharing.tell(session, s, id, roots)
}

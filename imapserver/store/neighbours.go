package store

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"mailstead/imapserver/maildir"
)

// lookAgain is how long what users share is remembered. What changes through us
// is seen at once, and so are mailboxes that come and go; the rest may take so
// long.
const lookAgain = 30 * time.Second

// What is looked at of one user: nobody is to keep others waiting, or the memory
// full, by having more.
const (
	maxLooked = 10_000  // mailboxes
	maxGrants = 100_000 // lines of their lists
)

// Neighbours are the users whose mail has the same uid, so that one process can
// open it, and what they share with each other. Its methods may be called from
// many goroutines.
type Neighbours struct {
	log  *slog.Logger
	open func(ctx context.Context, maildir string) (*Account, func(), error)

	sweeping sync.Mutex // held while all of them are looked at

	mu    sync.Mutex                 // taken after neighbour.mu
	users map[string]*neighbour      // by name; replaced as a whole
	made  uint64                     // how often
	swept time.Time                  // when all of them were looked at
	due   map[string]bool            // who is to be looked at before
	with  map[string]map[string]bool // who shares something, by the identifiers that it is shared with
}

// neighbour is a user.
type neighbour struct {
	dir string   // as the user's Maildir is configured
	ids []string // by which the user is in Neighbours.with; of Neighbours.mu

	mu     sync.Mutex // held while the Maildir is looked at
	acls   *aclFiles
	looked time.Time
	ctime  int64 // of the top Maildir then
	shared []SharedMailbox
}

// SharedMailbox is a mailbox to which others than its owner have some right.
type SharedMailbox struct {
	Name       string
	Selectable bool
	ACL        ACL
}

// NewNeighbours makes one without users. open gives the account of a Maildir,
// and what gives it back.
func NewNeighbours(log *slog.Logger, open func(ctx context.Context, maildir string) (*Account, func(), error)) *Neighbours {
	return &Neighbours{log: log, open: open}
}

// Update says who the users are: their Maildirs by name. Without any, nothing is
// shared.
func (n *Neighbours) Update(maildirs map[string]string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.users
	n.made++
	n.users, n.swept = make(map[string]*neighbour, len(maildirs)), time.Time{}
	n.due, n.with = make(map[string]bool), make(map[string]map[string]bool)
	for name, dir := range maildirs {
		if u := old[name]; u != nil && u.dir == dir {
			n.users[name] = u
			n.enter(name, u, u.ids)
			continue
		}
		n.users[name] = &neighbour{dir: dir}
	}
}

// enter notes by which identifiers a user shares something. mu is held.
func (n *Neighbours) enter(name string, u *neighbour, ids []string) {
	for _, id := range u.ids {
		delete(n.with[id], name)
		if len(n.with[id]) == 0 {
			delete(n.with, id)
		}
	}
	u.ids = ids
	for _, id := range ids {
		if n.with[id] == nil {
			n.with[id] = make(map[string]bool)
		}
		n.with[id][name] = true
	}
}

// Any tells whether there are users who may share.
func (n *Neighbours) Any() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.users) > 0
}

// With gives the users who may share something with the reader, sorted. All are looked at
// now and then; between that, it costs no more than there are of them.
func (n *Neighbours) With(ctx context.Context, reader string) ([]string, error) {
	if err := n.review(ctx); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make(map[string]bool)
	for _, id := range []string{IDAnyone, IDUser + reader, anyID} {
		maps.Copy(all, n.with[id])
	}
	return slices.Sorted(maps.Keys(all)), nil
}

// review looks at all users, or at those alone whose rights have changed.
func (n *Neighbours) review(ctx context.Context) error {
	n.sweeping.Lock()
	defer n.sweeping.Unlock()
	now := time.Now()
	n.mu.Lock()
	users, some, made := n.users, n.due, n.made
	n.due = make(map[string]bool)
	sweep := now.Sub(n.swept) >= lookAgain
	n.mu.Unlock()
	for name := range some {
		n.Shared(name)
	}
	if !sweep {
		return nil
	}
	for name := range users { // the map is replaced, and never changed
		if err := ctx.Err(); err != nil {
			return err
		}
		n.Shared(name)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.made == made {
		n.swept = now
	}
	return nil
}

func (n *Neighbours) user(name string) *neighbour {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.users[name]
}

// Forget has a user's mailboxes looked at again: rights have changed.
func (n *Neighbours) Forget(name string) {
	if u := n.user(name); u != nil {
		u.mu.Lock()
		u.looked = time.Time{}
		u.mu.Unlock()
		n.mu.Lock()
		defer n.mu.Unlock()
		n.due[name] = true
	}
}

// Shared gives what a user shares with anyone, without opening the account.
// Someone who cannot be looked at shares nothing.
func (n *Neighbours) Shared(name string) []SharedMailbox {
	u := n.user(name)
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	now := dirTime(u.dir)
	if u.acls != nil {
		now = dirTime(u.acls.top)
	}
	if now != 0 && now == u.ctime && time.Since(u.looked) < lookAgain {
		return u.shared
	}
	var err error
	if u.shared, err = u.look(); err != nil && !os.IsNotExist(err) {
		n.log.Error("cannot tell what a user shares", "user", name, "maildir", u.dir, "error", err)
	}
	u.looked, u.ctime = time.Now(), now
	ids := identifiers(u.shared)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.users[name] == u {
		n.enter(name, u, ids)
	}
	return u.shared
}

// anyID is the identifier of those who share with more than maxIDs: whoever asks looks at
// them.
const (
	anyID  = ""
	maxIDs = 1000
)

// identifiers gives those to which mailboxes are shared, each once.
func identifiers(shared []SharedMailbox) []string {
	ids := make(map[string]bool)
	for _, m := range shared {
		for _, g := range m.ACL {
			if grants(g) {
				ids[g.ID] = true
			}
		}
		if len(ids) > maxIDs {
			return []string{anyID}
		}
	}
	return slices.Collect(maps.Keys(ids))
}

// look reads the rights to all mailboxes. mu is held.
func (u *neighbour) look() ([]SharedMailbox, error) {
	dir, err := filepath.EvalSymlinks(u.dir)
	if err != nil {
		return nil, err
	}
	if u.acls == nil || u.acls.top != dir {
		u.acls = &aclFiles{top: dir}
	}
	dirs, err := maildir.FolderDirs(dir)
	if err != nil {
		return nil, err
	}
	enc := maildir.DetectEncoding(dirs)
	var list []SharedMailbox
	grants := 0
	for _, d := range append([]string{"."}, dirs[:min(len(dirs), maxLooked)]...) {
		name, err := maildir.DecodeName(d, enc)
		if err != nil {
			continue
		}
		acl, err := u.acls.of(d)
		if err != nil || !sharedWithAnyone(acl) {
			continue
		}
		if st, err := os.Lstat(filepath.Join(dir, d)); err != nil || !st.IsDir() {
			continue
		}
		st, err := os.Lstat(filepath.Join(dir, d, "cur"))
		if grants += len(acl); grants > maxGrants {
			break
		}
		list = append(list, SharedMailbox{Name: name, Selectable: err == nil && st.IsDir(), ACL: acl})
	}
	return list, nil
}

// sharedWithAnyone tells whether someone else than the owner may have a right.
func sharedWithAnyone(acl ACL) bool {
	return slices.ContainsFunc(acl, grants)
}

// grants tells whether a line gives someone else than the owner a right.
func grants(g Grant) bool { return g.ID != IDOwner && !g.Negative && g.Rights != 0 }

// Open gives the account of a user who shares a mailbox with the reader, and
// what gives it back; for all others it fails with ErrNotFound, whether or not
// there is such a user.
func (n *Neighbours) Open(ctx context.Context, name, reader string) (*Account, func(), error) {
	granted := func(m SharedMailbox) bool { return m.ACL.Rights(reader, false) != 0 }
	u := n.user(name)
	if u == nil || name == reader || !slices.ContainsFunc(n.Shared(name), granted) {
		return nil, nil, fmt.Errorf("%w: nothing of %q", ErrNotFound, name)
	}
	a, release, err := n.open(ctx, u.dir)
	if err != nil {
		n.log.Error("mail of another user not opened", "user", name, "maildir", u.dir, "error", err)
		return nil, nil, fmt.Errorf("%w: it cannot be opened", ErrNotFound)
	}
	return a, release, nil
}

package auth

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/sasl"
)

// table is the users as they log in; it does not change but for passwords and for
// hashes that are made better.
type table struct {
	users       map[string]user
	names       config.Names
	directories []backend

	tally tally // under Auth.updating
	like  atomic.Pointer[likeness]
}

type user struct {
	row  config.User
	hash *atomic.Pointer[Hash] // of those who have one
}

// verifier is the user's, if the hash is one.
func (u user) verifier() *sasl.Verifier {
	if u.hash == nil {
		return nil
	}
	return u.hash.Load().verifier
}

func newTable(users []config.User, l *logins) (*table, error) {
	t := &table{users: make(map[string]user, len(users)), tally: tally{unverified: len(users), costs: map[string]int{}, shapes: map[shape]int{}}}
	var faults []error
	for _, row := range users {
		u := user{row: row}
		if row.Hash != "" {
			h, err := l.hashOf(row)
			if err != nil {
				faults = append(faults, fmt.Errorf("user %q: %w", row.Name, err))
				continue
			}
			u.hash = &atomic.Pointer[Hash]{}
			u.hash.Store(&h)
			t.tally.count(&h, 1)
		}
		t.users[row.Name] = u
		t.names.Add(row.Name)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	t.like.Store(t.likeness())
	return t, nil
}

// called gives the name of the user whom a client means by a name.
func (t *table) called(name string) string {
	return t.names.Meant(name, func(name string) bool { _, ok := t.users[name]; return ok })
}

// meant is the credentials with the names of the users who are meant.
func (t *table) meant(c *handoff.Credentials) *handoff.Credentials {
	m := *c
	m.User, m.For = t.called(c.User), t.called(c.For)
	if user, master, ok := config.CutMaster(c.User); ok {
		m.User = t.called(user) + config.MasterMark + master
	}
	return &m
}

// change gives a user another hash; other is whether something else is to be offered
// by now. The caller holds Auth.updating.
func (t *table) change(u user, h *Hash) (other bool) {
	t.tally.count(u.hash.Swap(h), -1)
	t.tally.count(h, 1)
	now := t.likeness()
	return t.like.Swap(now).scram != now.scram
}

// tally counts what hashes look like.
type tally struct {
	unverified int // users without a verifier
	costs      map[string]int
	shapes     map[shape]int // of verifiers
}

// count counts n more like h.
func (t *tally) count(h *Hash, n int) {
	more(t.costs, h.cost, n)
	if h.verifier != nil {
		t.unverified -= n
		more(t.shapes, shapeOf(h.verifier), n)
	}
}

func more[K comparable](counts map[K]int, k K, n int) {
	if counts[k] += n; counts[k] == 0 {
		delete(counts, k)
	}
}

// likeness is what nobody's password looks like: as those of most users do.
type likeness struct {
	dummy Hash  // its verify is nil where there are no hashes
	usual shape // of verifiers
	scram bool  // all users have one
}

// likeness looks at the different hashes that there are, not at the users, but for one
// of whom it takes the hash.
func (t *table) likeness() *likeness {
	l := &likeness{scram: t.tally.unverified == 0 && len(t.users) > 0, usual: most(t.tally.shapes, shape.compare)}
	cost := most(t.tally.costs, strings.Compare)
	if was := t.like.Load(); was != nil && was.dummy.cost == cost {
		l.dummy = was.dummy
		return l
	}
	for _, u := range t.users {
		if u.hash == nil {
			continue
		}
		if h := u.hash.Load(); h.cost == cost {
			l.dummy = *h
			break
		}
	}
	return l
}

// most gives the one that is counted most often, of equals the first; the zero value
// of none.
func most[K comparable](counts map[K]int, compare func(a, b K) int) (k K) {
	n := 0
	for each, has := range counts {
		if has > n || has == n && compare(each, k) < 0 {
			k, n = each, has
		}
	}
	return k
}

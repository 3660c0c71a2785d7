package auth

import (
	"errors"
	"fmt"
	"sync/atomic"

	"mailstead/imapserver/config"
	"mailstead/imapserver/sasl"
)

// table is the users as they log in; it does not change but for hashes that are
// made better.
type table struct {
	users       map[string]user
	directories []backend
	dummy       Hash  // of the cost that most hashes have; its verify is nil where there are none
	usual       shape // of most verifiers
	scram       bool  // all users have a verifier
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
	t := &table{users: make(map[string]user, len(users)), scram: len(users) > 0}
	costs, shapes := map[string]int{}, map[shape]int{}
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
			if count(costs, h.cost) > costs[t.dummy.cost] || t.dummy.verify == nil {
				t.dummy = h
			}
		}
		t.users[row.Name] = u
		if v := u.verifier(); v == nil {
			t.scram = false
		} else if s := shapeOf(v); count(shapes, s) > shapes[t.usual] || t.usual == (shape{}) {
			t.usual = s
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return t, nil
}

// count counts one more of k.
func count[K comparable](counts map[K]int, k K) int {
	counts[k]++
	return counts[k]
}

package auth

import (
	"errors"
	"fmt"

	"mailstead/imapserver/config"
	"mailstead/imapserver/sasl"
)

// table is the users as they log in; it does not change.
type table struct {
	users       map[string]user
	directories []backend
	dummy       Hash  // of the cost that most hashes have; its verify is nil where there are none
	usual       shape // of most verifiers
	scram       bool  // all users have a verifier
}

type user struct {
	row      config.User
	hash     Hash           // of those who have one
	verifier *sasl.Verifier // of those whose hash it is
}

func newTable(users []config.User) (*table, error) {
	t := &table{users: make(map[string]user, len(users)), scram: len(users) > 0}
	costs, shapes := map[string]int{}, map[shape]int{}
	var faults []error
	for _, row := range users {
		u, err := newUser(row)
		if err != nil {
			faults = append(faults, fmt.Errorf("user %q: %w", row.Name, err))
			continue
		}
		t.users[row.Name] = u
		if u.verifier == nil {
			t.scram = false
		} else if s := shapeOf(u.verifier); t.usual == (shape{}) || count(shapes, s) > shapes[t.usual] {
			t.usual = s
		}
		if u.hash.verify != nil && (count(costs, u.hash.cost) > costs[t.dummy.cost] || t.dummy.verify == nil) {
			t.dummy = u.hash
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

func newUser(row config.User) (user, error) {
	u := user{row: row}
	if row.Hash == "" {
		return u, nil
	}
	var err error
	if u.hash, err = ParseHash(row.Hash); err != nil {
		return u, err
	}
	u.verifier = u.hash.verifier
	return u, nil
}

package config

import (
	"cmp"
	"strings"
)

// Names finds users by names in other capitals: telephones begin one with a capital.
type Names struct {
	capitals map[string]string // a name in small letters -> the user who has it in others; "": several
}

// Add adds the name of a user.
func (n *Names) Add(name string) {
	small := strings.ToLower(name)
	if small == name {
		return
	}
	if n.capitals == nil {
		n.capitals = map[string]string{}
	}
	if _, two := n.capitals[small]; two {
		name = "" // nobody can tell which of them is meant
	}
	n.capitals[small] = name
}

// Meant gives the name of the user whom a client means by a name; is tells whether there is
// a user of exactly one. The one that is spelt so comes first, then the one in small
// letters; a name that no user has stays what it is. Deliveries go by the same order.
func (n *Names) Meant(name string, is func(name string) bool) string {
	if is(name) {
		return name
	}
	small := strings.ToLower(name)
	if is(small) {
		return small
	}
	return cmp.Or(n.capitals[small], name)
}

// MasterMark parts a user's name from a master's, as in "alice*admin"; it is in no
// user's own.
const MasterMark = "*"

// CutMaster parts the name of a user from that of a master who comes in as them; ok is false
// for whoever asks for themselves.
func CutMaster(name string) (user, master string, ok bool) {
	i := strings.LastIndex(name, MasterMark)
	if i < 0 {
		return name, "", false
	}
	return name[:i], name[i+len(MasterMark):], true
}

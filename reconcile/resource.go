// Package reconcile compares what a description asks for with what is there,
// says the difference as a Plan, and applies it change by change.
//
// It owns the words (Ref, Resource, Change, Plan), the comparison, the apply
// loop, the inventory of what was applied, and the lock. It knows no kind of
// resource: those are rows of reconcile/kind's table, handed in by cmd. It
// imports nothing of the project.
package reconcile

import (
	"fmt"
	"slices"
)

// Ref names a resource: its kind and its name, such as "file//etc/pam.d/x".
type Ref struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// String gives kind/name.
func (r Ref) String() string { return r.Kind + "/" + r.Name }

// Impact is what a change means to the people connected.
type Impact string

// The impact words, from the lightest to the gravest.
const (
	Live    Impact = "live"    // takes effect at once, nobody notices
	Reload  Impact = "reload"  // the daemon reloads, no connection is lost
	Rebind  Impact = "rebind"  // a listener moves: its connections end
	Restart Impact = "restart" // every connection ends
	Data    Impact = "data"    // mail is concerned
)

// UnmarshalText takes the words alone: a plan that somebody hands over is shown to who
// approves it.
func (i *Impact) UnmarshalText(text []byte) error {
	return oneOf(i, Impact(text), "impact", "", Live, Reload, Rebind, Restart, Data)
}

// oneOf sets *to to a word, which has to be one of some.
func oneOf[T ~string](to *T, word T, what string, words ...T) error {
	if !slices.Contains(words, word) {
		return fmt.Errorf("%q is no %s", string(word), what)
	}
	*to = word
	return nil
}

// Attr is one attribute of a resource. Secret values are never shown and stand
// in a plan only as a keyed digest.
type Attr struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Secret bool   `json:"secret,omitempty"`
	Impact Impact `json:"impact,omitempty"`
	Runs   bool   `json:"runs,omitempty"`   // of what runs, not of what is on disk
	Follow bool   `json:"follow,omitempty"` // somebody else renews it: another value than when it was planned is no change of plan
	Shared bool   `json:"-"`                // other changes of the same run may change it too
}

// Resource is one thing on a host, wanted or found: a plain value that can be
// compared, printed and sent. The attribute "content" is a file's text.
type Resource struct {
	Ref    Ref    `json:"ref"`
	Origin string `json:"origin,omitempty"` // file:line:col of what asked for it; "default"
	Attrs  []Attr `json:"attrs"`            // in the order in which the kind shows them

	// Needs names resources without which this one makes no sense: if one of
	// them fails or is skipped, this one is skipped; if one waits, this one waits.
	Needs []Ref `json:"needs,omitempty"`
	// With names what this one stays as it is with: while one of them that an apply has
	// put in place waits, so does this one, if it differs.
	With []Ref `json:"-"`
	// Blocked says why a wanted resource cannot be applied yet. It is then not
	// compared; what is there stays.
	Blocked *Block `json:"blocked,omitempty"`
	// Unreadable says why a wanted resource cannot be compared, when that is
	// known before anybody looks.
	Unreadable string `json:"unreadable,omitempty"`
}

// Block is what a resource waits for.
type Block struct {
	Reason  string `json:"reason"`
	Command string `json:"command,omitempty"` // what the operator runs to end the wait
}

// Get gives the value of an attribute, "" if there is none of that name.
func (r *Resource) Get(name string) string {
	if r != nil {
		for _, a := range r.Attrs {
			if a.Name == name {
				return a.Value
			}
		}
	}
	return ""
}

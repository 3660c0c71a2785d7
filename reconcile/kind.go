package reconcile

import (
	"context"
	"fmt"
)

// Kind is a row of the table of kinds. Rows stand in the order in which changes
// are made; what goes, goes in the reverse order.
type Kind struct {
	Name string

	// Observe says what is there for each of the asks, in their order. It only
	// reads. The attributes that say where a thing is are taken from the ask
	// and given back as they are.
	Observe func(ctx context.Context, asks []Ask) []Seen

	// Apply makes one change; a change without Want removes. Done twice it
	// does no harm.
	Apply func(ctx context.Context, c Change) error

	// ApplyAll, if there is one, takes the place of Apply where many changes of the
	// kind stand together: it makes them in their order, and gives an error, or nil,
	// for each. None of them needs another.
	ApplyAll func(ctx context.Context, cs []Change) []error
	// Together names the attribute that all changes of one ApplyAll have the same
	// value of; "" is none.
	Together string

	// Settle, if there is one, is called once after the changes of the kind
	// that succeeded, with all of them, for what only makes sense together. It
	// gives an error, or nil, for each of them.
	Settle func(ctx context.Context, cs []Change) []error

	// In names the kind of what each of them needs as the place where it stands; "" is
	// none. Where all that stood in one are gone at once, none is made anew there.
	In string

	HandsOn     bool // a new one may be given files of another: they are asked for with their Kin, and while it waits, none is removed
	Once        bool // ensured once: not looked at again while the inventory has it as it is wanted
	Keep        bool // never removed: leaves the inventory only
	Adopt       bool // named so that nobody else makes it: ours even where the inventory was lost
	Live        bool // what people are connected to: not in the inventory, and the run itself may change it
	DeleteFirst bool // what goes, goes before what comes, because it is in its way
}

// Ask is a resource to look for: as it is wanted, or, where it is to go, as the
// inventory has it.
type Ask struct {
	Resource
	Was []Resource // what the inventory has of it: applied last, or begun and interrupted
	Kin *Kin       // what else there is of its kind; nil: that is not known
}

// Kin is a kind as a whole, for resources that may hand a file on to another one.
type Kin struct {
	Want []Resource // all that are wanted, those that wait too
	Was  []Resource // all that the inventory has
}

// kin gives all there is of a kind.
func kin(k Kind, want []Resource, inv *Inventory) *Kin {
	all := &Kin{}
	for _, r := range want {
		if r.Ref.Kind == k.Name {
			all.Want = append(all.Want, r)
		}
	}
	for _, e := range inv.pick(func(ref Ref) bool { return ref.Kind == k.Name }) {
		all.Was = append(append(all.Was, e.resource()), e.Before...)
	}
	return all
}

// Seen is what there is of a resource: nothing if Have and Err are both nil.
type Seen struct {
	Have    *Resource
	Err     error    // it cannot be read, or is something that must not be touched
	Foreign *Foreign // something in the way bears no mark of ours; nil: nothing is, or it does
}

// Foreign is something in the way of a resource that looks as if somebody else
// had written it. What the inventory has is ours all the same.
type Foreign struct {
	Reason string   `json:"reason"`
	Attrs  []string `json:"attrs,omitempty"` // that it is in the way of; none: of all of it
}

// Kept is the error of an Apply that left a thing in place for a good reason,
// such as a directory that is not empty. It is no failure.
type Kept string

// Error gives the reason.
func (k Kept) Error() string { return string(k) }

// rank gives the row number of each kind.
func rank(table []Kind) map[string]int {
	m := make(map[string]int, len(table))
	for i, k := range table {
		m[k.Name] = i
	}
	return m
}

// checkWanted finds what would make a comparison meaningless: a kind that is
// not in the table, or a resource asked for twice.
func checkWanted(table []Kind, want []Resource) error {
	rows := rank(table)
	origin := make(map[Ref]string, len(want))
	for _, r := range want {
		if _, ok := rows[r.Ref.Kind]; !ok {
			return fmt.Errorf("compare %s: no such kind", r.Ref)
		}
		if first, ok := origin[r.Ref]; ok {
			return fmt.Errorf("compare %s: asked for twice, at %s and %s", r.Ref, first, r.Origin)
		}
		origin[r.Ref] = r.Origin
	}
	return nil
}

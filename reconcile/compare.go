package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Inputs are what a plan is made from.
type Inputs struct {
	Host  string     // its name in the description
	Want  []Resource // from desired.Build, in the order in which a kind's resources are to be made
	Table []Kind
	State string   // state directory with the inventory; "" for none
	Take  []string // patterns of resources that may replace what somebody else wrote

	Inventory *Inventory // where it is known without reading State; nil: read it
}

// Compare looks at the host and says what differs from what is wanted. It writes
// nothing. What cannot be read is in the plan, not in the error.
func Compare(ctx context.Context, in Inputs) (*Plan, error) {
	if err := checkWanted(in.Table, in.Want); err != nil {
		return nil, err
	}
	inv, err := in.inventory()
	var note string
	switch {
	case errors.Is(err, fs.ErrPermission):
		note = fmt.Sprintf("the inventory in %s cannot be read: what would be removed is not in this plan", in.State)
	case err != nil:
		return nil, err
	}
	basis := inv.digest()
	if inv.atWork(in.State) != 0 {
		basis = moving
	}
	seen := observe(ctx, in.Table, in.Want, inv)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := Diff(in, seen, inv)
	p.Inventory = basis
	for _, n := range []string{note, inv.unfinished(in.State)} {
		if n != "" {
			p.Notes = append(p.Notes, n)
		}
	}
	return p, nil
}

func (in Inputs) inventory() (*Inventory, error) {
	if in.Inventory != nil {
		return in.Inventory, nil
	}
	return ReadInventory(in.State)
}

// observe asks the kinds for everything that is wanted or in the inventory, row
// by row, so that a kind that is ensured once can know whether what it stands
// in is there.
func observe(ctx context.Context, table []Kind, want []Resource, inv *Inventory) map[Ref]Seen {
	seen := make(map[Ref]Seen, len(want))
	gone := make(map[string][]entry)
	for _, e := range inv.unwanted(want) {
		gone[e.Ref.Kind] = append(gone[e.Ref.Kind], e)
	}
	for _, k := range table {
		if ctx.Err() != nil {
			break
		}
		asks := remembered(k, want, inv, seen)
		asks = append(asks, leftover(k, gone[k.Name], inv)...)
		if len(asks) == 0 {
			continue
		}
		if k.HandsOn {
			all := kin(k, want, inv)
			for i := range asks {
				asks[i].Kin = all
			}
		}
		found := k.Observe(ctx, asks)
		for i, a := range asks {
			seen[a.Ref] = found[i]
		}
	}
	return seen
}

// remembered gives the wanted resources of a kind that have to be looked for,
// and puts those that need not be into seen as they are wanted.
func remembered(k Kind, want []Resource, inv *Inventory, seen map[Ref]Seen) []Ask {
	var asks []Ask
	for i := range want {
		r := &want[i]
		if r.Ref.Kind != k.Name || r.Blocked != nil || r.Unreadable != "" {
			continue
		}
		if k.Once && inv.holds(r) && !absent(r.Needs, seen) {
			seen[r.Ref] = Seen{Have: r}
			continue
		}
		asks = append(asks, Ask{Resource: *r, Was: inv.was(r.Ref)})
	}
	return asks
}

// absent tells whether any of them was looked for and not found.
func absent(refs []Ref, seen map[Ref]Seen) bool {
	for _, ref := range refs {
		if s, ok := seen[ref]; ok && s.Have == nil && s.Err == nil {
			return true
		}
	}
	return false
}

// leftover gives the resources of a kind that the inventory has and nobody
// wants any more, if the kind removes such.
func leftover(k Kind, gone []entry, inv *Inventory) []Ask {
	if k.Keep || k.Live {
		return nil
	}
	var asks []Ask
	for _, e := range gone {
		asks = append(asks, Ask{Resource: e.resource(), Was: inv.was(e.Ref)})
	}
	return asks
}

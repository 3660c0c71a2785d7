package reconcile

import (
	"fmt"
	"slices"
	"strings"
)

// Drift is what somebody has done to a resource of ours since it was applied.
type Drift struct {
	Reason string `json:"reason"`
	Only   bool   `json:"only,omitempty"` // the description asks for what was applied: there is nothing else to change
}

// drift compares what there is of a resource with what was applied last. Only
// what the inventory has is ours to tell of. What differs from it because the
// description says so now is no drift, nor is what runs or somebody else renews.
// want is nil where it is to go.
func (inv *Inventory) drift(k Kind, ref Ref, want, have *Resource) *Drift {
	e, ok := inv.entry(ref)
	if !ok || e.Pending || k.Live || k.Once {
		return nil
	}
	was := e.resource()
	only := want != nil && !slices.ContainsFunc(differences(&was, want), func(x difference) bool { return !x.Runs && !x.Follow })
	if have == nil {
		if !only {
			return nil // Observe has looked where it is wanted now, and that may be another place
		}
		return &Drift{Reason: "it was removed", Only: true}
	}
	var phrases []string
	for _, x := range differences(&was, have) {
		asked := want != nil && same(Attr{Name: x.Name, Value: want.Get(x.Name)}, Attr{Name: x.Name, Value: x.want})
		if x.Runs || x.Follow || x.Shared || !x.inHave || !x.inWant || asked {
			continue
		}
		phrases = append(phrases, x.sinceApplied())
	}
	if len(phrases) == 0 {
		return nil
	}
	return &Drift{Reason: strings.Join(phrases, "; "), Only: only}
}

// sinceApplied says a difference between what was applied and what is there.
func (x difference) sinceApplied() string {
	if x.Secret || x.Name == contentAttr {
		return x.Name + " is not what was applied"
	}
	return fmt.Sprintf("%s is %s, and was %s", x.Name, show(x.want), show(x.have))
}

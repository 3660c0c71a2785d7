package reconcile

import (
	"slices"
	"strings"
)

// inTheWay gives what somebody else has put where a resource is to be, nil if
// there is nothing, if it is as it should be, or if the operator said that it may
// be replaced.
func (d *differ) inTheWay(want *Resource) *Foreign {
	s := d.seen[want.Ref]
	if s.Foreign == nil || matchAny(d.take, want.Ref) || d.inv.owns(want.Ref, s) {
		return nil
	}
	if s.Have != nil && !slices.ContainsFunc(differences(s.Have, want), func(x difference) bool { return !x.Runs }) {
		return nil
	}
	return s.Foreign
}

// owns tells whether what looks foreign is ours, because the inventory has it. Of
// a part of a resource the kind itself has looked at what the inventory has.
func (inv *Inventory) owns(ref Ref, s Seen) bool {
	return len(s.Foreign.Attrs) == 0 && inv.made(ref, s.Have)
}

// made tells whether an apply has made a resource, or has left a trace of it.
func (inv *Inventory) made(ref Ref, have *Resource) bool {
	e, ok := inv.entry(ref)
	return ok && !e.neverMade(have)
}

// takeCommand is what ends the wait for somebody else's file.
func takeCommand(ref Ref) string {
	return "mailstead apply --take '" + strings.ReplaceAll(ref.String(), "'", `'\''`) + "'"
}

// without gives a resource that lacks attributes.
func (r *Resource) without(names []string) *Resource {
	if r == nil || len(names) == 0 {
		return r
	}
	out := *r
	out.Attrs = slices.DeleteFunc(slices.Clone(r.Attrs), func(a Attr) bool { return slices.Contains(names, a.Name) })
	return &out
}

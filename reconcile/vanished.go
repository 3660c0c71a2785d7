package reconcile

import (
	"fmt"
	"slices"
)

// place is what is known of the resources of a kind that stand in the same one.
type place struct {
	in      Ref
	kept    int  // that were seen to be there once, by the inventory
	some    bool // of them are there now, or cannot be read
	missing []*Resource
}

// vanished gives the resources that are missing where everything of their kind that was
// once in the same place is gone at once: its file system is likelier not mounted, and
// what is made anew would stand below the mount point. One that went alone is made again,
// and so is what the operator takes.
func (d *differ) vanished(table []Kind, want []Resource) map[Ref]Block {
	m := make(map[Ref]Block)
	for _, k := range table {
		if k.In == "" {
			continue
		}
		for _, p := range d.places(k, want) {
			if p.some || p.kept == 0 {
				continue
			}
			for _, r := range p.missing {
				if matchAny(d.take, r.Ref) {
					continue
				}
				m[r.Ref] = Block{Reason: fmt.Sprintf("all that was in %s is gone (%d), whose file system may not be mounted: mount it, or give --take %s to have it made anew, without what was in it",
					p.in.Name, p.kept, k.Name)}
			}
		}
	}
	return m
}

// places gives the places of a kind's resources, in their order.
func (d *differ) places(k Kind, want []Resource) []*place {
	var all []*place
	byRef := make(map[Ref]*place)
	for i := range want {
		r := &want[i]
		at := slices.IndexFunc(r.Needs, func(n Ref) bool { return n.Kind == k.In })
		if r.Ref.Kind != k.Name || at < 0 || r.Blocked != nil || r.Unreadable != "" {
			continue
		}
		p := byRef[r.Needs[at]]
		if p == nil {
			p = &place{in: r.Needs[at]}
			byRef[p.in] = p
			all = append(all, p)
		}
		s := d.seen[r.Ref]
		if s.Have == nil && s.Err == nil {
			p.missing = append(p.missing, r)
		}
		if e, ok := d.inv.entry(r.Ref); ok && e.made() && len(d.moved(r)) == 0 {
			p.kept++
			p.some = p.some || s.Have != nil || s.Err != nil
		}
	}
	return all
}

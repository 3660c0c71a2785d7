package reconcile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Diff says what has to be done so that what was seen becomes what is wanted. It
// is pure: it knows attributes, not kinds.
//
// What is in the inventory and no longer wanted goes, what is in neither is left
// alone. An impact is the gravest of the attributes that differ; of something
// new, of those that are about what runs.
func Diff(in Inputs, seen map[Ref]Seen, inv *Inventory) *Plan {
	table, want := in.Table, in.Want
	d := &differ{
		plan: &Plan{Host: in.Host, Changes: []Change{}, Unchanged: map[string]int{}},
		seen: seen,
		inv:  inv,
		take: in.Take,
	}
	d.blocked = d.blocks(table, want)
	byKind := make(map[string][]*Resource, len(table))
	for i := range want {
		byKind[want[i].Ref.Kind] = append(byKind[want[i].Ref.Kind], &want[i])
	}
	gone := d.unwanted(table, want)
	serving, down := false, false
	for _, k := range table {
		if k.DeleteFirst {
			d.remove(gone[k.Name])
		}
		for _, r := range byKind[k.Name] {
			d.wanted(k, r)
			if k.Live {
				s := seen[r.Ref]
				there := s.Have != nil || s.Err != nil || r.Unreadable != ""
				serving, down = serving || there, down || !there
			}
		}
	}
	for _, k := range slices.Backward(table) {
		if !k.DeleteFirst {
			d.remove(gone[k.Name])
		}
	}
	if down && !serving {
		d.lighten()
	}
	d.kin(table, want)
	return d.plan
}

// kin tells the changes of kinds that hand on what else there is.
func (d *differ) kin(table []Kind, want []Resource) {
	rows, all := rank(table), map[string]*Kin{}
	for i := range d.plan.Changes {
		c := &d.plan.Changes[i]
		k := table[rows[c.Ref.Kind]]
		if !k.HandsOn {
			continue
		}
		if all[k.Name] == nil {
			all[k.Name] = kin(k, want, d.inv)
		}
		c.Kin = all[k.Name]
	}
}

type differ struct {
	plan    *Plan
	seen    map[Ref]Seen
	inv     *Inventory
	take    []string
	blocked map[Ref]Block
}

// blocks gives every resource that waits, also those that need one that does.
func (d *differ) blocks(table []Kind, want []Resource) map[Ref]Block {
	m := d.vanished(table, want)
	for i, r := range want {
		if r.Blocked != nil {
			m[r.Ref] = *r.Blocked
		} else if f := d.inTheWay(&want[i]); f != nil && len(f.Attrs) == 0 {
			m[r.Ref] = Block{Reason: f.Reason, Command: takeCommand(r.Ref)}
		}
	}
	for again := len(m) > 0; again; {
		again = false
		for _, r := range want {
			if _, ok := m[r.Ref]; ok {
				continue
			}
			if n := d.waitsFor(&r, m); n != nil {
				m[r.Ref] = Block{Reason: "waits for " + n.String()}
				again = true
			}
		}
	}
	return m
}

// waitsFor gives one of those that wait for which a resource has to wait too, nil for none.
func (d *differ) waitsFor(r *Resource, waiting map[Ref]Block) *Ref {
	for i := range r.Needs {
		if _, ok := waiting[r.Needs[i]]; ok {
			return &r.Needs[i]
		}
	}
	if s := d.seen[r.Ref]; s.Err != nil || s.Have != nil && len(differences(s.Have, r)) == 0 {
		return nil
	}
	for i := range r.With {
		e, had := d.inv.entry(r.With[i])
		if _, ok := waiting[r.With[i]]; ok && had && e.made() {
			return &r.With[i]
		}
	}
	return nil
}

// wanted compares one resource that is asked for.
func (d *differ) wanted(k Kind, want *Resource) {
	p := d.plan
	if b, ok := d.blocked[want.Ref]; ok {
		p.Blocked = append(p.Blocked, Waiting{Ref: want.Ref, Origin: want.Origin, Reason: b.Reason, Command: b.Command})
		return
	}
	s := d.seen[want.Ref]
	if want.Unreadable != "" || s.Err != nil {
		reason := want.Unreadable
		if reason == "" {
			reason = s.Err.Error()
		}
		p.Unreadable = append(p.Unreadable, Unread{want.Ref, want.Origin, reason})
		return
	}
	if f := d.inTheWay(want); f != nil {
		p.Blocked = append(p.Blocked, Waiting{want.Ref, want.Origin, f.Reason, takeCommand(want.Ref), f.Attrs})
		want, s.Have = want.without(f.Attrs), s.Have.without(f.Attrs)
	}
	moved := d.moved(want)
	diffs := differences(s.Have, want)
	if s.Have != nil && len(diffs) == 0 {
		p.Unchanged[k.Name]++
		d.remember(k, want, s.Have)
		for _, m := range moved {
			p.Notes = append(p.Notes, fmt.Sprintf("%s: %s was %s and is now %s; what is there stays", want.Ref, m.Name, show(m.have), show(m.want)))
		}
		return
	}
	c := d.change(want, s.Have, diffs, moved)
	c.Drift = d.inv.drift(k, want.Ref, want, s.Have)
	if s.Foreign != nil && matchAny(d.take, want.Ref) && !d.inv.owns(want.Ref, s) {
		c.Taken = true
		c.Reason += "; " + s.Foreign.Reason + ", and is replaced"
	}
	p.Changes = append(p.Changes, c)
}

// change says what has to be done to a resource that is missing or differs.
func (d *differ) change(want, have *Resource, diffs, moved []difference) Change {
	c := Change{Ref: want.Ref, Op: Update, Have: have, Want: want, Was: d.inv.was(want.Ref), Origin: want.Origin}
	c.Reason, c.Impact = reason(diffs), gravest(diffs)
	runs := slices.DeleteFunc(slices.Clone(diffs), func(x difference) bool { return !x.Runs })
	if have == nil {
		c.Op, c.Reason, c.Impact = Create, "missing", gravest(runs)
	}
	for _, m := range moved {
		c.Reason += fmt.Sprintf("; %s was %s", m.Name, show(m.have))
		c.Impact = graver(c.Impact, m.Impact)
	}
	if len(runs) == len(diffs) && len(diffs) > 0 {
		c.Op = Action
		if have == nil {
			c.Reason = "not running"
		}
	}
	return c
}

// remember sees to it that the inventory knows of a resource that is in place, if
// that is our doing, is ours by its name, or is to happen only once.
func (d *differ) remember(k Kind, want, have *Resource) {
	if k.Live || !d.inv.behind(want, k.Once || k.Adopt) {
		return
	}
	if e, ok := d.inv.entry(want.Ref); ok && !k.Once && !k.Adopt && e.neverMade(have) {
		d.plan.Forget = append(d.plan.Forget, want.Ref)
		return
	}
	d.plan.Record = append(d.plan.Record, *want)
}

// moved gives the attributes that concern mail and were applied otherwise last
// time. Observe looks where the mail is wanted now; only the inventory knows
// where it was.
func (d *differ) moved(want *Resource) []difference {
	e, ok := d.inv.entry(want.Ref)
	if !ok {
		return nil
	}
	was := e.resource()
	return slices.DeleteFunc(differences(&was, want), func(x difference) bool {
		return x.Impact != Data || !x.inHave || !x.inWant
	})
}

// unwanted sorts what the inventory has and nobody asks for: by kind what goes,
// and what is only forgotten into the plan.
func (d *differ) unwanted(table []Kind, want []Resource) map[string][]Change {
	rows := rank(table)
	gone := make(map[string][]Change)
	heirs := d.heirs(table, want)
	var left []Ref
	for _, e := range d.inv.unwanted(want) {
		row, known := rows[e.Ref.Kind]
		if !known {
			d.plan.Notes = append(d.plan.Notes, fmt.Sprintf("%s: a kind that this version does not know; left alone", e.Ref))
			continue
		}
		s := d.seen[e.Ref]
		keep := table[row].Keep
		switch {
		case s.Err != nil:
			d.plan.Unreadable = append(d.plan.Unreadable, Unread{e.Ref, e.Origin, s.Err.Error()})
		case keep || s.Have != nil && e.neverMade(s.Have):
			left = append(left, e.Ref)
			d.plan.Forget = append(d.plan.Forget, e.Ref)
		case s.Have == nil:
			d.plan.Forget = append(d.plan.Forget, e.Ref)
		case heirs[e.Ref.Kind] != nil:
			d.plan.Blocked = append(d.plan.Blocked, Waiting{Ref: e.Ref, Origin: e.Origin, Reason: "no longer in the description, and stays until there is " + heirs[e.Ref.Kind].String()})
		default:
			gone[e.Ref.Kind] = append(gone[e.Ref.Kind], d.removal(table[row], e, s.Have))
		}
	}
	d.noteLeft(left)
	return gone
}

// heirs gives, of each kind that hands on, the first new one that waits: until it is
// there, what it may be given stays with the one that has it.
func (d *differ) heirs(table []Kind, want []Resource) map[string]*Ref {
	rows, first := rank(table), map[string]*Ref{}
	for i := range want {
		ref := &want[i].Ref
		_, waits := d.blocked[*ref]
		if _, had := d.inv.entry(*ref); waits && !had && first[ref.Kind] == nil && table[rows[ref.Kind]].HandsOn {
			first[ref.Kind] = ref
		}
	}
	return first
}

func (d *differ) removal(k Kind, e entry, have *Resource) Change {
	c := Change{
		Ref: e.Ref, Op: Delete, Have: have, Was: d.inv.was(e.Ref), Origin: e.Origin,
		Reason: "no longer in the description", Impact: gravest(differences(have, nil)),
	}
	if c.Drift = d.inv.drift(k, e.Ref, nil, have); c.Drift != nil {
		c.Reason += "; changed by someone else since it was applied"
	}
	return c
}

// remove plans removals, the last first.
func (d *differ) remove(changes []Change) {
	for _, c := range slices.Backward(changes) {
		d.plan.Changes = append(d.plan.Changes, c)
	}
}

// lighten is for a host on which what is to serve does not: nobody is connected.
func (d *differ) lighten() {
	for i := range d.plan.Changes {
		if c := &d.plan.Changes[i]; c.Impact != Data {
			c.Impact = Live
		}
	}
}

// noteLeft says what stays on the host although it is no longer described.
func (d *differ) noteLeft(left []Ref) {
	const most = 5
	byKind := make(map[string][]string)
	var kinds []string
	for _, ref := range left {
		if byKind[ref.Kind] == nil {
			kinds = append(kinds, ref.Kind)
		}
		byKind[ref.Kind] = append(byKind[ref.Kind], ref.Name)
	}
	for _, k := range kinds {
		names, more := byKind[k], ""
		if len(names) > most {
			more = fmt.Sprintf(" and %d more", len(names)-most)
			names = names[:most]
		}
		d.plan.Notes = append(d.plan.Notes, fmt.Sprintf("no longer described and left as it is: %s %s%s", k, strings.Join(names, ", "), more))
	}
}

// difference is an attribute that is not the same on both sides.
type difference struct {
	Attr           // of the wanted side, or of the only one
	have, want     string
	inHave, inWant bool
}

// differences compares attribute by attribute, in the order of the wanted side.
func differences(have, want *Resource) []difference {
	var out []difference
	old := attrs(have)
	for _, a := range attrs(want) {
		i := slices.IndexFunc(old, func(o Attr) bool { return o.Name == a.Name })
		switch {
		case i < 0:
			out = append(out, difference{Attr: a, want: a.Value, inWant: true})
		case !same(old[i], a):
			out = append(out, difference{Attr: a, have: old[i].Value, want: a.Value, inHave: true, inWant: true})
		}
	}
	for _, o := range old {
		if !slices.ContainsFunc(attrs(want), func(a Attr) bool { return a.Name == o.Name }) {
			out = append(out, difference{Attr: o, have: o.Value, inHave: true})
		}
	}
	return out
}

func attrs(r *Resource) []Attr {
	if r == nil {
		return nil
	}
	return r.Attrs
}

// same compares values; one of them may be the inventory's digest of a content.
func same(a, b Attr) bool {
	return a.Value == b.Value || brief(a) == brief(b)
}

func graver(a, b Impact) Impact {
	order := []Impact{Live, Reload, Rebind, Restart, Data}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

func gravest(diffs []difference) Impact {
	impact := Live
	for _, x := range diffs {
		impact = graver(impact, x.Impact)
	}
	return impact
}

// reason says differences in words.
func reason(diffs []difference) string {
	phrases := make([]string, len(diffs))
	for i, x := range diffs {
		phrases[i] = x.phrase()
	}
	return strings.Join(phrases, "; ")
}

func (x difference) phrase() string {
	const long = 80
	switch {
	case !x.inHave && (x.Secret || len(x.want) > long):
		return "no " + x.Name
	case !x.inHave:
		return fmt.Sprintf("no %s, want %s", x.Name, show(x.want))
	case x.Secret || x.Name == contentAttr || len(x.have) > long || len(x.want) > long:
		return x.Name + " differs"
	case !x.inWant:
		return fmt.Sprintf("%s %s, want none", x.Name, show(x.have))
	}
	return fmt.Sprintf("%s %s, want %s", x.Name, show(x.have), show(x.want))
}

// show makes a value that may come from a hostile place fit for one line of a
// terminal. Of a digest the beginning is enough.
func show(v string) string {
	const digits = 12
	if len(v) >= 32 && !strings.ContainsFunc(v, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) }) {
		return v[:digits]
	}
	if v == "" || strings.ContainsFunc(v, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(v)
	}
	return v
}

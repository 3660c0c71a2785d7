package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"mailstead/reconcile"
)

// fleetGroup is what some of several hosts have in common. Where they are more
// than one, hostMark stands for the name of each.
type fleetGroup struct {
	hosts   []int // places in the list of plans
	changes []fleetEntry
	waiting []fleetEntry
	unread  []fleetEntry
	people  []string // what it means to people
	notes   []string
}

// fleetEntry is one line of a group.
type fleetEntry struct {
	entry
	change  *reconcile.Change // of the first host
	command string
}

// fleetItem is a line on its way into a group.
type fleetItem struct {
	hosts   []int
	origins map[string]bool
	put     func(g *fleetGroup, name string, origins int)
}

// fleetItems collects equal lines of several hosts.
type fleetItems struct {
	byKey map[string]*fleetItem
	order []*fleetItem
}

func (f *fleetItems) add(host int, origin string, put func(*fleetGroup, string, int), key ...string) {
	k := strings.Join(key, "\x00")
	item := f.byKey[k]
	if item == nil {
		item = &fleetItem{origins: map[string]bool{}, put: put}
		f.byKey[k] = item
		f.order = append(f.order, item)
	}
	item.origins[origin] = true
	if n := len(item.hosts); n == 0 || item.hosts[n-1] != host {
		item.hosts = append(item.hosts, host)
	}
}

// groupPlans collapses equal changes: those of most hosts come first.
func groupPlans(plans []hostPlan) []*fleetGroup {
	items := &fleetItems{byKey: map[string]*fleetItem{}}
	for i, p := range plans {
		if p.err == nil {
			items.addPlan(i, p)
		}
	}
	bySet := map[string]*fleetGroup{}
	var groups []*fleetGroup
	for _, item := range items.order {
		set := fmt.Sprint(item.hosts)
		g := bySet[set]
		if g == nil {
			g = &fleetGroup{hosts: item.hosts}
			bySet[set] = g
			groups = append(groups, g)
		}
		name := ""
		if len(g.hosts) > 1 {
			name = plans[g.hosts[0]].plan.Host
		}
		item.put(g, name, len(item.origins))
	}
	slices.SortStableFunc(groups, func(a, b *fleetGroup) int {
		return cmp.Or(cmp.Compare(len(b.hosts), len(a.hosts)), slices.Compare(a.hosts, b.hosts))
	})
	return groups
}

func (f *fleetItems) addPlan(i int, p hostPlan) {
	host := p.plan.Host
	for n := range p.plan.Changes {
		c := &p.plan.Changes[n]
		symbol := symbols[c.Op]
		e := fleetEntry{change: c, entry: entry{sign: symbol.sign, paint: symbol.paint, ref: c.Ref, origin: c.Origin, reason: c.Reason, impact: c.Impact}}
		f.add(i, c.Origin, func(g *fleetGroup, name string, origins int) {
			g.changes = append(g.changes, e.common(name, origins))
		}, "change", p.steps[n].Alike, generalRef(c.Ref, host), string(c.Op), generalReason(c.Reason, host), string(c.Impact))
	}
	for _, b := range p.plan.Blocked {
		e := fleetEntry{command: b.Command, entry: entry{sign: "?", paint: yellow, ref: b.Ref, origin: b.Origin, reason: b.Reason}}
		f.add(i, b.Origin, func(g *fleetGroup, name string, origins int) {
			g.waiting = append(g.waiting, e.common(name, origins))
		}, "waiting", generalRef(b.Ref, host), generalReason(b.Reason, host), generalize(b.Command, host))
	}
	for _, u := range p.plan.Unreadable {
		e := fleetEntry{entry: entry{sign: "?", paint: red, ref: u.Ref, origin: u.Origin, reason: u.Reason}}
		f.add(i, u.Origin, func(g *fleetGroup, name string, origins int) {
			g.unread = append(g.unread, e.common(name, origins))
		}, "unread", generalRef(u.Ref, host), generalReason(u.Reason, host))
	}
	for _, line := range linesOfPeople(&p.plan.Plan) {
		f.add(i, "", func(g *fleetGroup, _ string, _ int) { g.people = append(g.people, line) }, "people", line)
	}
	for _, note := range p.plan.Notes {
		f.add(i, "", func(g *fleetGroup, name string, _ int) {
			if name != "" {
				note = generalize(note, name)
			}
			g.notes = append(g.notes, note)
		}, "note", generalize(note, host))
	}
}

// linesOfPeople says what a plan means to people.
func linesOfPeople(p *reconcile.Plan) []string {
	if p.People == nil || len(p.Changes) == 0 {
		return nil
	}
	lines := peopleLines(p.People)
	for i := range lines {
		lines[i] = "People: " + lines[i]
	}
	if line := inboxLine(p.People); line != "" {
		lines = append(lines, "INBOX: "+line)
	}
	for _, line := range brakeLines(p.People) {
		lines = append(lines, "Brake: "+line)
	}
	return lines
}

func generalRef(r reconcile.Ref, host string) string { return generalize(r.String(), host) }

// generalReason takes the digests out that a reason shows, too.
func generalReason(reason, host string) string {
	return shownDigest.ReplaceAllString(generalize(reason, host), "<digest>")
}

// common is an entry as it stands for several hosts, of which one has the name;
// without a name it stands for one.
func (e fleetEntry) common(name string, origins int) fleetEntry {
	if name == "" {
		return e
	}
	e.ref.Name = generalize(e.ref.Name, name)
	e.reason = generalReason(e.reason, name)
	e.command = generalize(e.command, name)
	if origins > 1 {
		e.origin += fmt.Sprintf(" +%d", origins-1)
	}
	return e
}

// writeFleet writes the plans of several hosts for people.
func writeFleet(c *console, w io.Writer, plans []hostPlan, verbose bool) {
	marked := false
	for _, g := range groupPlans(plans) {
		fmt.Fprintf(w, "%s\n", c.paint(bold, visible(groupTitle(plans, g, verbose))))
		marked = writeGroup(c, w, g, verbose) || marked
		fmt.Fprintln(w)
	}
	var after strings.Builder
	if marked {
		fmt.Fprintf(&after, "%s stands for the name of each host.\n", hostMark)
	}
	if still := unchangedHosts(plans); len(still) > 0 {
		fmt.Fprintf(&after, "Without changes: %s.\n", visible(someNames(still, verbose)))
	}
	writeUnplanned(c, &after, plans)
	if after.Len() > 0 {
		fmt.Fprintln(&after)
	}
	fmt.Fprintf(w, "%s%s\n", after.String(), c.paint(bold, fleetLine(plans)))
}

func groupTitle(plans []hostPlan, g *fleetGroup, verbose bool) string {
	names := make([]string, len(g.hosts))
	for i, n := range g.hosts {
		names[i] = plans[n].host.Name
	}
	if len(names) == 1 {
		return names[0]
	}
	return fmt.Sprintf("on %d hosts: %s", len(names), someNames(names, verbose))
}

// someNames lists names; of many the first ones, unless all are asked for.
func someNames(names []string, all bool) string {
	const most = 8
	if all || len(names) <= most+1 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// writeGroup tells whether it wrote hostMark.
func writeGroup(c *console, w io.Writer, g *fleetGroup, verbose bool) bool {
	var b strings.Builder
	said := map[string]bool{} // what waits for one thing has one command
	write := func(title string, list []fleetEntry) {
		if len(list) == 0 {
			return
		}
		if title != "" {
			fmt.Fprintf(&b, "  %s\n", title)
		}
		entries := make([]entry, len(list))
		for i, e := range list {
			entries[i] = e.entry
			switch {
			case e.change != nil && verbose:
				entries[i].below = func() { writeAttrs(c, &b, *e.change) }
			case e.command != "" && !said[e.command]:
				said[e.command] = true
				entries[i].below = func() { fmt.Fprintf(&b, "      %s\n", c.paint(bold, visible(e.command))) }
			}
		}
		writeEntries(c, &b, entries)
	}
	write("", g.changes)
	write("Waiting for something that only you can do:", g.waiting)
	write("Not compared, and left as it is:", g.unread)
	for _, line := range g.people {
		fmt.Fprintf(&b, "  %s\n", visible(line))
	}
	for _, note := range g.notes {
		fmt.Fprintf(&b, "  Note: %s\n", visible(note))
	}
	io.WriteString(w, b.String())
	return strings.Contains(b.String(), hostMark)
}

// unchangedHosts names the hosts of which a plan says nothing.
func unchangedHosts(plans []hostPlan) []string {
	var names []string
	for _, p := range plans {
		if p.err == nil && len(p.plan.Changes)+len(p.plan.Blocked)+len(p.plan.Unreadable) == 0 {
			names = append(names, p.host.Name)
		}
	}
	return names
}

// writeUnplanned says which hosts have no plan, and why.
func writeUnplanned(c *console, w io.Writer, plans []hostPlan) {
	for _, p := range plans {
		if p.err == nil {
			continue
		}
		fmt.Fprintf(w, "%s\n", c.paint(red, "Not planned: "+visible(p.host.Name)))
		for line := range strings.Lines(errorText(p.err)) {
			fmt.Fprintf(w, "  %s\n", visible(strings.TrimSuffix(line, "\n")))
		}
		for _, h := range hints(p.err) {
			fmt.Fprintf(w, "  hint: %s\n", visibleLines(h))
		}
	}
}

// fleetLine is the last line of the plan of several hosts.
func fleetLine(plans []hostPlan) string {
	total := reconcile.Plan{}
	pending, failed := 0, 0
	for _, p := range plans {
		if p.err != nil {
			failed++
			continue
		}
		if !p.plan.Empty() {
			pending++
		}
		addPlan(&total, &p.plan.Plan)
	}
	line := fmt.Sprintf("%s, %d with changes", counts(len(plans), "hosts"), pending)
	if failed > 0 {
		line += fmt.Sprintf(", %d not planned", failed)
	}
	return line + ". " + sumLine(&total)
}

// addPlan adds up what a summary counts.
func addPlan(total, p *reconcile.Plan) {
	total.Changes = append(total.Changes, p.Changes...)
	total.Blocked = append(total.Blocked, p.Blocked...)
	total.Unreadable = append(total.Unreadable, p.Unreadable...)
	total.Record = append(total.Record, p.Record...)
	total.Forget = append(total.Forget, p.Forget...)
	if total.Unchanged == nil {
		total.Unchanged = map[string]int{}
	}
	for kind, n := range p.Unchanged {
		total.Unchanged[kind] += n
	}
}

// unplannedJSON is a host without a plan.
type unplannedJSON struct {
	Host     string `json:"host"`
	Error    string `json:"error"`
	ExitCode int    `json:"exit_code"`
}

// writeFleetJSON writes the plans of several hosts for programs. Secrets are
// digests in them already, each under the key of its host.
func writeFleetJSON(w io.Writer, plans []hostPlan) error {
	out := struct {
		FormatVersion int                `json:"format_version"`
		Hosts         []*reconcile.Saved `json:"hosts"`
		Failed        []unplannedJSON    `json:"failed"`
	}{reconcile.PlanFormat, []*reconcile.Saved{}, []unplannedJSON{}}
	for _, p := range plans {
		if p.err != nil {
			out.Failed = append(out.Failed, unplannedJSON{p.host.Name, errorText(p.err), exitCodeOf(p.err)})
			continue
		}
		out.Hosts = append(out.Hosts, p.plan)
	}
	return writeJSON(w, out)
}

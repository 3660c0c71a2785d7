package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"mailstead/reconcile"
)

// ops and impacts are the orders in which a summary counts.
var (
	ops = []struct {
		op   reconcile.Op
		said string
	}{
		{reconcile.Create, "to create"},
		{reconcile.Update, "to change"},
		{reconcile.Delete, "to remove"},
		{reconcile.Action, "to bring into force"},
	}
	impacts = []reconcile.Impact{reconcile.Live, reconcile.Reload, reconcile.Rebind, reconcile.Restart, reconcile.Data}
)

// summary counts what a plan holds.
type summary struct {
	Changes    map[reconcile.Op]int     `json:"changes"`
	Impacts    map[reconcile.Impact]int `json:"impacts"`
	Waiting    int                      `json:"waiting"`
	Unreadable int                      `json:"unreadable"`
	Unchanged  int                      `json:"unchanged"`
}

func summarize(p *reconcile.Plan) summary {
	s := summary{
		Changes:    make(map[reconcile.Op]int),
		Impacts:    make(map[reconcile.Impact]int),
		Waiting:    len(p.Blocked),
		Unreadable: len(p.Unreadable),
	}
	for _, c := range p.Changes {
		s.Changes[c.Op]++
		s.Impacts[c.Impact]++
	}
	for _, n := range p.Unchanged {
		s.Unchanged += n
	}
	return s
}

// writePlan writes a plan for people.
func writePlan(c *console, w io.Writer, p *reconcile.Plan, verbose bool) {
	fmt.Fprintln(w, c.paint(bold, visible(p.Host)))
	wanted, drifted := partDrift(p.Changes)
	writeChanges(c, w, wanted, verbose)
	writeUnchanged(c, w, p.Unchanged)
	writeDrift(c, w, drifted, verbose)
	writeWaiting(c, w, p.Blocked)
	writeUnread(c, w, p.Unreadable)
	writeAside(c, w, "Deferred, because something that it needs is left out:", p.Deferred)
	writeAside(c, w, "Left out by --only and --except:", p.LeftOut)
	if len(p.Notes) > 0 {
		fmt.Fprintln(w)
		for _, note := range p.Notes {
			fmt.Fprintf(w, "Note: %s\n", visible(note))
		}
	}
	writePeople(c, w, p.People)
	fmt.Fprintf(w, "\n%s\n", c.paint(bold, sumLine(p)))
}

func writeWaiting(c *console, w io.Writer, blocked []reconcile.Waiting) {
	if len(blocked) == 0 {
		return
	}
	fmt.Fprintln(w, "\nWaiting for something that only you can do:")
	entries := make([]entry, len(blocked))
	said := map[string]bool{} // what waits for one thing has one command
	for i, b := range blocked {
		entries[i] = entry{sign: "?", paint: yellow, ref: b.Ref, origin: b.Origin, reason: b.Reason}
		if b.Command != "" && !said[b.Command] {
			said[b.Command] = true
			entries[i].below = func() { fmt.Fprintf(w, "      %s\n", c.paint(bold, visible(b.Command))) }
		}
	}
	writeEntries(c, w, entries)
}

func writeUnread(c *console, w io.Writer, unread []reconcile.Unread) {
	if len(unread) == 0 {
		return
	}
	fmt.Fprintln(w, "\nNot compared, and left as it is:")
	entries := make([]entry, len(unread))
	for i, u := range unread {
		entries[i] = entry{sign: "?", paint: red, ref: u.Ref, origin: u.Origin, reason: u.Reason}
	}
	writeEntries(c, w, entries)
}

// maxAside is how many changes are named that are not going to be made.
const maxAside = 20

func writeAside(c *console, w io.Writer, title string, list []reconcile.Aside) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", title)
	entries := make([]entry, min(len(list), maxAside))
	for i := range entries {
		entries[i] = entry{sign: ".", paint: faint, ref: list[i].Ref, origin: list[i].Origin, reason: list[i].Reason}
	}
	writeEntries(c, w, entries)
	if more := len(list) - len(entries); more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
}

func writeUnchanged(c *console, w io.Writer, unchanged map[string]int) {
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(unchanged)) {
		if n := unchanged[kind]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, visible(kind)))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(w, "  %s\n", c.paint(faint, "= unchanged: "+strings.Join(parts, ", ")))
	}
}

// sumLine is the last line of a plan.
func sumLine(p *reconcile.Plan) string {
	s := summarize(p)
	var b strings.Builder
	switch {
	case len(p.Changes) > 0:
		parts := make([]string, len(ops))
		for i, o := range ops {
			parts[i] = fmt.Sprintf("%d %s", s.Changes[o.op], o.said)
		}
		fmt.Fprintf(&b, "Plan: %s; %d unchanged.", strings.Join(parts, ", "), s.Unchanged)
	case !p.Empty():
		fmt.Fprintf(&b, "Plan: only what is remembered changes; %d unchanged.", s.Unchanged)
	default:
		fmt.Fprintf(&b, "No changes; %d unchanged.", s.Unchanged)
	}
	if n := len(p.LeftOut) + len(p.Deferred); n > 0 {
		fmt.Fprintf(&b, " Left out: %d.", n)
	}
	if s.Waiting > 0 {
		fmt.Fprintf(&b, " Waiting: %d.", s.Waiting)
	}
	if s.Unreadable > 0 {
		fmt.Fprintf(&b, " Not read: %d.", s.Unreadable)
	}
	var felt []string
	for _, impact := range impacts {
		if n := s.Impacts[impact]; n > 0 {
			felt = append(felt, fmt.Sprintf("%d %s", n, impact))
		}
	}
	if len(felt) > 0 {
		fmt.Fprintf(&b, " Impact: %s.", strings.Join(felt, ", "))
	}
	return b.String()
}

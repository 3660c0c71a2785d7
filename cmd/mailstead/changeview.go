package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/diff"

	"mailstead/reconcile"
)

// symbols are what stands before a change, and in which colour.
var symbols = map[reconcile.Op]struct {
	sign  string
	paint paint
}{
	reconcile.Create: {"+", green},
	reconcile.Update: {"~", yellow},
	reconcile.Delete: {"-", red},
	reconcile.Action: {"!", cyan},
}

// impactPaints makes the impacts that people notice stand out.
var impactPaints = map[reconcile.Impact]paint{
	reconcile.Rebind:  yellow,
	reconcile.Restart: red,
	reconcile.Data:    red,
}

// contentAttr is the attribute that holds a file's text.
const contentAttr = "content"

// tab is how a tabulator of a file is shown.
const tab = "    "

// maxColumn bounds a column; what is longer pushes its own line only.
const maxColumn = 64

// entry is one line about a resource, and what may stand below it.
type entry struct {
	sign   string
	paint  paint // of the sign
	ref    reconcile.Ref
	origin string
	reason string
	impact reconcile.Impact
	below  func()
}

// writeEntries writes one line for each entry, in columns.
func writeEntries(c *console, w io.Writer, entries []entry) {
	var widths [3]int
	rows := make([][3]string, len(entries))
	for i, e := range entries {
		rows[i] = [3]string{visible(e.ref.String()), visible(e.origin), visible(e.reason)}
		for col, text := range rows[i] {
			widths[col] = max(widths[col], min(utf8.RuneCountInString(text), maxColumn))
		}
	}
	for i, e := range entries {
		fmt.Fprintf(w, "  %s %-*s  %s  ", c.paint(e.paint, e.sign), widths[0], rows[i][0],
			c.paint(faint, fmt.Sprintf("%-*s", widths[1], rows[i][1])))
		if e.impact == "" {
			fmt.Fprintln(w, rows[i][2])
		} else {
			fmt.Fprintf(w, "%-*s  %s\n", widths[2], rows[i][2], c.paint(impactPaints[e.impact], string(e.impact)))
		}
		if e.below != nil {
			e.below()
		}
	}
}

// writeChanges writes a line for each change and, if verbose, its attributes
// below it. Else what comes new in large numbers and nobody notices, as everybody's
// folders on a new host, is counted after the first of them.
func writeChanges(c *console, w io.Writer, changes []reconcile.Change, verbose bool) {
	var entries []entry
	alike := map[likeness]int{}
	if !verbose {
		for _, change := range changes {
			alike[like(change)]++
		}
	}
	told := map[likeness]int{}
	for _, change := range changes {
		symbol := symbols[change.Op]
		e := entry{sign: symbol.sign, paint: symbol.paint, ref: change.Ref,
			origin: change.Origin, reason: changeReason(change), impact: change.Impact}
		if verbose {
			e.below = func() { writeAttrs(c, w, change) }
		}
		l := like(change)
		told[l]++
		switch more := alike[l] - manyTold; {
		case l == likeness{} || alike[l] < many || told[l] < manyTold:
		case told[l] == manyTold:
			e.below = func() {
				fmt.Fprintf(w, "  %s and %d more of %s: %s (-v names them)\n", c.paint(symbol.paint, symbol.sign), more, visible(l.kind), visible(l.reason))
			}
		default:
			continue
		}
		entries = append(entries, e)
	}
	writeEntries(c, w, entries)
}

// From many on, changes that are alike are told by the first manyTold of them.
const (
	many     = 200
	manyTold = 10
)

// likeness is what changes have in common that are counted; the zero value is of
// those that are not.
type likeness struct{ kind, reason string }

func like(c reconcile.Change) likeness {
	if c.Op != reconcile.Create || c.Impact != reconcile.Live || c.Stale != "" {
		return likeness{}
	}
	return likeness{c.Ref.Kind, c.Reason}
}

// changeReason says why a change is made, or why it is not going to be.
func changeReason(c reconcile.Change) string {
	if c.Stale != "" {
		return "left alone, changed since the plan was made: " + c.Stale
	}
	return c.Reason
}

// writeAttrs writes what differs between what is there and what is wanted.
func writeAttrs(c *console, w io.Writer, change reconcile.Change) {
	have, want := attrs(change.Have), attrs(change.Want)
	for _, name := range attrNames(change) {
		old, isOld := have[name]
		new, isNew := want[name]
		said := visible(name)
		switch {
		case change.Op == reconcile.Update && old.Value == new.Value && isOld == isNew:
			// What stays as it is would hide what does not.
		case name == contentAttr && !old.Secret && !new.Secret:
			writeDiff(c, w, change, old.Value, new.Value)
		case isOld && isNew && old.Value == new.Value:
			fmt.Fprintf(w, "      %s: %s\n", said, shown(new))
		case isOld && isNew && (old.Secret || new.Secret):
			fmt.Fprintf(w, "      %s: %s, another one than now\n", said, reconcile.Hidden)
		case isOld && isNew:
			fmt.Fprintf(w, "      %s: %s -> %s\n", said, shown(old), shown(new))
		case isNew:
			fmt.Fprintf(w, "      %s: %s\n", said, shown(new))
		case isOld:
			fmt.Fprintf(w, "      %s: was %s\n", said, shown(old))
		}
	}
}

// writeDiff writes a file's change as a unified diff.
func writeDiff(c *console, w io.Writer, change reconcile.Change, old, new string) {
	from, to := change.Ref.Name, change.Ref.Name
	if change.Have == nil {
		from = "/dev/null"
	}
	if change.Want == nil {
		to = "/dev/null"
	}
	text := diff.Diff(from, []byte(old), to, []byte(new))
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "diff ") {
			continue
		}
		fmt.Fprintf(w, "      %s\n", c.paint(diffPaint(line), visible(strings.ReplaceAll(line, "\t", tab))))
	}
}

func diffPaint(line string) paint {
	switch {
	case strings.HasPrefix(line, "@@"):
		return cyan
	case strings.HasPrefix(line, "+"):
		return green
	case strings.HasPrefix(line, "-"):
		return red
	}
	return ""
}

// shown is the value of an attribute on one line, without secrets.
func shown(a reconcile.Attr) string {
	switch {
	case a.Secret:
		return reconcile.Hidden
	case a.Value == "":
		return "(none)"
	case strings.Contains(a.Value, "\n"):
		return fmt.Sprintf("(%d bytes)", len(a.Value))
	}
	return visible(a.Value)
}

func attrs(r *reconcile.Resource) map[string]reconcile.Attr {
	if r == nil {
		return nil
	}
	byName := make(map[string]reconcile.Attr, len(r.Attrs))
	for _, a := range r.Attrs {
		byName[a.Name] = a
	}
	return byName
}

// attrNames are the attributes of both sides in the order of the kind.
func attrNames(change reconcile.Change) []string {
	var names []string
	seen := map[string]bool{}
	for _, r := range []*reconcile.Resource{change.Want, change.Have} {
		if r == nil {
			continue
		}
		for _, a := range r.Attrs {
			if !seen[a.Name] {
				seen[a.Name] = true
				names = append(names, a.Name)
			}
		}
	}
	return names
}

package main

import (
	"fmt"
	"io"
	"strings"

	"mailstead/reconcile"
)

// maxDrift is how many lines of a file's difference are shown of drift; verbose
// shows all of them.
const maxDrift = 12

// partDrift parts what the description changes from what somebody else did.
func partDrift(changes []reconcile.Change) (wanted, drifted []reconcile.Change) {
	for _, c := range changes {
		if c.Drift == nil {
			wanted = append(wanted, c)
		} else {
			drifted = append(drifted, c)
		}
	}
	return wanted, drifted
}

// writeDrift writes what somebody has changed of ours, and what is done about it.
func writeDrift(c *console, w io.Writer, changes []reconcile.Change, verbose bool) {
	if len(changes) == 0 {
		return
	}
	fmt.Fprintln(w, "\nChanged by someone else since it was applied:")
	entries := make([]entry, len(changes))
	for i, change := range changes {
		symbol := symbols[change.Op]
		entries[i] = entry{sign: symbol.sign, paint: symbol.paint, ref: change.Ref, origin: change.Origin,
			reason: driftReason(change), impact: change.Impact, below: func() { writeDriftBelow(c, w, change, verbose) }}
	}
	writeEntries(c, w, entries)
}

func driftReason(c reconcile.Change) string {
	switch {
	case c.Stale != "":
		return changeReason(c)
	case c.Drift.Only:
		return c.Drift.Reason + "; is put back"
	case c.Op == reconcile.Delete:
		return c.Drift.Reason + "; is removed"
	}
	return c.Drift.Reason + "; " + c.Reason
}

// writeDriftBelow shows how a file was edited. What was applied is known if the
// description asks for the same again; otherwise verbose shows what is to come.
func writeDriftBelow(c *console, w io.Writer, change reconcile.Change, verbose bool) {
	have, want := attrs(change.Have)[contentAttr], attrs(change.Want)[contentAttr]
	switch {
	case !change.Drift.Only:
		if verbose {
			writeAttrs(c, w, change)
		}
		return
	case change.Have == nil || have.Secret || want.Secret || have.Value == want.Value:
		return
	}
	var text strings.Builder
	edited := change
	edited.Have, edited.Want = change.Want, change.Have
	writeDiff(c, &text, edited, want.Value, have.Value)
	n := 0
	for line := range strings.Lines(text.String()) {
		if n++; n > maxDrift && !verbose {
			fmt.Fprintf(w, "      %s\n", c.paint(faint, "... (-v shows all of it)"))
			return
		}
		io.WriteString(w, line)
	}
}

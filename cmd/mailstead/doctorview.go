package main

import (
	"fmt"
	"strings"

	"mailstead/reconcile/doctor"
)

// severityPaints makes the graver findings stand out.
var severityPaints = map[doctor.Severity]paint{doctor.Error: red, doctor.Warning: yellow, doctor.Note: faint}

// write writes what was found.
func (u *checkup) write() error {
	if u.o.output == outputJSON {
		return writeJSON(u.c.out, u.Report)
	}
	c := u.c
	for _, f := range u.Findings {
		fmt.Fprintf(c.out, "%s  %s: %s\n", c.paint(severityPaints[f.Severity], fmt.Sprintf("%-7s", f.Severity)), c.paint(bold, visible(f.Subject)), visible(f.Seen))
		fmt.Fprintf(c.out, "         %s\n", visible(f.Meaning))
		fmt.Fprintf(c.out, "         %s\n", visible(f.Remedy))
		fmt.Fprintf(c.out, "         %s\n\n", c.paint(faint, visible(strings.TrimPrefix(f.Origin+"  ", "  ")+string(f.Code))))
	}
	for _, l := range u.Looked {
		if l.Skipped != "" {
			fmt.Fprintf(c.out, "Not looked at: %s: %s.\n", visible(l.What), visible(l.Skipped))
		}
	}
	if n := len(u.Mends()); n > 0 && u.o.plan == "" {
		fmt.Fprintf(c.out, "An apply would mend %s: \"mailstead doctor --plan ./mend.plan\" saves the plan of that.\n", counts(n, "resources"))
	}
	_, err := fmt.Fprintf(c.out, "%s: %s, seen from %s. Looked at %s.\n", c.paint(bold, visible(u.Host)), u.verdict(), u.Side, u.looked())
	return err
}

func (u *checkup) verdict() string {
	if u.Errors+u.Warnings+u.Notes == 0 {
		return "nothing found"
	}
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{u.Errors, "errors"}, {u.Warnings, "warnings"}, {u.Notes, "notes"}} {
		if p.n > 0 {
			parts = append(parts, counts(p.n, p.what))
		}
	}
	return strings.Join(parts, ", ")
}

func (u *checkup) looked() string {
	var parts []string
	for _, l := range u.Looked {
		if l.Skipped == "" {
			parts = append(parts, counts(l.Count, l.What))
		}
	}
	return strings.Join(parts, ", ")
}

// counts writes a number of things whose name is given in the plural.
func counts(n int, things string) string {
	if n == 1 {
		first, rest, _ := strings.Cut(things, " ")
		if first = strings.TrimSuffix(first, "s"); first == "processe" {
			first = "process"
		}
		things = strings.TrimSpace(first + " " + rest)
	}
	return fmt.Sprintf("%d %s", n, things)
}

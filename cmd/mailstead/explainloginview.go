package main

import (
	"fmt"
	"strings"

	"mailstead/imapserver/control"
)

// camePaints makes the end of the way stand out.
var camePaints = map[string]paint{control.StepOK: green, control.StepPassed: faint, control.StepEnds: red, control.StepUntold: yellow}

// write writes the way for people.
func (w *loginWalk) write(c *console) error {
	where := fmt.Sprintf("%s, at listener %s", c.paint(bold, visible(w.User)), visible(w.Listener))
	if w.From != "" {
		where += ", from " + visible(w.From)
	}
	fmt.Fprintf(c.out, "%s\n\n", where)
	width := 0
	for _, s := range w.Steps {
		width = max(width, len(visible(s.Step)))
	}
	for _, s := range w.Steps {
		fmt.Fprintf(c.out, "  %s  %-*s  %s  %s\n", c.paint(camePaints[s.Came], fmt.Sprintf("%-6s", s.Came)), width, visible(s.Step), visible(s.Seen), c.paint(faint, visible(s.Origin)))
		if s.Remedy != "" {
			fmt.Fprintf(c.out, "          %*s%s\n", width+2, "", visible(s.Remedy))
		}
	}
	_, err := fmt.Fprintf(c.out, "\n%s\n", c.paint(bold, w.end()))
	return err
}

// end says in a line where the way ends.
func (w *loginWalk) end() string {
	untold := 0
	for _, s := range w.Steps {
		if s.Step == w.Ends && s.Came == control.StepEnds {
			return fmt.Sprintf("It ends at %s: %s.", visible(s.Step), strings.TrimSuffix(visible(s.Seen), "."))
		}
		if s.Came == control.StepUntold {
			untold++
		}
	}
	if untold > 0 {
		return fmt.Sprintf("Nothing is in the way, as far as could be told: %s were not.", counts(untold, "steps"))
	}
	if w.password == "" {
		return "Nothing is in the way, if the password is right."
	}
	return "Nothing is in the way: the login arrives."
}

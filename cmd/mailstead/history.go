package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func newHistoryCommand() *cobra.Command {
	var state, output string
	cmd := &cobra.Command{
		Use:   "history",
		Short: "list what was applied, when and by whom",
		Long: `Lists the generations of this host: a number for each apply that changed
something, when and by whom it was made, what it changed, and what came of it.
"*" marks the one in force. The oldest are removed in time.` + exitStatus(exitDone, exitFailed),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if _, err := os.Stat(state); errors.Is(err, fs.ErrNotExist) && state != defaultState {
				return notYet(state)
			}
			h, err := readHistory(generationsOf(state))
			if err != nil {
				return err
			}
			c := newConsole(cmd)
			if output == outputJSON {
				return writeJSON(c.out, h)
			}
			return writeHistory(c, h)
		},
	}
	addState(cmd, &state)
	addOutput(cmd, &output)
	return cmd
}

// history is every generation, the newest first.
type history struct {
	Current     int           `json:"current"`          // 0: none
	Trying      *attempt      `json:"trying,omitempty"` // cut short, or at work
	Generations []*generation `json:"generations"`
}

func readHistory(g generations) (*history, error) {
	h := &history{Generations: []*generation{}}
	var err error
	if h.Current, err = g.current(); err != nil {
		return nil, err
	}
	if h.Trying, err = g.trying(); err != nil {
		return nil, err
	}
	all, err := g.list()
	if err != nil {
		return nil, err
	}
	for _, n := range slices.Backward(all) {
		gen, err := g.read(n)
		if err != nil {
			return nil, err
		}
		h.Generations = append(h.Generations, gen)
	}
	return h, nil
}

func writeHistory(c *console, h *history) error {
	if len(h.Generations) == 0 {
		_, err := fmt.Fprintln(c.out, "Nothing has been applied yet.")
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, gen := range h.Generations {
		mark := " "
		if gen.Number == h.Current {
			mark = "*"
		}
		fmt.Fprintf(w, "%s %d\t%s\t%s\t%s\t%s\n", mark, gen.Number, gen.At.Local().Format(time.DateTime), visible(gen.By), visible(h.fate(gen)), changedKinds(gen))
	}
	return w.Flush()
}

// fate says what came of a generation.
func (h *history) fate(gen *generation) string {
	switch {
	case h.Trying != nil && h.Trying.To == gen.Number:
		return "begun, and not at its end"
	case gen.Left != nil && gen.Left.To == 0:
		return "did not serve; the daemon was stopped: " + gen.Left.Reason
	case gen.Left != nil:
		return fmt.Sprintf("returned to %d: %s", gen.Left.To, gen.Left.Reason)
	case gen.Number == h.Current && gen.Proved != nil:
		return "in force, serves"
	case gen.Number == h.Current:
		return "in force"
	case gen.Proved != nil:
		return "served"
	}
	return ""
}

// changedKinds counts what a generation changed.
func changedKinds(gen *generation) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(gen.Counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", gen.Counts[k], k))
	}
	return strings.Join(parts, ", ")
}

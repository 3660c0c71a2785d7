package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailstead/reconcile"
)

type showOptions struct {
	file    string
	output  string
	verbose bool
}

func newShowCommand() *cobra.Command {
	var o showOptions
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "show a saved plan",
		Long: `Shows what "mailstead plan -o FILE" has saved, on any machine, as it was:
whether the host has changed since is not looked at.

` + planFileHelp + exitStatus(exitDone, exitFailed),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.file = args[0]
			return runShow(o, newConsole(cmd))
		},
	}
	addOutput(cmd, &o.output)
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "show every change with its attributes, and files as unified diffs")
	return cmd
}

func runShow(o showOptions, c *console) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	s, err := readPlanFile(o.file)
	if err != nil {
		return err
	}
	if o.output == outputJSON {
		return s.Encode(c.out)
	}
	writeMade(c.out, s)
	writePlan(c, c.out, &s.Plan, o.verbose)
	return nil
}

// writeMade says where a saved plan comes from.
func writeMade(w io.Writer, s *reconcile.Saved) {
	fmt.Fprintf(w, "Plan %s, made %s by mailstead %s from %s\n\n", visible(shortID(s.ID)),
		s.Made.Local().Format(time.DateTime+" MST"), visible(s.Program), visible(strings.Join(s.Description.Paths, " ")))
}

// shortID is enough of a plan's id to tell it from others.
func shortID(id string) string {
	const digits = 12
	_, id, _ = strings.Cut(id, ":")
	return id[:min(digits, len(id))]
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"mailstead/imapserver/control"
	"mailstead/render"
)

type traceOptions struct {
	state, user, output string
	life                time.Duration
	bodies              bool
}

func newTraceCommand() *cobra.Command {
	var o traceOptions
	cmd := &cobra.Command{
		Use:   "trace --user USER",
		Short: "show what a user's mail programs and the daemon say, as it happens",
		Long: `Shows the protocol of all connections of a user, those that there are and those
to come, until it is interrupted: "C" is what the client says, "S" what the
daemon does. A connection that is not logged in is shown once it has tried to
as that user. Passwords and what SASL exchanges are masked; messages are left
out, but for --bodies. It shows somebody's mail: the log of the daemon says who
was looked at, and when.` + exitStatus(exitDone, exitFailed),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runTrace(cmd.Context(), o, newConsole(cmd)) },
	}
	addState(cmd, &o.state)
	cmd.Flags().StringVarP(&o.user, "user", "u", "", "whose connections, by `name`")
	cmd.Flags().DurationVar(&o.life, "for", 0, "end after so `long`, such as 10m")
	cmd.Flags().BoolVar(&o.bodies, "bodies", false, "show messages too")
	addOutput(cmd, &o.output)
	cmd.MarkFlagRequired("user")
	return cmd
}

func runTrace(ctx context.Context, o traceOptions, c *console) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	host, _, err := readApplied(o.state)
	if err != nil {
		return err
	}
	if o.life > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.life)
		defer cancel()
	}
	tell := func(l control.TraceLine) error { return writeTraced(c, l) }
	if o.output == outputJSON {
		lines := json.NewEncoder(c.out)
		lines.SetEscapeHTML(false)
		tell = func(l control.TraceLine) error { return lines.Encode(l) }
	}
	return control.Trace(ctx, render.ControlSocket(host.Paths), control.Request{User: calledUser(host, o.user), Bodies: o.bodies}, tell)
}

// writeTraced writes a line for people.
func writeTraced(c *console, l control.TraceLine) error {
	if l.Lost > 0 {
		fmt.Fprintf(c.out, "... %d lines came faster than they could be shown ...\n", l.Lost)
	}
	who := "C:"
	if l.Server {
		who = "S:"
	}
	_, err := fmt.Fprintf(c.out, "%s %s %s %s\n", l.At.Local().Format("15:04:05.000"), visible(l.Session), c.paint(bold, who), visible(l.Text))
	return err
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mailstead/imapserver/control"
	"mailstead/render"
)

// sessionsOptions is what the commands about connections take.
type sessionsOptions struct {
	state, user, output string
}

func newSessionsCommand() *cobra.Command {
	var o sessionsOptions
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "list who is logged in, and end a session",
		Long: `Lists the connections that are logged in, as the running daemon says: what each
is called in the log, whose it is, where it came in, from which address and
with what program, and since when. "mailstead explain-session" says what one
does.` + exitStatus(exitDone, exitFailed),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(o.output); err != nil {
				return err
			}
			status, err := o.ask(cmd.Context(), control.Request{Verb: control.VerbSessions, User: o.user})
			if err != nil {
				return err
			}
			if o.output == outputJSON {
				return writeJSON(cmd.OutOrStdout(), append([]control.Connection{}, status.Connected...))
			}
			return writeSessions(newConsole(cmd), status.Connected, time.Now())
		},
	}
	o.flags(cmd)
	cmd.AddCommand(newSessionsEndCommand())
	return cmd
}

func (o *sessionsOptions) flags(cmd *cobra.Command) {
	addState(cmd, &o.state)
	cmd.Flags().StringVarP(&o.user, "user", "u", "", "of the user of this `name` only")
	addOutput(cmd, &o.output)
}

// ask asks the running daemon.
func (o *sessionsOptions) ask(ctx context.Context, r control.Request) (control.Status, error) {
	host, _, err := readApplied(o.state)
	if err != nil {
		return control.Status{}, err
	}
	r.User = calledUser(host, r.User)
	status, err := control.Ask(ctx, render.ControlSocket(host.Paths), r)
	switch {
	case err != nil:
	case status.Error != "":
		err = errors.New(status.Error)
	case len(status.Connected) == 0 && r.ID == "":
		err = unknownUser(host, r.User)
	}
	return status, err
}

func newSessionsEndCommand() *cobra.Command {
	var o sessionsOptions
	cmd := &cobra.Command{
		Use:   "end {ID... | --user USER}",
		Short: "end sessions",
		Long: `Ends the connections of these names, or all of a user's. What a client has been
told is done stays done; it may connect again at once. To keep somebody out,
change the password or the description first.` + exitStatus(exitDone, exitFailed),
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, ids []string) error {
			if (len(ids) == 0) == (o.user == "") {
				return errors.New("give names of sessions, or --user USER")
			}
			return o.end(cmd.Context(), ids, newConsole(cmd))
		},
	}
	addState(cmd, &o.state)
	cmd.Flags().StringVarP(&o.user, "user", "u", "", "end all of a user's, by `name`")
	return cmd
}

// end ends the sessions of these names, or all of a user's.
func (o *sessionsOptions) end(ctx context.Context, ids []string, c *console) error {
	if o.user != "" {
		status, err := o.ask(ctx, control.Request{Verb: control.VerbSessions, User: o.user})
		if err != nil {
			return err
		}
		for _, s := range status.Connected {
			ids = append(ids, s.ID)
		}
		if len(ids) == 0 {
			fmt.Fprintf(c.err, "Nobody is logged in as %s.\n", visible(o.user))
		}
	}
	var faults []error
	for _, id := range ids {
		_, err := o.ask(ctx, control.Request{Verb: control.VerbEndSession, ID: id})
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// writeSessions writes a table of connections.
func writeSessions(c *console, all []control.Connection, now time.Time) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(c.out, "Nobody is logged in.")
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SESSION\tUSER\tLISTENER\tADDRESS\tTLS\tSINCE\tCLIENT")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", visible(s.ID), visible(s.User), orDash(s.Listener), orDash(s.Address), orDash(s.TLS), since(s.Began, now), orDash(s.Client))
	}
	return w.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return visible(s)
}

// since tells for how long something has been, in two units at most.
func since(then, now time.Time) string {
	d := max(now.Sub(then), 0)
	days := d / (24 * time.Hour)
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case days == 0:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", days, d%(24*time.Hour)/time.Hour)
}

func newExplainSessionCommand() *cobra.Command {
	var o sessionsOptions
	cmd := &cobra.Command{
		Use:   "explain-session [ID | --user USER]",
		Short: "say what a connection does, and what it waits for",
		Long: `Says of a connection, of each of a user's, or of the only one that there is:
which mailbox it has open, which command is in progress and since when, what
has gone to and fro, and what it waits for: the client, the disk, or which
lock. What waits is found by looking at the process, which stops it for a
moment.` + exitStatus(exitDone, exitFailed),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkOutput(o.output); err != nil {
				return err
			}
			r := control.Request{Verb: control.VerbSessions, User: o.user, Explain: true}
			if len(args) > 0 {
				r.ID = args[0]
			}
			if len(args) == 0 && o.user == "" {
				var err error
				if r.ID, err = o.only(cmd.Context()); err != nil {
					return err
				}
			}
			status, err := o.ask(cmd.Context(), r)
			if err != nil {
				return hint(err, "%q lists those that there are", "mailstead sessions")
			}
			if o.output == outputJSON {
				return writeJSON(cmd.OutOrStdout(), append([]control.Connection{}, status.Connected...))
			}
			return explainSessions(newConsole(cmd), status.Connected, time.Now())
		},
	}
	o.flags(cmd)
	return cmd
}

// only gives the session that is meant where none is named: there is one alone.
func (o *sessionsOptions) only(ctx context.Context) (id string, err error) {
	status, err := o.ask(ctx, control.Request{Verb: control.VerbSessions})
	switch n := len(status.Connected); {
	case err != nil:
		return "", err
	case n == 0:
		return "", errors.New("nobody is logged in")
	case n > 1:
		return "", hint(fmt.Errorf("%d sessions are there: name one, or a user by --user", n), "%q lists them", "mailstead sessions")
	}
	return status.Connected[0].ID, nil
}

// explainSessions writes what connections do, in a paragraph for each.
func explainSessions(c *console, all []control.Connection, now time.Time) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(c.out, "No such user is logged in.")
		return err
	}
	for i, s := range all {
		if i > 0 {
			fmt.Fprintln(c.out)
		}
		fmt.Fprintf(c.out, "%s: %s", c.paint(bold, visible(s.ID)), visible(s.User))
		if s.Listener != "" {
			fmt.Fprintf(c.out, " on %s from %s", visible(s.Listener), orDash(s.Address))
		} else {
			fmt.Fprint(c.out, " over the control socket")
		}
		fmt.Fprintf(c.out, ", for %s\n", since(s.Began, now))
		w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		for _, row := range explainedRows(s, now) {
			fmt.Fprintf(w, "  %s\t%s\n", row[0], row[1])
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// explainedRows are the lines about a connection.
func explainedRows(s control.Connection, now time.Time) (rows [][2]string) {
	add := func(key, value string) {
		if value != "" {
			rows = append(rows, [2]string{key, value})
		}
	}
	add("tls", visible(s.TLS))
	d := s.Doing
	if d == nil {
		add("client", visible(s.Client))
		return append(rows, [2]string{"doing", "unknown: its worker has not answered"})
	}
	add("client", visible(cmp.Or(d.Client, s.Client)))
	mailbox := visible(d.Mailbox)
	if d.ReadOnly {
		mailbox += " (read-only)"
	}
	add("mailbox", cmp.Or(mailbox, "none"))
	doing := "waits for a command, for " + since(d.Since, now)
	if d.Command != "" {
		doing = visible(d.Command) + ", for " + since(d.Since, now)
	}
	add("doing", doing)
	if d.Waits != "" {
		add("waits for", visible(d.Waits))
	}
	if d.Command != "" || d.Waits == "" {
		add("in", visible(d.Where))
	}
	add("so far", fmt.Sprintf("%d commands, %s received, %s sent", d.Commands, octets(d.In), octets(d.Out)))
	for i := range d.Enabled {
		d.Enabled[i] = visible(d.Enabled[i])
	}
	if len(d.Enabled) > 0 {
		slices.Sort(d.Enabled)
		add("enabled", fmt.Sprint(d.Enabled))
	}
	return rows
}

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
	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/reconcile/kind"
	"mailstead/render"
)

type statusOptions struct {
	source
	opts   desired.Options
	output string
	state  string // of what was applied, where no description says
}

func newStatusCommand() *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:   "status [PATH...]",
		Short: "set side by side what is wanted, applied, on disk, and served",
		Long: `Shows the configuration, each listener, each certificate and the users four
times: as the description wants them, as they were applied last, as they are on
disk, and as the running daemon says that it serves them. "!" marks what is out
of step, "?" is what could not be read or is not known; "plan" says what would
mend it. Nothing is written.

Where the description is at fault, or this host cannot be what it says, what was
applied last (--state) is shown beside the disk and the daemon, with the fault.

` + sourceHelp + exitStatus(exitDone, exitFailed, exitInvalid),
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.take(args)
			return runStatus(cmd.Context(), o, newConsole(cmd))
		},
	}
	o.flags(cmd)
	addRootless(cmd, &o.opts)
	addOutput(cmd, &o.output)
	addState(cmd, &o.state)
	return cmd
}

// hostStatus is the answer of status. Daemon is nil if it does not run or could
// not be asked; Problem then says why.
type hostStatus struct {
	Host    string          `json:"host"`
	InStep  bool            `json:"in_step"` // the daemon runs, every row is in step, nothing is pending or waiting, no certificate has failed
	Pending int             `json:"pending"` // changes that apply would make
	Waiting int             `json:"waiting"` // resources that wait for the operator
	Rows    []statusRow     `json:"rows"`
	Daemon  *control.Status `json:"daemon"`
	Problem string          `json:"problem,omitempty"`
	// Unknown is why it is not known what is wanted: the description is at fault.
	Unknown string `json:"unknown,omitempty"`
	// Faults are certificates that the deploy hook or its timer could not bring
	// into force; Notes are sentences about those and about what lapses soon.
	Faults []certificateFault `json:"certificate_faults,omitempty"`
	Notes  []string           `json:"notes,omitempty"`
}

// statusRow is one thing as it is wanted, was applied, is on disk and is served;
// "" is none.
type statusRow struct {
	Kind    string `json:"kind"` // configuration, listener, certificate or users
	Name    string `json:"name,omitempty"`
	Desired string `json:"desired"`
	Applied string `json:"applied"`
	Disk    string `json:"disk"`
	Running string `json:"running"`
	InStep  bool   `json:"in_step"`
}

func runStatus(ctx context.Context, o statusOptions, c *console) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	l, err := o.look(ctx, o.opts, false)
	if err != nil {
		return errors.Join(err, o.withoutDescription(ctx, err, c))
	}
	defer l.close()
	plan, err := l.compare(ctx)
	if err != nil {
		return err
	}
	s, err := l.status(ctx, plan)
	if err != nil {
		return err
	}
	return o.write(c, s)
}

func (o *statusOptions) write(c *console, s *hostStatus) error {
	if o.output == outputJSON {
		return writeJSON(c.out, s)
	}
	return writeStatus(c, s)
}

// withoutDescription shows what can be shown by what was applied last, if anything was.
// Faults that are written for a program have standard output for themselves.
func (o *statusOptions) withoutDescription(ctx context.Context, fault error, c *console) error {
	host, opts, err := readApplied(o.state)
	if err != nil || !o.form.isText() || ctx.Err() != nil {
		return nil // the fault is all that there is to say
	}
	l := &look{host: host, opts: opts, kinds: &kind.Host{}}
	defer l.close()
	if err := l.gather(ctx); err != nil {
		return nil
	}
	s, err := l.status(ctx, nil)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	s.Unknown = fault.Error()
	return o.write(c, s)
}

// status sets the sides of a host side by side; without a plan, nobody knows what is
// wanted.
func (l *look) status(ctx context.Context, plan *reconcile.Plan) (*hostStatus, error) {
	want, err := side{unknown: true}, error(nil)
	known := plan != nil
	if known {
		want, err = desiredSide(l)
	} else {
		plan = &reconcile.Plan{}
	}
	if err != nil {
		return nil, err
	}
	disk := diskSide(l)
	s := &hostStatus{Host: l.host.Name, Pending: len(plan.Changes), Waiting: len(plan.Blocked), Notes: append(l.certificateNotes(time.Now()), pamNotes(plan)...)}
	s.Faults, _ = readFaults(l.host) // an error is among the notes
	var running side
	answer, err := control.Ask(ctx, render.ControlSocket(l.host.Paths), control.Request{Verb: control.VerbStatus})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, control.ErrNotRunning):
		s.Problem = control.ErrNotRunning.Error()
	case err != nil:
		running.unknown = true
		s.Problem = err.Error()
	default:
		running = runningSide(answer)
		s.Daemon = &answer
	}
	s.Rows = statusRows(want, appliedSide(l), disk, running, s.Daemon != nil)
	s.InStep = known && s.Daemon != nil && s.Pending+s.Waiting+len(s.Faults) == 0 &&
		!slices.ContainsFunc(s.Rows, func(r statusRow) bool { return !r.InStep })
	return s, nil
}

// statusRows sets four sides side by side, in the order of the description;
// what only the others have comes after. Where no daemon runs, no row is out of
// step for that.
func statusRows(want, last, disk, running side, runs bool) []statusRow {
	var keys []cellKey
	for _, s := range []side{want, last, disk, running} {
		for _, key := range s.keys {
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	slices.SortStableFunc(keys, func(a, b cellKey) int { return cmp.Compare(a.kind, b.kind) })
	rows := make([]statusRow, len(keys))
	for i, key := range keys {
		row := statusRow{
			Kind: key.kind.String(), Name: key.name,
			Desired: want.cell(key), Applied: last.cell(key), Disk: disk.cell(key), Running: running.cell(key),
		}
		meant := row.Desired
		if want.unknown && row.Applied != selfSignedCell {
			meant = row.Applied
		}
		row.InStep = agree(meant, row.Applied) && agree(meant, row.Disk) && (!runs || agree(meant, row.Running))
		rows[i] = row
	}
	return rows
}

// agree tells whether two cells say the same, as far as they are known.
func agree(desired, other string) bool {
	return desired == other || desired == unknownCell || other == unknownCell || other == selfSignedCell
}

// writeStatus writes a status for people.
func writeStatus(c *console, s *hostStatus) error {
	fmt.Fprintf(c.out, "%s: ", c.paint(bold, visible(s.Host)))
	if d := s.Daemon; d != nil {
		fmt.Fprintf(c.out, "running, process %d, version %s, %s\n\n", d.PID, visible(d.Version), number(d.Sessions, "session"))
	} else {
		fmt.Fprintf(c.out, "%s\n\n", visible(s.Problem))
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tDESIRED\tAPPLIED\tON DISK\tRUNNING")
	for _, r := range s.Rows {
		mark := " "
		if !r.InStep {
			mark = "!"
		}
		name := r.Kind
		if r.Name != "" {
			name += " " + visible(r.Name)
		}
		fmt.Fprintf(w, "%s %s\t%s\t%s\t%s\t%s\n", mark, name, brief(r.Desired), brief(r.Applied), brief(r.Disk), brief(r.Running))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, note := range s.Notes {
		fmt.Fprintf(c.out, "\nNote: %s\n", visible(note))
	}
	_, err := fmt.Fprintf(c.out, "\n%s\n", c.paint(bold, statusLine(s)))
	return err
}

func statusLine(s *hostStatus) string {
	switch {
	case s.InStep:
		return "In step."
	case s.Unknown != "":
		return "What is wanted is not known: the description is at fault."
	case s.Pending+s.Waiting > 0:
		return fmt.Sprintf("Out of step: %s pending, %d waiting; see \"mailstead plan\".", counts(s.Pending, "changes"), s.Waiting)
	case len(s.Faults) > 0:
		return fmt.Sprintf("Out of step: %s could not be brought into force.", counts(len(s.Faults), "certificates"))
	case s.Daemon == nil:
		return "Out of step: " + visible(s.Problem) + "."
	}
	return "Out of step: the daemon serves something else than is on disk."
}

// brief is a cell as a table shows it: digests by their first digits.
func brief(cell string) string {
	switch {
	case cell == "":
		return "-"
	case len(cell) >= 32 && isHex(cell):
		return cell[:12]
	}
	return visible(cell)
}

func isHex(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(b byte) bool { return (b < '0' || b > '9') && (b < 'a' || b > 'f') })
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mailstead/imapserver/control"
	"mailstead/reconcile/desired"
	"mailstead/render"
	"mailstead/schema"
)

type explainLoginOptions struct {
	source
	opts     desired.Options
	user     string
	listener string
	from     string
	stdin    bool
	output   string
}

func newExplainLoginCommand() *cobra.Command {
	var o explainLoginOptions
	cmd := &cobra.Command{
		Use:   "explain-login USER [PATH...]",
		Short: "walk the way of a login from the name to the mailbox, and say where it ends",
		Long: `Walks the way that a login of USER takes: the listener and its rules, what is in
force against the user now, who knows the user and checks the password, the
account, every directory on the way to the Maildir, the Maildir, the quota, and
INBOX, which it opens without marking anything as seen. Each step has the place
of the description behind it; the first at which it ends says what to do.

With --password-stdin the password is the first line of standard input, and is
checked as a login's would be, without counting as a guess. It is neither shown
nor logged. Without it the backends are asked as far as they know users without.
--from ADDRESS says what is in force against that address, too.

` + sourceHelp + exitStatus(exitDone, exitFailed, exitInvalid, exitFound),
		Args: cobra.MinimumNArgs(1),

		ValidArgsFunction: firstUser,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.user = args[0]
			o.take(args[1:])
			return runExplainLogin(cmd.Context(), o, newConsole(cmd))
		},
	}
	o.flags(cmd)
	addRootless(cmd, &o.opts)
	addOutput(cmd, &o.output)
	f := cmd.Flags()
	f.StringVar(&o.listener, "listener", "", "the `name` of the listener (default: the first that is no proxy)")
	f.StringVar(&o.from, "from", "", "the `address` that the login comes from")
	f.BoolVar(&o.stdin, "password-stdin", false, "check the password that standard input has")
	return cmd
}

// loginStep is one step on the way.
type loginStep struct {
	Step   string `json:"step"`
	Came   string `json:"came"` // ok, passed, ends, untold
	Seen   string `json:"seen"`
	Remedy string `json:"remedy,omitempty"`
	Origin string `json:"origin,omitempty"` // of the field of the description that decides it
}

// loginPath is the way of one login.
type loginPath struct {
	User     string      `json:"user"`
	Listener string      `json:"listener"`
	From     string      `json:"from,omitempty"`
	Steps    []loginStep `json:"steps"`
	Ends     string      `json:"ends,omitempty"` // the first step that it does not get past; "": it arrives
}

// loginWalk walks it.
type loginWalk struct {
	loginPath
	*look
	o        explainLoginOptions
	password string
	listener schema.Listener
	daemon   *control.Status // nil: it does not run
	whose    *control.LoginUser
	proven   bool // the password has let the user in, whatever the account looks like
}

func runExplainLogin(ctx context.Context, o explainLoginOptions, c *console) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	if _, err := netip.ParseAddr(o.from); o.from != "" && err != nil {
		return fmt.Errorf("--from: %q is not an IP address", o.from)
	}
	l, err := o.look(ctx, o.opts, false)
	if err != nil {
		return err
	}
	defer l.close()
	w := &loginWalk{look: l, o: o, loginPath: loginPath{User: o.user, From: o.from, Steps: []loginStep{}}}
	if err := w.choose(); err != nil {
		return err
	}
	if o.stdin {
		if w.password, err = onePassword(c.in); err != nil {
			return err
		}
	}
	w.walk(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	if o.output == outputJSON {
		err = writeJSON(c.out, w.loginPath)
	} else {
		err = w.write(c)
	}
	if err == nil && w.Ends != "" {
		err = &exitError{code: exitFound}
	}
	return err
}

// choose finds the listener that is meant.
func (w *loginWalk) choose() error {
	var names []string
	for _, l := range w.host.Listeners {
		if names = append(names, l.Name); w.o.listener == "" && l.Proxy == nil || l.Name == w.o.listener {
			w.listener, w.Listener = l, l.Name
			return nil
		}
	}
	if w.o.listener == "" {
		return errors.New("the description has no listener that serves this host's mail")
	}
	return hint(fmt.Errorf("the description has no listener %q", w.o.listener), "there are %s", strings.Join(names, ", "))
}

// onePassword reads the first line; nobody is asked, so that nothing waits in a pipe.
func onePassword(in io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(in, maxPassword+3))
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
		return "", errors.New("read password: the first line of standard input is empty")
	}
	return string(line), nil
}

func (w *loginWalk) add(s loginStep) {
	if s.Came == control.StepEnds && w.Ends == "" {
		w.Ends = s.Step
	}
	w.Steps = append(w.Steps, s)
}

// walk goes on behind a step at which a login ends, as far as that makes sense: there
// may be more in the way.
func (w *loginWalk) walk(ctx context.Context) {
	w.atDaemon(ctx)
	if w.atListener(); w.listener.Proxy != nil {
		w.atProxy(ctx)
		return
	}
	if w.daemon != nil {
		w.atAuth(ctx)
	}
	w.atAccount()
	if w.whose != nil && w.whose.Elsewhere != "" {
		w.add(loginStep{Step: "server", Came: control.StepEnds, Seen: "the mail is on another server, and clients are sent there: " + w.whose.Elsewhere, Origin: w.userOrigin(),
			Remedy: "Log in there, or take elsewhere from the user."})
		return
	}
	if m := w.maildir(); m != nil {
		w.atMail(ctx, m)
	}
	if w.daemon != nil && w.whose != nil {
		w.atSession(ctx)
	}
}

// atDaemon asks whether anybody would answer.
func (w *loginWalk) atDaemon(ctx context.Context) {
	step := loginStep{Step: "daemon", Origin: w.host.Origin.String()}
	status, err := control.Ask(ctx, render.ControlSocket(w.host.Paths), control.Request{Verb: control.VerbStatus})
	switch {
	case errors.Is(err, control.ErrNotRunning):
		step.Came, step.Seen, step.Remedy = control.StepEnds, err.Error(), "Start it with mailstead apply."
	case err != nil:
		step.Came, step.Seen, step.Remedy = control.StepUntold, err.Error(), "Run this as root."
	default:
		w.daemon = &status
		step.Came, step.Seen = control.StepOK, fmt.Sprintf("running, process %d", status.PID)
	}
	w.add(step)
}

// atListener says what the listener demands before anybody logs in.
func (w *loginWalk) atListener() {
	l := w.listener
	step := loginStep{Step: "listener", Came: control.StepOK, Origin: l.Origin.String()}
	rule := map[schema.TLSMode]string{
		schema.STARTTLS: "TLS by STARTTLS comes before any password", schema.Implicit: "TLS from the first octet on", schema.Plain: "no TLS, for this machine alone",
	}[l.TLS]
	step.Seen = fmt.Sprintf("%s at %s: %s", l.Name, addressText(l.Address, l.Port), rule)
	if len(l.Capabilities.Off) > 0 {
		step.Seen += "; without " + strings.Join(l.Capabilities.Off, ", ")
	}
	if w.daemon != nil && !slices.ContainsFunc(w.daemon.Listeners, func(have control.Listener) bool { return have.Name == l.Name }) {
		step.Came, step.Remedy = control.StepEnds, "See what mailstead plan says of it, then run mailstead apply."
		step.Seen += "; the daemon does not serve it"
	}
	w.add(step)
}

// atProxy says who decides about a login that goes on to another server.
func (w *loginWalk) atProxy(ctx context.Context) {
	p, step := w.listener.Proxy, loginStep{Step: "server", Came: control.StepEnds, Origin: w.listener.Origin.String()}
	i, known := p.Users[w.User]
	if p.ByUser && !known {
		step.Seen, step.Remedy = "no host of the description has the user, and the listener stands in front of these", "Add the user to the host that has the mail."
		w.add(step)
		return
	}
	s := p.Servers[i] // the only one, where it has everybody's mail
	step.Seen = "the listener stands in front of " + addressText(s.Host, s.Port)
	if err := askBehind(ctx, w.listener, s); err != nil {
		step.Seen += ", which it cannot ask: " + err.Error()
		step.Remedy = "See whether that server runs and can be reached from here, and whether its certificate is for its name and from an authority that ca has."
	} else {
		step.Came, step.Seen, step.Remedy = control.StepUntold, step.Seen+", and the server there checks the password", "Explain the login there."
	}
	w.add(step)
}

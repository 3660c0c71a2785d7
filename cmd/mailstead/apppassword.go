package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mailstead/imapserver/control"
	"mailstead/render"
	"mailstead/schema"
)

func newAppPasswordCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "app-password",
		Short: "make, list and revoke passwords for one program each",
		Long: `An app password is for one program of a user, such as the mail of a phone. It is
good beside the user's own password, whoever checks that, and can be revoked
alone. The running daemon makes and keeps it; its description has to have
"logins".` + exitStatus(exitDone, exitFailed),
	}
	cmd.AddCommand(newAppPasswordAdd(), newAppPasswordList(), newAppPasswordRevoke())
	return cmd
}

// appPasswordOptions is what all of them take.
type appPasswordOptions struct {
	state, user, output string
	what                control.AppPasswordRequest
}

func (o *appPasswordOptions) flags(cmd *cobra.Command) *cobra.Command {
	addState(cmd, &o.state)
	cmd.Flags().StringVar(&o.user, "user", "", "whose it is")
	if o.what.Do == control.ListAppPasswords {
		addOutput(cmd, &o.output)
		return cmd
	}
	cmd.Flags().StringVar(&o.what.Name, "name", "", "what it is for, such as phone")
	cmd.MarkFlagRequired("user")
	cmd.MarkFlagRequired("name")
	return cmd
}

// ask has the daemon do it.
func (o *appPasswordOptions) ask(cmd *cobra.Command) (control.Status, error) {
	host, _, err := readApplied(o.state)
	if err != nil {
		return control.Status{}, err
	}
	for _, name := range o.what.Listeners {
		if !slices.ContainsFunc(host.Listeners, func(l schema.Listener) bool { return l.Name == name }) {
			return control.Status{}, fmt.Errorf("there is no listener %q", name)
		}
	}
	status, err := control.Ask(cmd.Context(), render.ControlSocket(host.Paths), control.Request{Verb: control.VerbAppPassword, User: calledUser(host, o.user), AppPassword: &o.what})
	if err == nil && status.Error != "" {
		err = errors.New(status.Error)
		if host.Logins == nil {
			err = hint(err, "write logins: {} into the description, and apply it")
		}
	}
	return status, err
}

func newAppPasswordAdd() *cobra.Command {
	o := &appPasswordOptions{what: control.AppPasswordRequest{Do: control.AddAppPassword}}
	cmd := &cobra.Command{
		Use:   "add --user USER --name NAME",
		Short: "make an app password and show it, this once",
		Long: `Makes an app password and prints it. Nobody can show it again: the daemon keeps
a digest. Spaces and hyphens in it do not count.` + exitStatus(exitDone, exitFailed),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			status, err := o.ask(cmd)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), status.Password)
			return err
		},
	}
	cmd.Flags().StringSliceVar(&o.what.Listeners, "listener", nil, "the listener on which it is good, if not on all; may be given several times")
	return o.flags(cmd)
}

func newAppPasswordRevoke() *cobra.Command {
	o := &appPasswordOptions{what: control.AppPasswordRequest{Do: control.RevokeAppPassword}}
	return o.flags(&cobra.Command{
		Use:   "revoke --user USER --name NAME",
		Short: "have an app password be good no more",
		Long:  "Sessions that began with it go on until they end." + exitStatus(exitDone, exitFailed),
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := o.ask(cmd)
			return err
		},
	})
}

func newAppPasswordList() *cobra.Command {
	o := &appPasswordOptions{what: control.AppPasswordRequest{Do: control.ListAppPasswords}}
	return o.flags(&cobra.Command{
		Use:   "list",
		Short: "list app passwords, when they were made and last used",
		Long:  "The passwords themselves are not kept, and not shown." + exitStatus(exitDone, exitFailed),
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(o.output); err != nil {
				return err
			}
			status, err := o.ask(cmd)
			if err != nil {
				return err
			}
			if o.output == outputJSON {
				return writeJSON(cmd.OutOrStdout(), append([]control.AppPassword{}, status.AppPasswords...))
			}
			return writeAppPasswords(cmd, status.AppPasswords)
		},
	})
}

func writeAppPasswords(cmd *cobra.Command, all []control.AppPassword) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "USER\tNAME\tMADE\tLAST USED\tLISTENERS")
	for _, p := range all {
		used, where := "never", "all"
		if !p.Used.IsZero() {
			used = p.Used.Local().Format("2006-01-02 15:04")
		}
		if len(p.Listeners) > 0 {
			where = strings.Join(p.Listeners, ", ")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", visible(p.User), visible(p.Name), p.Made.Local().Format(time.DateOnly), used, where)
	}
	return w.Flush()
}

package main

import (
	"crypto/rand"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"mailstead/reconcile/web"
)

func newTOTPCommand() *cobra.Command {
	var host string
	cmd := &cobra.Command{
		Use:   "totp NAME",
		Short: "make the secret of an admin's codes for the web page",
		Long: `Prints a new secret of codes (TOTP) for an admin of the web page: on the first
line for the file that the description names, on the second for the admin's app,
which takes it as text or, through a program such as qrencode, as a picture.

  (umask 077; mailstead totp helpdesk >/etc/mailstead.helpdesk.totp)` + exitStatus(exitDone, exitFailed),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if host == "" {
				if host, err = os.Hostname(); err != nil {
					return fmt.Errorf("name of this machine: %w", err)
				}
			}
			secret := make(web.TOTP, 20) // RFC 4226 §4, R6
			rand.Read(secret)
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n", secret, secret.URL(host, args[0]))
			return err
		},
	}
	cmd.Flags().StringVar(&host, "host", "", "the `name` of the host that the app shows (default: that of this machine)")
	return cmd
}

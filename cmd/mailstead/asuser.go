package main

import (
	"github.com/spf13/cobra"

	"mailstead/reconcile/kind"
)

// newAsUserCommand is what apply and plan start, as somebody else, to work in
// that user's directories. It talks to its parent only.
func newAsUserCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "as-user",
		Short:  "work in a user's directories for another mailstead",
		Long:   "Started by mailstead itself; of no use by hand." + exitStatus(exitDone, exitFailed),
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return kind.HelperMain(cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
}

package main

import (
	"github.com/spf13/cobra"

	"mailstead/schema"
)

func newSchemaShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "print the schema as CUE",
		Long: `Prints the schema as CUE, with the comments that say what each field means. Its
defaults are not in it; the comments name them.` + exitStatus(exitDone, exitFailed),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := schema.Source()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
}

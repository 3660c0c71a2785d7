package main

import (
	"github.com/spf13/cobra"
)

func newSchemaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "give the schema of descriptions to editors and other programs",
		Long: `Descriptions are checked by a schema that this program carries. These commands
give it to others: to people, to "cue vet" and the CUE language server, and to
editors of JSON and YAML. "mailstead explain" says what its fields mean.` + exitStatus(exitDone, exitFailed),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSchemaShowCommand(), newSchemaJSONCommand(), newSchemaVendorCommand())
	return cmd
}

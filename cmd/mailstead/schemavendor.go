package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"mailstead/schema"
)

func newSchemaVendorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "vendor [DIR]",
		Short: "put the schema where cue vet and the CUE language server find it",
		Long: `Writes the schema into the CUE module of DIR (default ` + defaultDescription + `), which is
made if there is none, and mailstead_schema.cue beside the description: plain
"cue vet" and editors with the CUE language server then check it and show what
its fields mean. Run it again after an update of mailstead, or when a host is
added. For mailstead the description is the same as before: it checks it by the
schema that it carries.

"cue vet" without arguments reads files with a package clause only; where yours
have none, name them: cue vet *.cue` + exitStatus(exitDone, exitFailed),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := defaultDescription
			if len(args) > 0 {
				dir = args[0]
			}
			written, err := schema.Vendor(dir)
			if err != nil {
				return fmt.Errorf("vendor schema: %w", err)
			}
			for _, name := range written {
				fmt.Fprintf(cmd.OutOrStdout(), "Wrote %s\n", visible(name))
			}
			if len(written) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "Nothing to write: the schema is there.")
			}
			return nil
		},
	}
}

package main

import (
	"github.com/spf13/cobra"

	"mailstead/schema"
)

func newSchemaJSONCommand() *cobra.Command {
	var part bool
	cmd := &cobra.Command{
		Use:   "json",
		Short: "print the schema as a JSON Schema",
		Long: `Prints a JSON Schema (draft 07), by which editors check and complete
descriptions, or parts of them, that are written in JSON or YAML. A file may
name it: in JSON by the field "$schema", in YAML by a comment in its first line:

  # yaml-language-server: $schema=mailstead.schema.json

What compares values with each other, such as two listeners on one port, is
found by "mailstead validate" alone.` + exitStatus(exitDone, exitFailed),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := schema.JSONSchema(part)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().BoolVar(&part, "part", false, "for files that are one of several of a description: require nothing")
	return cmd
}

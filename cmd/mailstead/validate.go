package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"mailstead/schema"
)

type validateOptions struct {
	source
	output string
}

func newValidateCommand() *cobra.Command {
	var o validateOptions
	cmd := &cobra.Command{
		Use:   "validate [PATH...]",
		Short: "check a description, and say all that is wrong with it",
		Long: `Reads a description and checks it against the schema, without looking at any
host. Every fault is reported, with its place and what to do about it.

` + sourceHelp + exitStatus(exitDone, exitFailed, exitInvalid),
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.take(args)
			return runValidate(o, newConsole(cmd))
		},
	}
	cmd.Flags().StringArrayVarP(&o.tags, "tag", "t", nil, "set a @tag of the description, `key=value` (repeatable)")
	o.form.flag(cmd)
	addOutput(cmd, &o.output)
	return cmd
}

func runValidate(o validateOptions, c *console) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	if o.output == outputJSON {
		o.form = diagnosticsJSON
	}
	config, err := o.load()
	if err != nil {
		return err
	}
	names := make([]string, len(config.Hosts))
	for i, h := range config.Hosts {
		names[i] = h.Name
	}
	switch o.form {
	case diagnosticsJSON:
		return writeJSON(c.out, checked{Valid: true, Hosts: names, Diagnostics: schema.Diagnostics{}})
	case diagnosticsSARIF:
		return writeJSON(c.out, newSARIF(nil))
	}
	_, err = fmt.Fprintf(c.out, "%s is valid: %s.\n", o.source.String(), strings.Join(names, ", "))
	return err
}

// checked is the result of a check for programs.
type checked struct {
	Valid       bool               `json:"valid"`
	Hosts       []string           `json:"hosts,omitempty"`
	Diagnostics schema.Diagnostics `json:"diagnostics"`
}

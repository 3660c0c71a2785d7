package main

import (
	"errors"
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
	addOutput(cmd, &o.output)
	return cmd
}

func runValidate(o validateOptions, c *console) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	config, err := o.load()
	if o.output == outputJSON {
		return writeVerdict(c, config, err)
	}
	if err != nil {
		return err
	}
	names := make([]string, len(config.Hosts))
	for i, h := range config.Hosts {
		names[i] = h.Name
	}
	_, err = fmt.Fprintf(c.out, "%s is valid: %s.\n", o.source.String(), strings.Join(names, ", "))
	return err
}

// writeVerdict writes the result of a check for programs.
func writeVerdict(c *console, config *schema.Config, fault error) error {
	verdict := struct {
		Valid       bool               `json:"valid"`
		Hosts       []string           `json:"hosts,omitempty"`
		Diagnostics schema.Diagnostics `json:"diagnostics"`
	}{Valid: fault == nil, Diagnostics: schema.Diagnostics{}}
	errors.As(fault, &verdict.Diagnostics)
	if config != nil {
		for _, h := range config.Hosts {
			verdict.Hosts = append(verdict.Hosts, h.Name)
		}
	}
	if err := writeJSON(c.out, verdict); err != nil {
		return err
	}
	if !verdict.Valid {
		return &exitError{code: exitInvalid}
	}
	return nil
}

package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// The forms of output.
const (
	outputText = "text"
	outputJSON = "json"
)

// addOutput gives a command the flag that chooses the form of its output.
func addOutput(cmd *cobra.Command, form *string) {
	cmd.Flags().StringVarP(form, "output", "o", outputText, "`form` of the output: text or json")
	completeWith(cmd, "output", outputText, outputJSON)
}

func checkOutput(form string) error {
	if form != outputText && form != outputJSON {
		return hint(fmt.Errorf("no such form of output: %q", form), "there are text and json")
	}
	return nil
}

// writeJSON writes one value as indented JSON.
func writeJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(value)
}

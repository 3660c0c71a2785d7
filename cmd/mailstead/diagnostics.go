package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mailstead/schema"
)

// diagnosticsForm is the form in which the faults of a description are written.
type diagnosticsForm string

// The forms. All but text go to standard output, which is empty otherwise where
// a description is invalid.
const (
	diagnosticsText   diagnosticsForm = "text"
	diagnosticsJSON   diagnosticsForm = "json"
	diagnosticsSARIF  diagnosticsForm = "sarif"
	diagnosticsGitHub diagnosticsForm = "github"
)

var diagnosticsForms = []diagnosticsForm{diagnosticsText, diagnosticsJSON, diagnosticsSARIF, diagnosticsGitHub}

// flag gives a command the flag that chooses the form. What the environment
// says is not looked at: a log that is read by people somewhere else would be
// full of commands for GitHub.
func (f *diagnosticsForm) flag(cmd *cobra.Command) {
	cmd.Flags().Var(f, "diagnostics", "`form` in which faults of the description are written: text, json, sarif or github")
	var names []string
	for _, form := range diagnosticsForms {
		names = append(names, string(form))
	}
	completeWith(cmd, "diagnostics", names...)
}

// Set takes the value of the flag.
func (f *diagnosticsForm) Set(value string) error {
	if !slices.Contains(diagnosticsForms, diagnosticsForm(value)) {
		return errors.New("there are text, json, sarif and github")
	}
	*f = diagnosticsForm(value)
	return nil
}

// Type is what help calls the value of the flag.
func (f *diagnosticsForm) Type() string { return "form" }

// String is the value of the flag, or its default.
func (f *diagnosticsForm) String() string {
	if *f == "" {
		return string(diagnosticsText)
	}
	return string(*f)
}

func (f diagnosticsForm) isText() bool { return f == "" || f == diagnosticsText }

// invalidError is a description with faults.
type invalidError struct {
	path   string
	form   diagnosticsForm
	faults schema.Diagnostics
	text   string // the faults, each with its place and its excerpt
	many   string
	cause  error
}

func (e *invalidError) Error() string {
	return fmt.Sprintf("the description %s is invalid: %s", e.path, e.many)
}

func (e *invalidError) Unwrap() error { return e.cause }

// invalid gives the faults of a description, whoever found them, the form in
// which they are shown, and their exit code. Other errors pass through.
func (s *source) invalid(err error) error {
	var faults schema.Diagnostics
	if !errors.As(err, &faults) {
		return err
	}
	e := &invalidError{path: visible(s.String()), form: s.form, many: "1 fault", cause: err}
	if len(faults) != 1 {
		e.many = fmt.Sprintf("%d faults", len(faults))
	}
	if !s.form.isText() {
		e.faults = s.located(faults)
		return &exitError{code: exitInvalid, err: e}
	}
	e.text = strings.TrimSuffix(faults.Text(s.limit), "\n")
	shown := error(e)
	if s.limit > 0 && len(faults) > s.limit {
		shown = hint(e, "%q shows all of them", "mailstead validate "+s.String())
	}
	return &exitError{code: exitInvalid, err: shown}
}

// located gives the faults with the names of files as they are from the
// working directory, where a program that reads them looks for them. A fault
// of no file is one of what the operator named.
func (s *source) located(faults schema.Diagnostics) schema.Diagnostics {
	top := ""
	if fi, err := os.Stat(s.paths[0]); err == nil && fi.IsDir() && len(s.paths) == 1 {
		top = s.paths[0] // names are relative to the only directory
	}
	here, _ := os.Getwd()
	faults = slices.Clone(faults)
	for i := range faults {
		file := &faults[i].Pos.File
		switch {
		case *file == "":
			*file = s.paths[0]
		case !filepath.IsAbs(*file):
			*file = filepath.Join(top, *file)
		}
		if rel, err := filepath.Rel(here, *file); err == nil && filepath.IsAbs(*file) && filepath.IsLocal(rel) {
			*file = rel
		}
	}
	return faults
}

// write writes the faults for a program; as text, report does it.
func (e *invalidError) write(w io.Writer) error {
	switch e.form {
	case diagnosticsJSON:
		return writeJSON(w, checked{Diagnostics: e.faults})
	case diagnosticsSARIF:
		return writeJSON(w, newSARIF(e.faults))
	case diagnosticsGitHub:
		return writeAnnotations(w, e.faults)
	}
	return nil
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
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

// output is where a command says what it has found or done. It keeps the first error of
// doing so, which the command has no use for: what it does is done all the same.
type output struct {
	io.Writer
	mu     sync.Mutex
	failed error
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed != nil {
		return 0, o.failed // with a gap it would be worse than cut off
	}
	n, err := o.Writer.Write(p)
	o.failed = err
	return n, err
}

// ended is what a command ends with whose own end is err. An exit code without a word
// counts on what was said, so that it comes second to the loss of that, which the command
// may have met itself.
func (o *output) ended(err error) error {
	if o.failed == nil || saysElse(err, o.failed) {
		return err
	}
	return fmt.Errorf("write the output: %w", o.failed)
}

// saysElse tells whether an error says anything but that one.
func saysElse(err, one error) bool {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		return slices.ContainsFunc(all.Unwrap(), func(err error) bool { return saysElse(err, one) })
	}
	if inner := errors.Unwrap(err); inner != nil && err != one {
		return saysElse(inner, one)
	}
	return err != nil && err != one && unsaid(err) != nil
}

// unheard has what is begun come to its end although nobody reads any more what is said
// of it, as behind "head -1": a pipe that is closed then is no signal that kills, but an
// error of writing like others. Who only looks is killed by it, as is usual.
func unheard() { signal.Ignore(unix.SIGPIPE) }

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
)

// The exit codes. They never overlap, whatever the command.
const (
	exitDone     = 0
	exitFailed   = 1
	exitPending  = 2
	exitInvalid  = 3
	exitStale    = 4
	exitLocked   = 5
	exitPartial  = 6
	exitReturned = 7
	exitFound    = 8
)

// exitMeanings is what the help says of each exit code.
var exitMeanings = map[int]string{
	exitDone:     "done, or nothing to do",
	exitFailed:   "failed",
	exitPending:  "changes are pending (--detailed-exitcode, --fail-on)",
	exitInvalid:  "the description is invalid",
	exitStale:    "the host is not what the plan was made for",
	exitLocked:   "another mailstead is at work on this host",
	exitReturned: "it did not hold: the host serves as it did before",
	exitFound:    "something is not as it should be",
	exitPartial:  "applied in part: something failed or has to be done first",
}

// exitStatus is the section that ends the help of every command.
func exitStatus(codes ...int) string {
	var b strings.Builder
	b.WriteString("\n\nEXIT STATUS\n")
	for _, code := range codes {
		fmt.Fprintf(&b, "  %d  %s\n", code, exitMeanings[code])
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// exitError is an error with its exit code. A nil err ends the program
// without a word: everything has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// hintError is an error with a line that says what to do about it.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }

func (e *hintError) Unwrap() error { return e.err }

// hint adds what to do about err; report shows it on a line of its own.
func hint(err error, format string, args ...any) error {
	return &hintError{err: err, hint: fmt.Sprintf(format, args...)}
}

// exitCodeOf is the exit code that an error asks for.
func exitCodeOf(err error) int {
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return exitFailed
}

// priorityErr is what makes a line on the journal's stream an error (sd-daemon(3)).
const priorityErr = "<3>"

// journalWriter marks every line as an error for the journal.
type journalWriter struct{ w io.Writer }

func (j journalWriter) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if _, err := io.WriteString(j.w, priorityErr+line); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// errorWriter is where errors go: to stderr, which may be the journal.
func errorWriter(stderr io.Writer) io.Writer {
	if ok, err := journal.StderrIsJournalStream(); err == nil && ok {
		return journalWriter{stderr}
	}
	return stderr
}

// report writes an error the way all of them are written, and gives its exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitDone
	}
	code := exitCodeOf(err)
	if err = unsaid(err); err == nil {
		return code
	}
	var invalid *invalidError
	if errors.As(err, &invalid) && invalid.form.isText() {
		fmt.Fprintf(w, "%s\n\n", invalid.text)
	}
	message := err.Error()
	if _, exit := errors.AsType[*exitError](err); !exit && errors.Is(err, context.Canceled) {
		message = "interrupted"
	}
	fmt.Fprintf(w, "mailstead: error: %s\n", visibleLines(message))
	given := hints(err)
	if h, _ := remedy(err); h != "" && len(given) == 0 && invalid == nil {
		given = []string{h}
	}
	for _, h := range given {
		fmt.Fprintf(w, "hint: %s\n", visibleLines(h))
	}
	return code
}

// unsaid gives of an error what nobody has said yet, nil if that is nothing: of several
// that are joined, some may have been.
func unsaid(err error) error {
	switch e := err.(type) {
	case *exitError:
		if e.err == nil {
			return nil
		}
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil && unsaid(inner) == nil {
			return nil
		}
	case interface{ Unwrap() []error }:
		all := e.Unwrap()
		rest := slices.DeleteFunc(slices.Clone(all), func(err error) bool { return unsaid(err) == nil })
		if len(rest) < len(all) {
			return errors.Join(rest...)
		}
	}
	return err
}

// hints gives the hints along the chain of an error, the outermost first.
func hints(err error) []string {
	var all []string
	for err != nil {
		var h *hintError
		if !errors.As(err, &h) {
			break
		}
		all = append(all, h.hint)
		err = h.err
	}
	return all
}

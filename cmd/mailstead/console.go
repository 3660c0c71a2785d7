package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// console is where a command reads and writes: results go to out; questions,
// progress and everything else that a script must not parse go to err.
type console struct {
	in       io.Reader
	out, err io.Writer
	colour   bool // out is a terminal that may be coloured
	ask      bool // in and err are terminals: a question can be answered
	progress bool // err is a terminal: a line may be rewritten
}

func newConsole(cmd *cobra.Command) *console {
	c := &console{in: cmd.InOrStdin(), out: cmd.OutOrStdout(), err: cmd.ErrOrStderr()}
	c.progress = isTerminal(c.err)
	c.ask = isTerminal(c.in) && c.progress
	// https://no-color.org: set and not empty, whatever the value.
	c.colour = isTerminal(c.out) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return c
}

func isTerminal(stream any) bool {
	if o, ok := stream.(*output); ok {
		stream = o.Writer
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// eraseLine begins a line of a terminal anew (ECMA-48 EL).
const eraseLine = "\r\x1b[K"

// paint is how a terminal shows what kind of line this is (ECMA-48 SGR).
type paint string

const (
	green  paint = "32"
	yellow paint = "33"
	red    paint = "31"
	cyan   paint = "36"
	faint  paint = "2"
	bold   paint = "1"
)

// paint gives text in a colour where colour is allowed.
func (c *console) paint(p paint, text string) string {
	if !c.colour || p == "" {
		return text
	}
	return "\x1b[" + string(p) + "m" + text + "\x1b[0m"
}

// confirm asks a question to which only "yes" is consent. An interrupt is none.
func (c *console) confirm(ctx context.Context, question string) (bool, error) {
	fmt.Fprintf(c.err, "%s Only \"yes\" is taken as consent: ", question)
	answer := make(chan string, 1)
	failed := make(chan error, 1)
	go func() { // left behind at its read by an interrupt, after which the program ends
		line, err := bufio.NewReader(io.LimitReader(c.in, 1024)).ReadString('\n')
		if err != nil && err != io.EOF {
			failed <- fmt.Errorf("read answer: %w", err)
			return
		}
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(c.err)
		return false, ctx.Err()
	case err := <-failed:
		return false, err
	case line := <-answer:
		return line == "yes", nil
	}
}

// consent asks whether to go on with what changes the host; without a terminal
// there is nobody to ask.
func consent(ctx context.Context, c *console, question string) error {
	if !c.ask {
		return hint(errors.New("nothing was changed: there is no terminal to ask on"), "give --yes to go on without being asked")
	}
	yes, err := c.confirm(ctx, "\n"+question)
	if err == nil && !yes {
		err = errors.New("nothing was changed: the answer was not \"yes\"")
	}
	return err
}

// number is so many of what an English noun in the singular names.
func number(n int, noun string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(noun, "x"):
		noun += "es"
	default:
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// visible makes a string that came from elsewhere safe for a terminal and for
// a line of output: control characters are shown, not sent. Octets that are not UTF-8 are
// neither: 0x9b begins a command of a terminal of 8 bits (ECMA-48 CSI).
func visible(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if !strings.ContainsFunc(s, unprintable) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unprintable(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// visibleLines is visible for a text of several lines.
func visibleLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = visible(line)
	}
	return strings.Join(lines, "\n")
}

// unprintable is true of control characters and of those that reorder text.
func unprintable(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}

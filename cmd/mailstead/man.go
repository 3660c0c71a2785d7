package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manSection is where commands of administrators are (man(1)).
const manSection = "8"

func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "write the manual pages",
		Long: `Writes a manual page for each command into DIR, which is made if it is missing,
such as /usr/local/share/man/man8. They say what --help says.` + exitStatus(exitDone, exitFailed),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runMan(cmd.Root(), args[0])
		},
	}
}

func runMan(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write manual: %w", err)
	}
	for _, cmd := range documented(root) {
		name := filepath.Join(dir, manName(cmd)+"."+manSection)
		if err := os.WriteFile(name, []byte(manPage(cmd)), 0o644); err != nil {
			return fmt.Errorf("write manual: %w", err)
		}
	}
	return nil
}

// documented lists a command and those below it, but for hidden ones.
func documented(cmd *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			list = append(list, documented(c)...)
		}
	}
	return list
}

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage writes the page of a command in the macros of man(7). cobra's own
// pages take the help for Markdown and run its tables together.
func manPage(cmd *cobra.Command) string {
	var b strings.Builder
	name := manName(cmd)
	fmt.Fprintf(&b, ".TH %s %s \"\" mailstead\n", roffWord(strings.ToUpper(name)), manSection)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(name), roff(cmd.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(cmd.CommandPath()))
	use := strings.TrimPrefix(cmd.Use, cmd.Name())
	if cmd.HasAvailableSubCommands() {
		use = " COMMAND"
	}
	fmt.Fprintf(&b, "%s\n", roff(strings.TrimSpace("[OPTION...]"+use)))
	text, codes, _ := strings.Cut(cmd.Long, "\n\nEXIT STATUS\n")
	b.WriteString(".SH DESCRIPTION\n")
	roffText(&b, strings.TrimSpace(text))
	manCommands(&b, cmd)
	manOptions(&b, cmd)
	b.WriteString(".SH EXIT STATUS\n")
	for line := range strings.Lines(codes) {
		code, meaning, _ := strings.Cut(strings.TrimSpace(line), " ")
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(code), roff(strings.TrimSpace(meaning)))
	}
	if cmd.HasParent() {
		fmt.Fprintf(&b, ".SH SEE ALSO\n.BR %s (%s)\n", roffWord(manName(cmd.Parent())), manSection)
	}
	return b.String()
}

func manCommands(b *strings.Builder, cmd *cobra.Command) {
	if !cmd.HasAvailableSubCommands() {
		return
	}
	b.WriteString(".SH COMMANDS\n")
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			fmt.Fprintf(b, ".TP\n.BR %s (%s)\n%s\n", roffWord(manName(c)), manSection, roff(c.Short))
		}
	}
}

func manOptions(b *strings.Builder, cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	b.WriteString(".SH OPTIONS\n")
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		b.WriteString(".TP\n")
		if f.Shorthand != "" {
			fmt.Fprintf(b, "\\fB%s\\fR, ", roff("-"+f.Shorthand))
		}
		fmt.Fprintf(b, "\\fB%s\\fR", roff("--"+f.Name))
		if value != "" {
			fmt.Fprintf(b, " \\fI%s\\fR", roff(value))
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" && f.DefValue != "0s" {
			usage += " (default: " + f.DefValue + ")"
		}
		fmt.Fprintf(b, "\n%s\n", roff(usage))
	})
}

// roffText writes the paragraphs of a help. Lines that are set in are tables,
// and stay as they are.
func roffText(b *strings.Builder, text string) {
	table := false
	for line := range strings.SplitSeq(text, "\n") {
		in := strings.HasPrefix(line, "  ")
		switch {
		case in && !table:
			b.WriteString(".RS 2\n.nf\n")
		case !in && table:
			b.WriteString(".fi\n.RE\n")
		}
		table = in
		if line == "" {
			b.WriteString(".PP\n")
		} else {
			b.WriteString(roff(strings.TrimPrefix(line, "  ")) + "\n")
		}
	}
	if table {
		b.WriteString(".fi\n.RE\n")
	}
}

// roff escapes a line of text (groff(7)): backslashes, hyphens that are to be
// copied as they are, and what would be a request at the beginning of a line.
func roff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}
	return line
}

// roffWord escapes an argument of a macro.
func roffWord(word string) string {
	return `"` + strings.ReplaceAll(roff(word), `"`, `\(dq`) + `"`
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"mailstead/schema"
)

// manSection is where commands of administrators are (man(1)).
const manSection = "8"

func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "write the manual pages",
		Long: `Writes the manual into DIR, such as /usr/local/share/man: a page for each
command, which says what --help says, and one for each other program (man8),
mailstead(7), an overview, and mailstead(5), all that a description can say.` + exitStatus(exitDone, exitFailed),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runMan(cmd.Root(), args[0])
		},
	}
}

func runMan(root *cobra.Command, dir string) error {
	fields, err := schema.Fields()
	if err != nil {
		return fmt.Errorf("write manual: %w", err)
	}
	pages := map[string]string{
		"man5/mailstead.5": manDescription(fields),
		"man7/mailstead.7": manOverview(root),
	}
	for _, cmd := range documented(root) {
		pages["man8/"+manName(cmd)+"."+manSection] = manPage(cmd)
	}
	for _, p := range manPrograms {
		pages["man8/"+p.name+"."+manSection] = p.page()
	}
	for name, text := range pages {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return fmt.Errorf("write manual: %w", err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
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
	manHead(&b, name, manSection, cmd.Short)
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(cmd.CommandPath()))
	use := strings.TrimPrefix(cmd.Use, cmd.Name())
	below := cmd.HasAvailableSubCommands()
	if below && use == "" {
		use, below = " [COMMAND]", false
	}
	fmt.Fprintf(&b, "%s\n", roff("[OPTION...]"+use))
	if below {
		fmt.Fprintf(&b, ".br\n.B %s\nCOMMAND\n", roff(cmd.CommandPath()))
	}
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
		manSeeAlso(&b, manName(cmd.Parent())+"(8)", "mailstead(7)")
	} else {
		manSeeAlso(&b, "mailstead(5)", "mailstead(7)", "mailstead-imapd(8)")
	}
	return b.String()
}

// manHead begins a page. Of when it was written it says nothing: it is as old as
// the program.
func manHead(b *strings.Builder, name, section, summary string) {
	fmt.Fprintf(b, ".TH %s %s \"\" mailstead\n", roffWord(strings.ToUpper(name)), section)
	fmt.Fprintf(b, ".SH NAME\n%s \\- %s\n", roff(name), roff(summary))
}

// manSeeAlso ends a page with others, such as mailstead(7).
func manSeeAlso(b *strings.Builder, pages ...string) {
	b.WriteString(".SH SEE ALSO\n")
	for i, p := range pages {
		name, section, _ := strings.Cut(p, "(")
		end := ","
		if i == len(pages)-1 {
			end = ""
		}
		fmt.Fprintf(b, ".BR %s (%s%s\n", roffWord(name), section, end)
	}
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

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mailstead/schema"
)

type explainOptions struct {
	path   string
	deep   bool
	output string
}

func newExplainCommand() *cobra.Command {
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain [FIELD]",
		Short: "say what a field of a description means",
		Long: `Prints what the schema says of a field: its meaning, what it may be, its
default, what a change of it means to the people connected, and an example; of
one that holds others, those too. FIELD is a path such as
hosts.NAME.listeners.NAME.port, with any name for NAME, or only its end, such as
quota.storage. Without FIELD it is the whole description.` + exitStatus(exitDone, exitFailed),
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeFields,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.path = args[0]
			}
			return runExplain(o, newConsole(cmd))
		},
	}
	addOutput(cmd, &o.output)
	cmd.Flags().BoolVarP(&o.deep, "recursive", "r", false, "list the fields of the fields too")
	return cmd
}

// quoteName gives the path of a field with quotes around what has to be one name for there
// to be such a field, "" for none. At the end of a path a field that there is not is
// likelier than a name, unless that is an address.
func quoteName(path string) string {
	parts := strings.Split(path, ".")
	for from := 1; from < len(parts); from++ {
		for to := from + 2; to <= len(parts); to++ {
			name := `"` + strings.Join(parts[from:to], ".") + `"`
			if to == len(parts) && !strings.Contains(name, "@") {
				break
			}
			quoted := strings.Join(slices.Concat(parts[:from], []string{name}, parts[to:]), ".")
			if _, err := schema.Explain(quoted, false); err == nil {
				return quoted
			}
		}
	}
	return ""
}

func runExplain(o explainOptions, c *console) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	list, err := schema.Explain(o.path, o.deep)
	var unknown *schema.UnknownFieldError
	quoted := ""
	if errors.As(err, &unknown) {
		quoted = quoteName(o.path)
	}
	switch {
	case quoted != "" && unknown.Near == "":
		return hint(err, "a name with dots in it wants quotes: mailstead explain %s", shellQuote(quoted))
	case errors.As(err, &unknown) && unknown.Near != "":
		return hint(err, "did you mean %q?", "mailstead explain "+unknown.Near)
	case errors.As(err, &unknown) && len(unknown.Has) == 0:
		return hint(err, "%s holds no fields", unknown.Under)
	case errors.As(err, &unknown):
		return hint(err, "%s has %s", cmp.Or(unknown.Under, "a description"), strings.Join(unknown.Has, ", "))
	case err != nil:
		return err
	}
	if o.output == outputJSON {
		return writeJSON(c.out, list)
	}
	for i, e := range list {
		if i > 0 {
			fmt.Fprint(c.out, "\n\n")
		}
		if err := writeExplanation(c, e); err != nil {
			return err
		}
	}
	return nil
}

// writeExplanation writes what there is to say of a field for people.
func writeExplanation(c *console, e schema.Explanation) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	title := "A description has"
	if e.Path != "" {
		title = "\n" + e.Path + " has"
		fmt.Fprintf(c.out, "%s\n\n", c.paint(bold, e.Path))
		writeWrapped(c.out, e.Doc)
		fmt.Fprintln(c.out)
		for _, row := range explanationRows(e.Field) {
			if row[1] != "" {
				fmt.Fprintf(w, "  %s\t%s\n", row[0], row[1])
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	for i, f := range e.Below {
		if i == 0 {
			fmt.Fprintln(w, c.paint(bold, title))
		}
		required := ""
		if f.Required {
			required = ", required"
		}
		fmt.Fprintf(w, "  %s\t%s%s\t%s\n", strings.TrimPrefix(f.Path, e.Path+"."), f.Type, required, firstClause(f.Doc))
	}
	return w.Flush()
}

func explanationRows(f schema.Field) [][2]string {
	allowed := strings.TrimPrefix(f.Rule, "must be ")
	if len(f.Words) > 0 {
		allowed = "" // they are the type
	}
	kind := f.Type
	if f.Secret {
		kind += ", never shown"
	}
	ends := f.Default
	if f.Required {
		ends = "none: it is required"
	}
	change := f.Impact
	if change != "" {
		change += ": " + schema.MeaningOf(schema.Impacts, f.Impact)
	}
	return [][2]string{
		{"type", kind}, {"allowed", allowed}, {"names", strings.TrimPrefix(f.NameRule, "must be ")},
		{"default", ends}, {"change", change}, {"example", f.Example},
	}
}

// explainWidth is how many characters a line of text has at most.
const explainWidth = 78

// writeWrapped writes text in lines that are set in by two.
func writeWrapped(w io.Writer, text string) {
	line := " "
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > explainWidth {
			fmt.Fprintln(w, line)
			line = " "
		}
		line += " " + word
	}
	fmt.Fprintln(w, line)
}

// clauseEnd is where a text may be cut short.
var clauseEnd = regexp.MustCompile(`[.:;,]( |$)`)

// firstClause is what a list has room for.
func firstClause(text string) string {
	if at := clauseEnd.FindStringIndex(text); at != nil {
		return text[:at[0]]
	}
	return text
}

// completeFields offers the shell every path of the schema.
func completeFields(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	fields, err := schema.Fields()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	paths := make([]string, len(fields))
	for i, f := range fields {
		paths[i] = f.Path
	}
	return paths, cobra.ShellCompDirectiveNoFileComp
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
)

type whyOptions struct {
	source
	opts   desired.Options
	target string
	output string
}

func newWhyCommand() *cobra.Command {
	var o whyOptions
	cmd := &cobra.Command{
		Use:   "why FILE[:LINE] [PATH...]",
		Short: "say which line of the description a line of a file comes from",
		Long: `Names the fields of the description that decide a line of a file that Mailstead
writes (a unit, the daemon's two files, the PAM service, the certbot hook), and
where each of them is written. FILE is its path, or the name of a unit; without
LINE every line is shown with its origin.

It goes by the file that is on disk, and says if that is not what the
description makes of it. Nothing is written.

` + sourceHelp + exitStatus(exitDone, exitFailed, exitInvalid),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.target = args[0]
			o.take(args[1:])
			return runWhy(cmd.Context(), o, newConsole(cmd))
		},
	}
	o.flags(cmd)
	addRootless(cmd, &o.opts)
	addOutput(cmd, &o.output)
	return cmd
}

// reasons is the answer of why.
type reasons struct {
	File   string       `json:"file"`
	Origin string       `json:"origin"`         // of what asks for the file
	Note   string       `json:"note,omitempty"` // what is not as it should be
	Lines  []lineReason `json:"lines"`
}

// lineReason is where one line of a file comes from.
type lineReason struct {
	Line    int           `json:"line"`
	Text    string        `json:"text"`              // "" where the file holds secrets
	Foreign bool          `json:"foreign,omitempty"` // it is not in what the description makes of the file
	Fields  []fieldReason `json:"fields,omitempty"`  // none: it is in every file of this kind
}

// fieldReason is a field that decides a line.
type fieldReason struct {
	Field   string `json:"field"`             // such as hosts."mail.example.org".listeners.imap.port
	Origin  string `json:"origin"`            // where it is written; of a default, where what it belongs to is
	Default bool   `json:"default,omitempty"` // it is not written anywhere
	Source  string `json:"source,omitempty"`  // that line of the description
	pos     schema.Pos
}

func runWhy(ctx context.Context, o whyOptions, c *console) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	l, err := o.look(ctx, o.opts, false)
	if err != nil {
		return err
	}
	defer l.close()
	name, line := splitTarget(o.target)
	r, err := l.fileNamed(name)
	if err != nil {
		return err
	}
	answer, err := l.reasons(r)
	if err != nil {
		return err
	}
	if line > len(answer.Lines) {
		return fmt.Errorf("%s has %d lines", answer.File, len(answer.Lines))
	}
	if line > 0 {
		answer.Lines = answer.Lines[line-1 : line]
	}
	o.quote(answer)
	switch {
	case o.output == outputJSON:
		return writeJSON(c.out, answer)
	case line > 0:
		writeReason(c, answer)
		return nil
	}
	return writeReasons(c, answer)
}

var targetLine = regexp.MustCompile(`^(.+?):([0-9]{1,9})(?::[0-9]+)?$`)

// splitTarget parts FILE:LINE, or FILE:LINE:COLUMN as other programs have it;
// line 0 is the whole file.
func splitTarget(target string) (name string, line int) {
	if m := targetLine.FindStringSubmatch(target); m != nil {
		line, _ = strconv.Atoi(m[2])
		return m[1], line
	}
	return target, 0
}

// fileNamed finds the file that is meant: by its path, or a unit by its name.
func (l *look) fileNamed(name string) (*reconcile.Resource, error) {
	full, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	var files []string
	for i, r := range l.want {
		path, _ := kind.TextOf(r)
		if path != "" {
			files = append(files, path)
		}
		switch {
		case path == full, r.Ref.Kind == "unit" && r.Ref.Name == name:
			return &l.want[i], nil
		case path == "" && r.Ref.Name == full, path == "" && r.Get("path") == full:
			return nil, hint(fmt.Errorf("%s has no lines of the description's", full), "%s is asked for by %s", r.Ref, r.Origin)
		}
	}
	return nil, hint(fmt.Errorf("%s is no file that %s makes", name, l.host.Name), "it makes %s", strings.Join(files, ", "))
}

// reasons finds where each line of a file comes from, as it is on disk.
func (l *look) reasons(r *reconcile.Resource) (*reasons, error) {
	path, want := kind.TextOf(*r)
	a := &reasons{File: path, Origin: r.Origin, Lines: []lineReason{}}
	data, err := os.ReadFile(path)
	have := string(data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		have = want
		a.Note = "it is not on this host yet; this is what apply would write"
	case errors.Is(err, fs.ErrPermission):
		return nil, hint(err, "run it as root")
	case err != nil:
		return nil, err
	case have != want:
		a.Note = l.foreign(*r, have)
	}
	// A line that stands where it should not is still the one that it is.
	left := map[string][]render.Fields{}
	lines := strings.Split(want, "\n")
	for i, fields := range originsOf(*r, want) {
		left[lines[i]] = append(left[lines[i]], fields)
	}
	x := l.origins()
	secret := slices.ContainsFunc(r.Attrs, func(a reconcile.Attr) bool { return a.Name == "content" && a.Secret })
	for line := range strings.Lines(have) {
		line = strings.TrimSuffix(line, "\n")
		reason := lineReason{Line: len(a.Lines) + 1, Text: line}
		if these := left[line]; len(these) > 0 {
			reason.Fields, left[line] = x.reasons(these[0]), these[1:]
		} else {
			reason.Foreign = true
		}
		if secret {
			reason.Text = ""
		}
		a.Lines = append(a.Lines, reason)
	}
	return a, nil
}

// foreign says why a file is not what the description makes of it.
func (l *look) foreign(r reconcile.Resource, have string) string {
	inv, err := reconcile.ReadInventory(l.host.Paths.State)
	if err != nil {
		return "it is not what the description makes of it"
	}
	switch same, known := inv.Wrote(r.Ref, kind.ContentOf(r, have)); {
	case !known:
		return "it was not written by mailstead"
	case same:
		return "the description, or this program, has changed since it was written: see \"mailstead plan\""
	}
	return "it was changed outside of mailstead: see \"mailstead plan -v\""
}

// originsOf gives the fields behind each line of a file.
func originsOf(r reconcile.Resource, text string) []render.Fields {
	switch r.Ref.Kind {
	case "unit":
		return render.UnitOrigins(r.Ref.Name, text)
	case "daemon-config":
		return render.ConfigOrigins(text)
	case "password-file":
		return render.UsersOrigins(text)
	case "deploy-hook":
		return render.HookOrigins(text)
	case "file":
		return render.FileOrigins(r.Ref.Name, text)
	case "pam-service":
		return render.PAMOrigins(text)
	}
	return make([]render.Fields, strings.Count(text, "\n"))
}

// origins knows where the fields of a host are written.
type origins struct {
	host  *schema.Host
	users map[string]schema.Pos
}

func (l *look) origins() origins {
	x := origins{l.host, make(map[string]schema.Pos, len(l.host.Users))}
	for _, u := range l.host.Users {
		x.users["users/"+u.Name] = u.Origin
	}
	return x
}

// reasons gives the fields with their places: those that are written, or where
// none is, all of them.
func (x origins) reasons(fields render.Fields) []fieldReason {
	var written, defaults []fieldReason
	for _, field := range fields {
		r := fieldReason{Field: schema.PathText(append([]string{"hosts", x.host.Name}, strings.Split(field, "/")...))}
		var ok bool
		if r.pos, ok = x.pos(field); ok {
			written = append(written, r)
			continue
		}
		r.Default, r.pos = true, x.host.Origin
		for parent := field; strings.Contains(parent, "/"); {
			parent = parent[:strings.LastIndex(parent, "/")]
			if pos, ok := x.pos(parent); ok {
				r.pos = pos
				break
			}
		}
		defaults = append(defaults, r)
	}
	list := written
	if len(list) == 0 {
		list = defaults
	}
	for i := range list {
		list[i].Origin = list[i].pos.String()
	}
	return list
}

func (x origins) pos(field string) (schema.Pos, bool) {
	if pos, ok := x.users[field]; ok {
		return pos, true
	}
	pos, ok := x.host.Origins[field]
	return pos, ok
}

// quote adds the lines of the description.
func (s *source) quote(a *reasons) {
	var at []schema.Pos
	each := func(do func(*fieldReason)) {
		for i := range a.Lines {
			for j := range a.Lines[i].Fields {
				do(&a.Lines[i].Fields[j])
			}
		}
	}
	each(func(f *fieldReason) { at = append(at, f.pos) })
	lines := schema.Lines(s.paths, at)
	each(func(f *fieldReason) {
		if x := lines[0]; x != nil {
			f.Source = strings.TrimSpace(x.Line)
		}
		lines = lines[1:]
	})
}

// writeReason says where the one line of an answer comes from.
func writeReason(c *console, a *reasons) {
	r := a.Lines[0]
	fmt.Fprintf(c.out, "%s:%d: %s\n", a.File, r.Line, c.paint(bold, visible(strings.TrimSpace(r.Text))))
	if a.Note != "" {
		fmt.Fprintf(c.out, "Note: %s\n", visible(a.Note))
	}
	fmt.Fprintln(c.out)
	switch {
	case r.Foreign:
		fmt.Fprintf(c.out, "  The description makes no such line. It asks for the file at %s.\n", visible(a.Origin))
	case len(r.Fields) == 0:
		fmt.Fprintf(c.out, "  No field decides it. The description asks for the file at %s.\n", visible(a.Origin))
	}
	for _, f := range r.Fields {
		note := ""
		if f.Default {
			note = " is not written: its default, for"
		}
		fmt.Fprintf(c.out, "  %s%s\n    %s: %s\n", visible(f.Field), note, visible(f.Origin), visible(f.Source))
	}
}

// writeReasons writes a whole file with the origin of each line beside it.
func writeReasons(c *console, a *reasons) error {
	fmt.Fprintln(c.out, c.paint(bold, a.File))
	if a.Note != "" {
		fmt.Fprintf(c.out, "Note: %s\n", visible(a.Note))
	}
	fmt.Fprintf(c.out, "The description asks for it at %s.\n\n", visible(a.Origin))
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, r := range a.Lines {
		origin := ""
		switch {
		case r.Foreign:
			origin = "?"
		case len(r.Fields) > 0:
			origin = r.Fields[0].Origin
			if r.Fields[0].Default {
				origin += " (default)"
			}
		}
		fmt.Fprintf(w, "%d\t%s\t%s\n", r.Line, visible(origin), visible(strings.ReplaceAll(r.Text, "\t", "    ")))
	}
	return w.Flush()
}

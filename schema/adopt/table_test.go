package adopt

import (
	_ "embed"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/schema"
)

// docs/courier.md is made of the table of options.
func TestDocs(t *testing.T) {
	const name = "../../docs/courier.md"
	want := page()
	if os.Getenv("MAILSTEAD_UPDATE") == "1" {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s -want +got, or run with MAILSTEAD_UPDATE=1:\n%s", name, diff)
	}
}

//go:embed testdata/courier.md
var pageHead string

func page() string {
	var b strings.Builder
	b.WriteString(pageHead)
	for _, p := range programs {
		fmt.Fprintf(&b, "\n### %s\n\n| option | Debian's value | outcome | |\n|---|---|---|---|\n", p)
		for _, o := range table {
			if o.program != p {
				continue
			}
			value := "`" + o.value + "`"
			if o.value == notSet {
				value = "–"
			}
			if o.value == "" {
				value = "empty"
			}
			outcome := string(o.outcome)
			if o.outcome == Taken {
				outcome = fmt.Sprintf("**%s**: `%s`", o.outcome, o.field)
			} else if o.outcome == Lost {
				outcome = fmt.Sprintf("**%s**", o.outcome)
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", o.name, value, outcome, strings.ReplaceAll(o.why, "|", `\|`))
		}
	}
	return b.String()
}

// Each option is there once, has an outcome and a reason, and goes into a field
// that the schema has.
func TestTable(t *testing.T) {
	fields, err := schema.Fields()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, f := range fields {
		known[f.Path] = true
	}
	seen := map[string]bool{}
	for _, o := range table {
		id := string(o.program) + " " + o.name
		if seen[id] || o.why == "" || o.outcome == "" {
			t.Errorf("%s: twice, or without an outcome or a reason", id)
		}
		seen[id] = true
		if (o.outcome == Taken) != (o.field != "") {
			t.Errorf("%s: %s, and the field is %q", id, o.outcome, o.field)
		}
		path := "hosts.NAME." + o.field
		for _, name := range []string{"imaps", "imapproxy", "imap"} {
			path = strings.Replace(path, "listeners."+name+".", "listeners.NAME.", 1)
		}
		if o.field != "" && !known[path] {
			t.Errorf("%s: the schema has no field %s", id, path)
		}
	}
}

// TestShippedOptions: every option of Debian's files is in the table, so that
// adopt has something to say of each.
func TestShippedOptions(t *testing.T) {
	text, err := os.ReadFile("testdata/options.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		file, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, ok := find(program(file), name); !ok {
			t.Errorf("%s: %s is not in the table", file, name)
		}
	}
}

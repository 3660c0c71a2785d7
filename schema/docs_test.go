package schema_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/schema"
)

// docs/schema.md is made of the comments of the schema.
func TestDocs(t *testing.T) {
	const name = "../docs/schema.md"
	fields, err := schema.Fields()
	if err != nil {
		t.Fatal(err)
	}
	want := schemaPage(fields)
	got, err := os.ReadFile(name)
	if err != nil && !update {
		t.Fatal(err)
	}
	if update && string(got) != want {
		write(t, name, []byte(want))
		return
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s -want +got, or run with MAILSTEAD_UPDATE=1:\n%s", name, diff)
	}
}

const (
	pageHead = `# What a description can say

Made from the comments of the schema (` + "`schema/*.cue`" + `); do not edit it here. NAME stands for a name of your choice.
The third column is what a change of the field means to the people connected:

`
	tableHead = "\n| field | value | change | meaning |\n|---|---|---|---|\n"
)

func schemaPage(fields []schema.Field) string {
	var b strings.Builder
	b.WriteString(pageHead)
	for _, i := range schema.Impacts {
		fmt.Fprintf(&b, "- %s: %s\n", i.Word, i.Meaning)
	}
	b.WriteString(tableHead)
	for _, f := range fields {
		ends := "Default: " + f.Default + "."
		if f.Required {
			ends = "**Required.**"
		}
		kind := f.Type
		if f.Secret {
			kind += ", never shown"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s %s |\n", f.Path, kind, f.Impact, strings.ReplaceAll(f.Doc, "|", `\|`), ends)
	}
	return b.String()
}

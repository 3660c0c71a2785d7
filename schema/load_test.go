package schema_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"mailstead/schema"
)

// update rewrites what the tests expect.
var update = os.Getenv("MAILSTEAD_UPDATE") == "1"

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // one load after the other, of which nothing stays
	os.Exit(m.Run())
}

// TestDescriptions loads the files of each archive. The archive ends with the
// exact faults (faults.txt) or the Config (config.json). Lines of its comment
// that begin with "inputs:" and "tags:" say what to load; default is the directory.
func TestDescriptions(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	bad := 0
	for _, name := range archives {
		if strings.HasPrefix(filepath.Base(name), "bad-") {
			bad++
		}
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) { testDescription(t, name) })
	}
	if bad < 40 {
		t.Errorf("%d broken descriptions, want at least 40", bad)
	}
}

func testDescription(t *testing.T, name string) {
	name, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	ar, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	expected, want := "config.json", ""
	if strings.HasPrefix(filepath.Base(name), "bad-") {
		expected = "faults.txt"
	}
	files := ar.Files[:0]
	for _, f := range ar.Files {
		if f.Name == expected {
			want = string(f.Data)
			continue
		}
		files = append(files, f)
		write(t, filepath.Join(dir, f.Name), f.Data)
	}
	t.Chdir(dir)
	config, err := schema.Load(options(string(ar.Comment)))
	got := ""
	switch {
	case expected == "faults.txt" && err == nil:
		t.Fatalf("loaded, but should be refused")
	case expected == "faults.txt":
		got = err.Error() + "\n"
	case err != nil:
		t.Fatalf("refused:\n%v", err)
	default:
		got = configText(t, config)
	}
	if update && got != want {
		ar.Files = append(files, txtar.File{Name: expected, Data: []byte(got)})
		write(t, name, txtar.Format(ar))
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got, or run with MAILSTEAD_UPDATE=1:\n%s", diff)
	}
}

func options(comment string) schema.Options {
	opts := schema.Options{Inputs: []string{"."}}
	for line := range strings.Lines(comment) {
		if rest, ok := strings.CutPrefix(line, "inputs:"); ok {
			opts.Inputs = strings.Fields(rest)
		}
		if rest, ok := strings.CutPrefix(line, "tags:"); ok {
			opts.Tags = strings.Fields(rest)
		}
	}
	return opts
}

var posJSON = regexp.MustCompile(`\{\s*"file": "([^"]*)",\s*"line": (\d+),\s*"col": (\d+)\s*\}`)

// configText writes a Config as JSON, with positions on one line.
func configText(t *testing.T, c *schema.Config) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(c); err != nil {
		t.Fatal(err)
	}
	return posJSON.ReplaceAllString(b.String(), `"$1:$2:$3"`)
}

func write(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// faults gives the faults of a description that must be refused.
func faults(t *testing.T, opts schema.Options) schema.Diagnostics {
	t.Helper()
	_, err := schema.Load(opts)
	var d schema.Diagnostics
	if !errors.As(err, &d) {
		t.Fatalf("got error %v, want Diagnostics", err)
	}
	return d
}

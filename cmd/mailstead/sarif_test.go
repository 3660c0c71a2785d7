package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"mailstead/schema"
)

// TestSARIF holds the log of every broken description of schema's tests to the
// shape of SARIF 2.1.0, with places that are in the files and rules that exist.
func TestSARIF(t *testing.T) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	shape, err := c.Compile("testdata/sarif.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	archives, err := filepath.Glob("../../schema/testdata/bad-*.txtar")
	if err != nil || len(archives) < 40 {
		t.Fatalf("%d broken descriptions: %v", len(archives), err)
	}
	for _, name := range archives {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for _, f := range ar.Files[:len(ar.Files)-1] { // the last one is what is expected
			file := filepath.Join(dir, filepath.FromSlash(f.Name))
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, f.Data, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		s := source{paths: []string{dir}, form: diagnosticsSARIF}
		_, err = s.load()
		var invalid *invalidError
		if !errors.As(err, &invalid) {
			continue // broken in another way than as a directory
		}
		checkSARIF(t, shape, invalid.faults)
	}
	checkSARIF(t, shape, nil)
}

func checkSARIF(t *testing.T, shape *jsonschema.Schema, faults schema.Diagnostics) {
	t.Helper()
	var b bytes.Buffer
	log := newSARIF(faults)
	if err := writeJSON(&b, log); err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(&b)
	if err != nil {
		t.Fatal(err)
	}
	if err := shape.Validate(value); err != nil {
		t.Errorf("%v: %v", faults, err)
	}
	run := log.Runs[0]
	if len(run.Results) != len(faults) {
		t.Errorf("%d faults, and %d results", len(faults), len(run.Results))
	}
	for _, r := range run.Results {
		if run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID {
			t.Errorf("rule %d is not %s", r.RuleIndex, r.RuleID)
		}
	}
}

package schema

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cuelang.org/go/cue/build"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// checker is the JSON Schema in a validator that knows nothing of CUE.
func checker(t *testing.T, part bool) *jsonschema.Schema {
	t.Helper()
	text, err := JSONSchema(part)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", parsed); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func compile(t *testing.T) *compiled {
	t.Helper()
	s, err := compileSchema()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func check(t *testing.T, s *jsonschema.Schema, text []byte) error {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(value)
}

// evaluated gives a description as JSON and whether the schema has a fault to find
// with any single value of it. ok is false where it is no value at all.
func evaluated(s *compiled, input string) (text []byte, faults []Diagnostic, ok bool) {
	l := &loader{opts: Options{Inputs: []string{input}}, places: &place{}, faulty: map[string]bool{}, inboxRules: map[Pos]bool{}}
	l.inputs, l.faults = openInputs(l.opts.Inputs)
	defer l.close()
	l.schema = s
	if len(l.faults) > 0 || len(l.inputs) != 1 {
		return nil, nil, false
	}
	inst := l.read(l.inputs[0])
	if inst == nil || len(l.faults) > 0 {
		return nil, nil, false
	}
	v := l.evaluate([]*build.Instance{inst})
	text, err := v.MarshalJSON()
	if err != nil {
		return nil, nil, false
	}
	l.strict(l.schema.top, v, nil)
	return text, l.faults, true
}

// The JSON Schema takes what the schema takes, and refuses what it refuses, as
// far as that is about single values and names.
func TestJSONSchema(t *testing.T) {
	s, cue := checker(t, false), compile(t)
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	good, bad := 0, 0
	for _, name := range archives {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for _, f := range ar.Files[:len(ar.Files)-1] { // the last one is what is expected
			file := filepath.Join(dir, f.Name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, f.Data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		text, faults, ok := evaluated(cue, dir)
		if !ok {
			continue
		}
		err = check(t, s, text)
		if len(faults) == 0 {
			good++
		} else {
			bad++
		}
		if (err == nil) != (len(faults) == 0) {
			t.Errorf("%s: the schema finds %v, the JSON Schema %v", name, Diagnostics(faults), err)
		}
	}
	if good < 20 || bad < 15 {
		t.Errorf("compared %d right and %d wrong descriptions", good, bad)
	}
}

// Whatever stands in a field in place of its example is refused by both or by neither.
func TestJSONSchemaOfFields(t *testing.T) {
	s, cue := checker(t, true), compile(t)
	fields, err := Fields()
	if err != nil {
		t.Fatal(err)
	}
	values := []string{`""`, `"x"`, `"a b"`, `"/"`, `"/a/../b"`, `"/ä/b.pem"`, `"-x"`, `"imap://a@b/"`, `"INBOX."`, `"sent"`, `"é"`, `0`, `-1`, `1`, `70000`, `65534`, `true`, `[]`, `[1]`, `["*.example.org"]`, `["*"]`, `{}`, `{x: 1}`,
		fmt.Sprintf("%q", strings.Repeat("/a", 60)), fmt.Sprintf("%q", strings.Repeat("a", 300))}
	name := filepath.Join(t.TempDir(), "host.cue")
	for _, f := range fields {
		leaf := f.Path[strings.LastIndex(f.Path, ".")+1:]
		before, _, ok := strings.Cut(f.Example, " "+leaf+": ")
		if !ok || f.Path == "hosts" {
			continue
		}
		for _, value := range values {
			if err := os.WriteFile(name, []byte(before+" "+leaf+": "+value), 0o600); err != nil {
				t.Fatal(err)
			}
			text, faults, ok := evaluated(cue, name)
			if !ok {
				t.Fatalf("%s: %s cannot be evaluated", f.Path, value)
			}
			faults = slices.DeleteFunc(faults, func(d Diagnostic) bool { return d.Code == CodeMissing })
			if err := check(t, s, text); (err == nil) != (len(faults) == 0) {
				t.Errorf("%s: %s\nthe schema finds %v, the JSON Schema %v", f.Path, value, Diagnostics(faults), err)
			}
		}
	}
}

// A part of a description may leave out what it requires as a whole, and a file may
// name the JSON Schema that it is checked by.
func TestJSONSchemaPart(t *testing.T) {
	part := []byte(`{"$schema": "mailstead.schema.json", "hosts": {"mail.example.org": {"users": {"alice": {}}}}}`)
	if err := check(t, checker(t, true), part); err != nil {
		t.Error(err)
	}
	if check(t, checker(t, false), part) == nil {
		t.Error("a description without listeners passes")
	}
	name := filepath.Join(t.TempDir(), "host.json")
	whole := `{"$schema": "mailstead.schema.json", "hosts": {"mail.example.org": {"listeners": {"imap": {}}, "tls": {"certificates": {"mail.example.org": {"selfSigned": {}}}}}}}`
	if err := os.WriteFile(name, []byte(whole), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(Options{Inputs: []string{name}}); err != nil {
		t.Errorf("refused:\n%v", err)
	}
}

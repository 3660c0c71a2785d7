package schema

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/format"
	"github.com/google/go-cmp/cmp"
)

// Each field says in its comment what it means and what it is when it is left
// out: that comment is the manual.
func TestFields(t *testing.T) {
	fields, err := Fields()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"hosts", "hosts.NAME.listeners.NAME.port", "hosts.NAME.tls.certificates.NAME.files.key", "hosts.NAME.policies.NAME.folders.NAME.use"} {
		if !hasField(fields, path) {
			t.Errorf("no field %s", path)
		}
	}
}

func hasField(fields []Field, path string) bool {
	for _, f := range fields {
		if f.Path == path {
			return true
		}
	}
	return false
}

// A field that breaks the rules of the schema is named.
func TestFieldRules(t *testing.T) {
	ctx := newContext()
	for source, want := range map[string]string{
		"a?: string @impact(live)":                                             `a: the comment must end with "Default: ...." or "Required."`,
		"// What it is. Default: 1.\na!: string @impact(live)":                 "a: the comment and the field differ in whether it is required",
		"// What it is. Required.\na?: string @impact(live)":                   "a: the comment and the field differ in whether it is required",
		"// What it is. Default: 1.\na?: string @impact(sudden)":               `a: "sudden" is no impact word`,
		"// What it is. Default: 1.\na?: string":                               "a: no @impact",
		"// What it is. Default: 1.\na?: string @impact(live)":                 "a: no @example",
		"// What it is. Default: 1.\na?: [string]: {}":                         "a: no @example",
		"// What it is. Default: 1.\na?: string @impact(live) @example(\"1\")": "",
	} {
		s := &compiled{ctx: ctx}
		s.top = newRule("", ctx.CompileString("#D: {\n"+source+"\n}").LookupPath(cue.MakePath(cue.Def("D"))))
		got := ""
		if _, err := s.field(s.top.fields["a"]); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s\ngot  %s\nwant %s", source, got, want)
		}
	}
}

// The default in a comment is the one in defaults.cue.
func TestDefaults(t *testing.T) {
	s, err := compileSchema()
	if err != nil {
		t.Fatal(err)
	}
	fields, err := Fields()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range fields {
		var path []cue.Selector
		for _, name := range strings.Split(f.Path, ".") {
			if name == "NAME" {
				path = append(path, cue.AnyString)
			} else {
				path = append(path, cue.Str(name).Optional())
			}
		}
		v, ok := lookup(s.defaults, path).Default()
		if !ok || !v.IsConcrete() || v.IncompleteKind() == cue.ListKind {
			continue // none, or one that depends on a name
		}
		seen++
		if got := fmt.Sprint(v); got != f.Default {
			t.Errorf("%s: the comment says %s, defaults.cue %s", f.Path, f.Default, got)
		}
	}
	if seen < 12 {
		t.Errorf("compared %d defaults, want at least 12", seen)
	}
}

// lookup finds a field whether or not it is optional.
func lookup(v cue.Value, path []cue.Selector) cue.Value {
	for _, sel := range path {
		w := v.LookupPath(cue.MakePath(sel))
		if !w.Exists() && sel.LabelType() == cue.StringLabel && sel.ConstraintType() == cue.OptionalConstraint {
			w = v.LookupPath(cue.MakePath(cue.Str(sel.Unquoted())))
		}
		v = w
	}
	return v
}

// What is embedded is formatted as CUE's own tool does it, and so are the
// descriptions that people start from.
func TestFormat(t *testing.T) {
	starter, err := Starter("mail.example.org")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string][]byte{"Starter": starter}
	names := []string{"../examples/quickstart/host.cue", "../examples/family/host.cue"}
	entries, err := cueFiles.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	for _, name := range names {
		if texts[name], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range texts {
		want, err := format.Source(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(string(want), string(text)); diff != "" {
			t.Errorf("%s: -formatted +as it is:\n%s", name, diff)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"password", "home", "uid", "maildir", "policy", "folders"}
	for word, want := range map[string]string{
		"passwrod": "password", "pasword": "password", "hom": "home", "HOME": "", "uids": "uid", "maildri": "maildir",
		"mail": "", "x": "", "": "", "policies": "", "polices": "policy", "uid": "uid", strings.Repeat("home", 1000): "",
	} {
		if got := Nearest(word, names); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", cut(word, 20), got, want)
		}
	}
}

func TestMask(t *testing.T) {
	for line, want := range map[string]string{
		`	alice: password: hash: "hunter2", x: "y"`:                 `	alice: password: hash: "*******", x: "y"`,
		`"alice": {"password": {"hash": "hunter2"}, "home": "/h"},`: `"alice": {"password": {"hash": "*******"}, "home": "/h"},`,
		`password: hunter2`:                 `password: *******`,
		`  hash: hunter2 # note`:            `  hash: ******* # note`,
		`_pw: 'hunter2'`:                    `_pw: '*******'`,
		`x: "$2y$10$abc,def"`:               `x: "**************"`,
		`{hash: "a\"b", uid: 1}`:            `{hash: "****", uid: 1}`,
		`hash: "not closed`:                 `hash: "**********`,
		`users: alice: home: "/home/alice"`: `users: alice: home: "/home/alice"`,
		`password: {`:                       `password: {`,
		`SECRET_KEY: 12345678`:              `SECRET_KEY: ********`,

		`hash: correct horse battery`:                              `hash: *********************`,
		`password: hsah: "geheim", x: "y"`:                         `password: hsah: "******", x: "y"`,
		`password: "hsah": "geheim", x: "y"`:                       `password: "hsah": "******", x: "y"`,
		`u: {password: {hash: pass:}, x: 1}`:                       `u: {password: {hash: *****}, x: 1}`,
		`u: password: hash: "pw: '", y: 1`:                         `u: password: hash: "*****", y: 1`,
		`hash: pass:"x`:                                            `hash: *******`,
		`hash: pa:"ss"`:                                            `hash: *******`,
		`alice:password:hash:"geheim"`:                             `alice:password:*************`,
		`hash: pa:ss, x: y`:                                        `hash: ***********`,
		`a: {password: {hash: SCRAM-SHA-256$1:a=$b=:c=}, x: 1}`:    `a: {password: {hash: ************************}, x: 1}`,
		`{"a": {"hash": ["x", "y"]}, "b": {"hash": {"z": "w"}}}`:   `{"a": {"hash": *********]}, "b": {"hash": {"*": "*"}}}`,
		`{password: {hash: a}b, c}}`:                               `{password: {hash: ******}}`,
		`{hash: it}s, x: 1}`:                                       `{hash: ****, x: 1}`,
		`password: hash: "a" + "b" // c`:                           `password: hash: "*************`,
		`{password: {hash: "a}b"}, x: {y: "z"}}`:                   `{password: {hash: "***"}, x: {y: "z"}}`,
		`users: secret: ldap: {base: "dc=x", filter: "(u={user})"`: `users: secret: ldap: {base: "dc=x", filter: "(u={user})"`,
		`x: "{SSHA}abc", y: "SCRAM-SHA-256$4096:a"`:                `x: "*********", y: "********************"`,
	} {
		if got := mask(line, secretValues); got != want {
			t.Errorf("mask(%s)\ngot  %s\nwant %s", line, got, want)
		}
	}
	if got, want := mask(`	hash: "hunter2", x: y: "hash"`, secretWhole), `	hash: "*******", *: *: "****"`; got != want {
		t.Errorf("line within a secret: got %s, want %s", got, want)
	}
	if got, want := mask(`	"x": {"y" & "hunter2",`, secretFault), `	"x": {"*" & "*******",`; got != want {
		t.Errorf("line of a secret: got %s, want %s", got, want)
	}
}

// TestGoesOn: a secret goes on in lines that it encloses, or that are before its end, a hash
// also in those that have no name, and none in others.
func TestGoesOn(t *testing.T) {
	for text, want := range map[string]bool{
		"hash:\n  x: y":                            true,
		"hash:\n  x:\n    y: z":                    true,
		"hash: x\n\ny":                             true,
		"hash: x\nhome: y":                         false,
		"hash: x\nhome: y\nz":                      false,
		"a:\n    hash: x\nb:\n      home: y":       false,
		strings.Repeat("x\n", furthest) + "y":      false,
		"hash: x\n" + strings.Repeat("x\n", 10000): false,

		"password:\n- x\n- y: z":                              true,
		"password:\n  a, b\n  y: z":                           true,
		"password:\n  a]\n  y: z":                             true,
		"password:\n  - \"x\"\n  y: z":                        true,
		"password:\n  \"a\", b\n  y: z":                       true,
		"password:\n  a]\n  b: [\ny: z":                       true,
		"password: \"a\" b, c\n  y: z":                        true,
		"password: x\n  y: z":                                 true,
		"password: |-\n  x\n\n  y: z":                         true,
		"password: \"\"\"\nx\\\"\"\"\ny: z":                   true,
		"password: 'x\ny: z":                                  true,
		"password: {x: {\n}\ny: z":                            true,
		"password: [ // ]\ny: z":                              true,
		"password: [\"]\",\ny: z":                             true,
		"password:\nhome: y":                                  false,
		"password: \"x\"\n  y: z":                             false,
		"password: |\n  x\nhome: y":                           false,
		"password: {\n\thash: \"x\"\n}\nhome: y":              false,
		"password: \"\"\"\n\tx\n\t\"\"\"\nhome: y":            false,
		"\"a\": {\"password\": \"x\", \"b\": {\n\"y\": \"z\"": false,
		"{a: {password: {pw: \"x\"}}, b: {\n\ty: z":           false,
		"{\"password\": x}, b: {\n\ty: z":                     false,
		"password: {pw: \"x\"} // {\n\ty: z":                  false,
	} {
		lines := bytes.Split([]byte(text), []byte("\n"))
		if got := goesOn(lines[:len(lines)-1], lines[len(lines)-1]); got != want {
			t.Errorf("goesOn in %.40q is %v", text, got)
		}
	}
}

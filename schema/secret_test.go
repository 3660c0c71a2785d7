package schema_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"mailstead/schema"
)

// aHost is a host without users.
const aHost = `hosts: "mail.example.org": {
	listeners: imap: {}
	tls: certificates: "mail.example.org": selfSigned: {}
}
`

// TestSecretsAreNotShown: neither a fault nor the line that it is about has a part of a
// password hash, however wrong what is written there is. Each has "geheim" in it.
func TestSecretsAreNotShown(t *testing.T) {
	const host = `hosts: "mail.example.org": `
	const password = host + "users: alice: password: "
	const hash = host + "users: alice: password: hash: "
	for _, row := range []struct{ name, text string }{
		{"x.cue", hash + `{PLAIN}geheim`},
		{"x.cue", hash + `correct geheim battery`},
		{"x.cue", hash + `$6$geheim$x`},
		{"x.cue", hash + `ge:geheim`},
		{"x.cue", hash + `SCRAM-SHA-256$4096:geheim==$geheim=:geheim=`},
		{"x.cue", hash + `"geheim`},
		{"x.cue", hash + `"\geheim"`},
		{"x.cue", hash + `'geheim' + 5`},
		{"x.cue", hash + `"geheim" & "geheim2"`},
		{"x.cue", hash + `"a" & "geheim"`},
		{"x.cue", hash + "_h.alice\n_h: alice: \"geheim\"\n_h: alice: \"geheim2\""},
		{"x.cue", hash + "_h.alice\n_h: alice: \"geheim\" & =~\"^x\""},
		{"x.cue", hash + "_h.alice\n_h: alice: \"geheim\" + 5"},
		{"x.cue", hash + "_h.alice\n_h: {alice: \"geheim\"}\n_h: \"geheim\""},
		{"x.cue", host + "users: alice: \"geheim\"\n" + hash + `"geheim2"`},
		{"x.cue", host + "users: \"geheim\"\n" + hash + `"geheim2"`},
		{"x.cue", host + `users: alice: password: {hsah: "geheim"}`},
		{"x.cue", host + `users: alice: pasword: "geheim"`},
		{"x.cue", hash + "\"\"\"\n\tgeheim\n x\n\t\"\"\""},
		{"x.cue", hash + "\"\"\"\n geheim\n\tgeheim\n\t\"\"\""},
		{"x.cue", hash + "\"\"\"\n\ta\\geheim\n\t\"\"\""},
		{"x.cue", hash + "\"\"\"\n\t\\(geheim)\n\t\"\"\""},
		{"x.cue", hash + "{\n\tgeheim: 1\n}"},
		{"x.cue", hash + "{\n\t\"geheim\": 1\n}"},
		{"x.cue", hash + "{geheim: 1}"},
		{"x.cue", hash + "[\n\t\"geheim\",\n]"},
		{"x.cue", hash + "\n\tgeheim"},
		{"x.cue", hash + "\"\"\"\n\\geheim:x\n\"\"\""},
		{"x.cue", hash + "\"\"\"\nx: y\n\\geheim:x\n\"\"\""},
		{"x.cue", hash + "#\"\"\"\n\\#geheim:x\n\"\"\"#"},
		{"x.cue", hash + "\"a\" +\n\"geheim:x\\y\""},
		{"x.cue", hash + "[\n\"]\", // ]\n\"\\geheim:x\"]"},
		{"x.cue", password + "\"\"\"\n\ta\\geheim\n\t\"\"\""},
		{"x.cue", password + "'''\na\\geheim:x\n'''"},
		{"x.cue", password + "[\n\t\"geheim:x\" + 1,\n]"},
		{"x.cue", password + "{\n\tgeheim: 1\n}"},
		{"x.cue", password + "{\n\t\"geheim\": 1\n}"},
		{"x.cue", password + "{ // {}\n\n\"geheim\": 1\n}"},
		{"x.cue", password + "{geheim: 1}"},
		{"x.cue", password + "\n\t\"a\\geheim\""},
		{"x.cue", password + "\n{geheim: 1}"},
		{"x.yaml", "alice:\n    password:\n     hash:\n      geheim: x"},
		{"x.yaml", "alice:\n    password:\n     hash:\n      geheim"},
		{"x.yaml", "alice:\n    password:\n     hash: |\n      x\n      geheim\n   x: y"},
		{"x.yaml", "alice:\n    password:\n     hash: |\n      x\n    geheim\n   x: y"},
		{"x.yaml", "alice:\n    password:\n     hash: \"x\n      geheim\\y\""},
		{"x.yaml", "alice:\n    password:\n     hash: 'x\n      geheim"},
		{"x.yaml", "alice:\n    password:\n     hash: >\n\tgeheim"},
		{"x.yaml", "alice:\n    password:\n     hash: geheim\n      geheim: x"},
		{"x.yaml", "alice:\n    password:\n     hash: {geheim: x}"},
		{"x.yaml", "alice:\n    password:\n     hash: {x: 1,\n geheim}"},
		{"x.yaml", `alice: {password: {hash: SCRAM-SHA-256$4096:geheim==$geheim=:geheim=}, qouta: 1}`},
		{"x.yaml", `alice: {password: {hash: correct geheim}, qouta: 1}`},
		{"x.yaml", `alice: {password: {hash: *geheim}}`},
		{"x.yaml", `alice: {password: {hash: ge: geheim}}`},
		{"x.yaml", `alice: {password: {hash: ge}geheim}}`},
		{"x.yaml", `alice: {password: {hash: [ge, geheim]}, qouta: 1}`},
		{"x.yaml", `alice: {password: {hash: !geheim x}}`},
		{"x.yaml", `alice: {password: {hash: {PLAIN}geheim}}`},
		{"x.yaml", `alice: {password: {hash: !!str geheim}, qouta: 1}`},
		{"x.yaml", "alice:\n    password:\n     hash: pa:geheim"},
		{"x.yaml", "alice:\n    password:\n     hash: correct geheim, battery"},
		{"x.yaml", "alice:\n    password:\n     hash: &x geheim"},
		{"x.yaml", "alice:\n    password:\n     hash: ge: geheim"},
		{"x.yaml", "alice:\n    password:\n     hash: {PLAIN}geheim"},
		{"x.yaml", "alice:\n    password:\n     hash:\n      x: geheim"},
		{"x.yaml", "alice:\n    password:\n     hash:\n      - geheim"},
		{"x.yaml", "alice:\n    password:\n     hash: !!int geheim"},
		{"x.yaml", "alice:\n    password:\n     hsah: pa:geheim"},
		{"x.yaml", "alice:\n    password:\n     correct geheim"},
		{"x.yaml", "alice:\n    password:\n     - geheim: b"},
		{"x.yaml", "alice:\n    password:\n    - x\n    - geheim: b"},
		{"x.yaml", "alice:\n    password:\n     - a, b\n     - geheim: b\n     - [x"},
		{"x.yaml", "alice:\n    password:\n     geheim: b"},
		{"x.yaml", "alice:\n    password: |\n     geheim: b\n   x: y"},
		{"x.yaml", "alice:\n    password: >-\n     x\n     geheim: b"},
		{"x.yaml", "alice:\n    password: correct\n     geheim: b"},
		{"x.yaml", "alice:\n    password: \"correct\n    geheim\\y: \""},
		{"x.json", `{"alice": {"password": {"hash": ["geheim"]}}, "bob": {"qouta": 1}}`},
		{"x.json", `{"alice": {"password": {"hash": {"x": "geheim"}}}, "bob": {"qouta": 1}}`},
		{"x.json", "{\"alice\": {\"password\": {\"hash\": [\n\"a\",\n\"geheim\"]}}, \"bob\": {\"qouta\": 1}}"},
		{"x.json", "{\"alice\": {\"password\":\n{\n\"geheim\": 1}}, \"bob\": {\"qouta\": 1}}"},
		{"x.json", "{\"alice\": {\"password\": [\n{\"x\": [1], \"geheim\": 1}, 1]}, \"bob\": {\"qouta\": 1}}"},
		{"x.json", `{"alice": {"password": {"geheim": 1}}, "bob": {"qouta": 1}}`},
		{"x.json", `{"alice": {"password": {"hsah": "geheim"}}, "bob": {"qouta": 1}}`},
		{"x.json", `{"alice": {"password": {"hash": geheim}}, "bob": {"qouta": 1}}`},
		{"x.json", `{"alice": {"password": {"hash": "\geheim"}}, "bob": {"qouta": 1}}`},
		{"x.json", `{"alice": {"password": {"hash": "geheim}}, "bob": {"qouta": 1}}`},
	} {
		text := map[string]string{
			"x.cue": row.text + "\n", "x.json": `{"hosts": {"mail.example.org": {"users": ` + row.text + "}}}\n",
			"x.yaml": "hosts:\n mail.example.org:\n  users:\n   " + row.text + "\n",
		}[row.name]
		dir := t.TempDir()
		write(t, filepath.Join(dir, "host.cue"), []byte(aHost))
		write(t, filepath.Join(dir, row.name), []byte(text))
		_, err := schema.Load(schema.Options{Inputs: []string{dir}})
		var faults schema.Diagnostics
		if !errors.As(err, &faults) {
			t.Errorf("%s: %v", text, err)
		} else if strings.Contains(faults.Text(0), "geheim") {
			t.Errorf("%s\nis shown:\n%v", text, faults)
		}
		var all []schema.Pos
		for i := range strings.Count(text, "\n") {
			all = append(all, schema.Pos{File: row.name, Line: i + 1, Col: 1})
		}
		for _, line := range schema.Lines([]string{dir}, all) {
			named := strings.Contains(line.Line, "hash") || strings.Contains(line.Line, "password")
			if named && strings.Contains(line.Line, "geheim") {
				t.Errorf("%s\nis shown: %s", text, line.Line)
			}
		}
	}
}

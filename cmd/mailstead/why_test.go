package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
)

// whyBase is a host in which every field of the schema can be said.
const whyBase = `hosts: "mail.example.org": {
	listeners: {imap: {}, imaps: {}}
	policies: staff: {}
	outbox: {}
	deliver: lmtp: {}
	metrics: {}
	fail2ban: {}
	profiles: {dir: "/srv/www/profiles", submission: server: "smtp.example.org"}
	tls: certificates: "mail.example.org": _
	tls: certificates: "base.example.org": certbot: {}
	users: alice: {}
	users: bob: password: hash: "$2b$10$FjRy1s4dCEoet3Gy1jT9BObo0QBHUhWdqdEB5bNLoVzRakdaBLVmS"
}
`

// TestWhyNamesWhatDecides holds the tables of render to the truth: whatever
// field is said, the lines that change for it are lines that name it.
func TestWhyNamesWhatDecides(t *testing.T) {
	fields, err := schema.Fields()
	if err != nil {
		t.Fatal(err)
	}
	self := `hosts: "mail.example.org": tls: certificates: "mail.example.org": selfSigned: {}` + "\n"
	bare := whyFiles(t, whyBase+self)
	changed := map[string]bool{}
	for _, f := range fields {
		if f.Type == "struct" || f.Type == "struct by name" {
			continue
		}
		text := whyBase + f.Example
		if !strings.Contains(f.Path, ".certbot") && !strings.Contains(f.Path, ".files") {
			text += "\n" + self
		}
		field := whyField(f)
		said := whyFiles(t, text)
		for ref, file := range said {
			for line, fields := range file {
				if _, there := bare[ref][line]; there || bare[ref] == nil || strings.Contains(line, `"generation"`) || strings.HasPrefix(line, `{"version"`) {
					continue
				}
				changed[field] = true
				if !names(fields, field) {
					t.Errorf("%s changes a line of %s that names %v: %s", field, ref, fields, line)
				}
			}
		}
	}
	for _, field := range []string{"listeners/imap/port", "listeners/imap/address", "listeners/imap/tls", "tls/policy", "tls/tickets", "users/alice", "namespace", "about/admin", "outbox/folder", "outbox/command", "outbox/header", "fail2ban/bantime", "profiles/name", "profiles/domain", "profiles/server", "profiles/submission/tls", "profiles/submission/login", "limits/sessions", "mail/root", "mail/user", "paths/state", "paths/run", "paths/bin"} {
		if !changed[field] {
			t.Errorf("%s changes no line", field)
		}
	}
}

// whyField is the path of a field in its example, in the form of render.Fields.
func whyField(f schema.Field) string {
	var path []string
	names := strings.SplitSeq(f.Path, ".")
	rest := f.Example
	for name := range names {
		label, after, _ := strings.Cut(rest, ": ")
		if rest = after; name == "NAME" {
			name = strings.Trim(label, `"`)
		}
		path = append(path, name)
	}
	if path = path[2:]; path[0] == "users" {
		path = path[:2]
	}
	return strings.Join(path, "/")
}

// names tells whether the fields have the one, or one around it or in it.
func names(fields render.Fields, field string) bool {
	for _, f := range fields {
		if f == field || strings.HasPrefix(f, field+"/") || strings.HasPrefix(field, f+"/") {
			return true
		}
	}
	return false
}

// whyFiles renders a description; of each file, its lines with their fields.
func whyFiles(t *testing.T, description string) map[reconcile.Ref]map[string]render.Fields {
	t.Helper()
	name := filepath.Join(t.TempDir(), "host.cue")
	if err := os.WriteFile(name, []byte(description), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := schema.Load(schema.Options{Inputs: []string{name}})
	if err != nil {
		return nil // says too little by itself
	}
	facts := reconcile.Facts{Hostname: "mail", Systemd: 252, Root: true, PAMHelper: true, FreeIDs: []int{996, 995, 994, 993},
		Accounts:     map[string]reconcile.Account{"alice": {UID: 1000, GID: 1000, Home: "/home/alice"}, "mailstead": {UID: 998, GID: 998}, "vmail": {UID: 999, GID: 999}, "mailowner": {UID: 997, GID: 997}},
		Certificates: map[string]reconcile.Certificate{"mail.example.org": {Fingerprint: "ab", Chain: "cd"}, "base.example.org": {Fingerprint: "ef", Chain: "01"}},
	}
	want, err := desired.Build(config.Hosts[0], facts, desired.Options{})
	if err != nil {
		t.Fatalf("%s\n%v", description, err)
	}
	files := map[reconcile.Ref]map[string]render.Fields{}
	for _, r := range want {
		path, text := kind.TextOf(r)
		if path == "" {
			continue
		}
		lines := strings.Split(text, "\n")
		origins := originsOf(r, text)
		if len(origins) != strings.Count(text, "\n") {
			t.Errorf("%s has %d lines, and origins for %d", r.Ref, strings.Count(text, "\n"), len(origins))
		}
		m := map[string]render.Fields{}
		for i, fields := range origins {
			line := strings.TrimSuffix(lines[i], ",")
			m[line] = append(m[line], fields...)
		}
		// A file of another name is not another file.
		ref := r.Ref
		if r.Ref.Kind != "unit" {
			ref.Name = filepath.Base(ref.Name)
		}
		files[ref] = m
	}
	return files
}

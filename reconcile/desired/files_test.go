package desired

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"mailstead/reconcile"
	"mailstead/render/profile"
)

// docs/files.md lists every file and directory that is planned for any of the
// scenarios, with its owner and mode, and nothing that is planned for none.
func TestFilesAreDocumented(t *testing.T) {
	documented := documentedFiles(t, "../../docs/files.md")
	seen := map[string]bool{}
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, name := range archives {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			inputs, _ := split(a)
			s, host := load(t, inputs)
			list, err := Build(host, s.Facts, s.Options)
			if err != nil || s.Options.Rootless {
				return
			}
			places := []string{host.Mail.Root, "MAILROOT", host.Paths.State, "STATE", host.Paths.Letsencrypt, "LETSENCRYPT", host.Paths.Units, "UNITS"}
			for _, domain := range profile.Domains(host) {
				if host.Profiles != nil {
					places = append(places, host.Profiles.Dir+"/"+domain, "PROFILES/DOMAIN")
				}
			}
			place := strings.NewReplacer(places...)
			group := host.Mail.User
			if a, ok := s.Facts.Accounts[group]; ok && a.Group != "" {
				group = a.Group
			}
			owner := strings.NewReplacer(group, "VMAIL", host.Mail.User, "VMAIL")
			checkMarks(t, list)
			for _, f := range plannedFiles(list) {
				row := place.Replace(f.path) + " " + owner.Replace(f.owner) + " " + f.mode
				if seen[row] = true; !documented[row] {
					t.Errorf("not in docs/files.md: %s", row)
				}
			}
		})
	}
	for row := range documented {
		if !seen[row] && !strings.HasPrefix(row, "the certificate's `stitched`") {
			t.Errorf("in docs/files.md, and planned for no scenario: %s", row)
		}
	}
}

// checkMarks: what lies among the files of others says in its first lines that it
// is ours, or losing the inventory would make it foreign.
func checkMarks(t *testing.T, list []reconcile.Resource) {
	t.Helper()
	for _, r := range list {
		switch r.Ref.Kind {
		case "unit", "pam-service", "deploy-hook":
			if content := r.Get("content"); !strings.Contains(content[:min(200, len(content))], "# Kept by mailstead: ") {
				t.Errorf("%s does not say that it is ours: %q", r.Ref, content)
			}
		}
	}
}

type file struct{ path, owner, mode string }

// plannedFiles gives what a list of resources puts on the host by path.
func plannedFiles(list []reconcile.Resource) []file {
	var out []file
	for _, r := range list {
		f := file{path: r.Ref.Name, owner: r.Get("owner") + ":" + r.Get("group"), mode: r.Get("mode")}
		switch r.Ref.Kind {
		case "directory", "mail-directory", "deploy-hook", "pam-service", "password-file", "daemon-config":
		case "file":
			if strings.HasSuffix(f.path, ".pem") {
				f.path = "the `file` of `dhparams`"
			}
		case "unit":
			f.path, f.owner = r.Get("path"), "root:root"
			if login := strings.HasPrefix(r.Ref.Name, "mailstead-login@"); login {
				f.path = filepath.Join(filepath.Dir(f.path), "mailstead-login@LISTENER.service")
			} else if strings.HasPrefix(r.Get("service"), "mailstead-login@") {
				f.path = filepath.Join(filepath.Dir(f.path), "mailstead-LISTENER.socket")
			}
		case "certificate":
			f = file{path: filepath.Join(filepath.Dir(r.Get("bundle")), "NAME.pem"), owner: "root:root", mode: "0600"}
			if g := r.Get("group"); g != "" {
				f.owner, f.mode = "root:"+g, "0640"
			}
		default:
			continue
		}
		out = append(out, f)
	}
	return out
}

// documentedFiles reads the rows of the first table: path, owner and mode.
func documentedFiles(t *testing.T, path string) map[string]bool {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(line, "|")
		if len(cells) == 7 && strings.HasPrefix(strings.TrimSpace(cells[3]), "0") {
			rows[strings.TrimSpace(cells[1])+" "+strings.TrimSpace(cells[2])+" "+strings.TrimSpace(cells[3])] = true
		}
	}
	if len(rows) < 10 {
		t.Fatalf("%d rows in %s", len(rows), path)
	}
	return rows
}

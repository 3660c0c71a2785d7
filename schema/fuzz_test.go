package schema

import (
	"encoding/json"
	"errors"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzLoad gives Load a single file. Whatever it holds, Load ends, says
// nothing that a terminal would obey, points into that file, and what it
// accepts is harmless: no string of a Config can leave the line, the directory
// or the unit that it is written to.
func FuzzLoad(f *testing.F) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range archives {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range ar.Files {
			if ext := path.Ext(file.Name); (ext == ".cue" || ext == ".json" || ext == ".yaml") && file.Name != "config.json" {
				f.Add(ext, file.Data)
			}
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, ext string, data []byte) {
		if ext != ".cue" && ext != ".json" && ext != ".yaml" {
			t.Skip()
		}
		name := filepath.Join(dir, "host"+ext)
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
		config, err := loadWithin(limits{time: 10 * time.Second, heap: 400 << 20}, Options{Inputs: []string{name}})
		var faults Diagnostics
		switch {
		case errors.As(err, &faults):
			checkFaults(t, faults, name)
		case err != nil:
			t.Fatalf("error is no Diagnostics: %v", err)
		default:
			for _, h := range config.Hosts {
				checkHost(t, h)
			}
		}
	})
}

func checkFaults(t *testing.T, faults Diagnostics, name string) {
	t.Helper()
	if len(faults) == 0 {
		t.Error("refused without a fault")
	}
	for _, d := range faults {
		if d.Code == "" || d.Message == "" || d.Code == CodeInternal || d.Pos.File != "" && d.Pos.File != name {
			t.Errorf("odd fault %+v", d)
		}
	}
	if i := strings.IndexFunc(faults.Text(0), func(r rune) bool { return r != '\n' && !unicode.IsGraphic(r) }); i >= 0 {
		t.Errorf("a fault holds a control character: %q", faults.Text(0)[i:min(len(faults.Text(0)), i+40)])
	}
	if _, err := json.Marshal(faults); err != nil {
		t.Error(err)
	}
}

var (
	harmlessName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@+-]*$`)
	harmlessPath = regexp.MustCompile(`^(/[^/%"'\\;$\s\x00-\x1f]+)+$`)
)

func checkHost(t *testing.T, h *Host) {
	t.Helper()
	name := func(s string) {
		if !harmlessName.MatchString(s) || strings.Contains(s, "/") {
			t.Errorf("accepted the name %q", s)
		}
	}
	place := func(s string) {
		if !harmlessPath.MatchString(s) || path.Clean(s) != s {
			t.Errorf("accepted the path %q", s)
		}
	}
	name(h.Name)
	for _, p := range []string{h.Mail.Root, h.Paths.State, h.Paths.Run, h.Paths.Letsencrypt, h.Paths.Units, h.Paths.Bin} {
		place(p)
	}
	name(h.Mail.User)
	if len(h.Listeners) == 0 {
		t.Error("accepted a host without listeners")
	}
	for _, l := range h.Listeners {
		name(l.Name)
		if l.Port < 1 || l.Port > 65535 || strings.ContainsAny(l.Address, "% \n/") {
			t.Errorf("accepted the listener %+v", l)
		}
	}
	for _, c := range h.TLS.Certificates {
		name(c.Name)
		sources := 0
		if c.Certbot != nil {
			name(c.Certbot.Lineage)
			sources++
		}
		if c.Files != nil {
			place(c.Files.Certificate)
			place(c.Files.Key)
			sources++
		}
		if c.SelfSigned != nil {
			sources++
		}
		if sources != 1 || len(c.Names) == 0 {
			t.Errorf("accepted the certificate %+v", c)
		}
		if c.Stitched != "" {
			place(c.Stitched)
		}
	}
	for _, u := range h.Users {
		checkUser(t, u, name, place)
	}
}

func checkUser(t *testing.T, u User, name, place func(string)) {
	t.Helper()
	name(u.Name)
	if (u.System == nil) == (u.Virtual == nil) {
		t.Errorf("accepted the user %+v", u)
	}
	if u.System != nil && u.System.Home != "" {
		place(u.System.Home)
	}
	place(path.Join("/", u.Maildir))
	if u.System != nil && u.System.UID != 0 && u.System.UID < 1000 {
		t.Errorf("accepted the uid %d", u.System.UID)
	}
	uses := map[string]bool{}
	for _, f := range u.Folders {
		if f.Use != "" && uses[f.Use] {
			t.Errorf("accepted two folders for %q", f.Use)
		}
		uses[f.Use] = true
		if strings.ContainsAny(f.Name, "/\x00\n\r") || strings.Trim(f.Name, ".") != f.Name || f.Name == "" || f.Origin == (Pos{}) {
			t.Errorf("accepted the folder %+v", f)
		}
	}
}

package render

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/oracle"
	"mailstead/schema"
)

// breaking are strings that would end a line, wherever they stand.
var breaking = []string{
	"/a\nExecStartPre=/bin/sh", "/a\r\n[Service]", "/a\x00b", "/a\x1b[2J", "/a\x7f", "/a\u0085b", "/a\u2028b", "/a\u2029b", "/a\xff", "/\ufeffa",
}

// wrongPaths are what is no absolute path in its shortest form.
var wrongPaths = []string{"", "/", "a", "./a", "/a/", "//a", "/a//b", "/a/../b", "/a/.", "-/a", "+/a", "%n", "$HOME",
	"/" + strings.Repeat("a", 256), strings.Repeat("/abc", 1024)}

// The schema refuses all of this; the writers do not rely on it.
func TestWritersRefuse(t *testing.T) {
	good := Service{Systemd: 252, Paths: places, Account: "mailstead"}
	login := Login{Systemd: 252, Paths: places, Account: "mailstead-login", Listener: "imap"}
	spawn := Spawn{Systemd: 252, Paths: places, Account: "vmail", MailRoots: []string{"/var/vmail"}}
	if _, err := good.Render(); err != nil {
		t.Fatal(err)
	}
	for _, bad := range slices.Concat(breaking, wrongPaths) {
		for name, render := range map[string]func() ([]byte, error){
			"state":     func() ([]byte, error) { s := good; s.Paths.State = bad; return s.Render() },
			"run":       func() ([]byte, error) { s := good; s.Paths.Run = bad; return s.Render() },
			"bin":       func() ([]byte, error) { s := good; s.Paths.Bin = bad; return s.Render() },
			"login run": func() ([]byte, error) { l := login; l.Paths.Run = bad; return l.Render() },
			"login bin": func() ([]byte, error) { l := login; l.Paths.Bin = bad; return l.Render() },
			"spawn bin": func() ([]byte, error) { s := spawn; s.Paths.Bin = bad; return s.Render() },
			"pam bin":   func() ([]byte, error) { p := places; p.Bin = bad; return PAMHelper{Paths: p}.Render() },
			"mail root": func() ([]byte, error) { s := spawn; s.MailRoots = []string{"/var/vmail", bad}; return s.Render() },
			"import mail": func() ([]byte, error) {
				return Periodic{Systemd: 252, Paths: places, Command: []string{"import"}, Writes: []string{"/home", bad}}.Service()
			},
			"connect bin": func() ([]byte, error) { p := places; p.Bin = bad; return Connector{Paths: p}.Render() },
			"connect run": func() ([]byte, error) { p := places; p.Run = bad; return ConnectChannel(p) },
			"boot bin":    func() ([]byte, error) { p := places; p.Bin = bad; return Boot{Paths: p}.Render() },
			"boot state": func() ([]byte, error) {
				p := places
				p.State = bad
				return Boot{Paths: p}.Render()
			},
			"check bin": func() ([]byte, error) { p := places; p.Bin = bad; return CertCheck{Paths: p}.Service() },
			"check state": func() ([]byte, error) {
				p := places
				p.State = bad
				return CertCheck{Paths: p}.Service()
			},
			"hook bin":   func() ([]byte, error) { p := places; p.Bin = bad; return DeployHook(p) },
			"hook state": func() ([]byte, error) { p := places; p.State = bad; return DeployHook(p) },
		} {
			if data, err := render(); err == nil {
				t.Errorf("%s %q is rendered:\n%s", name, bad, data)
			}
		}
	}
	for _, bad := range slices.Concat(breaking, []string{"", "Root", "a b", "a%n", "a;b", `a"b`, "$a", "-a", "../a", "imap ", "imap.", strings.Repeat("a", 33)}) {
		for name, render := range map[string]func() ([]byte, error){
			"listener":        func() ([]byte, error) { l := login; l.Listener = bad; return l.Render() },
			"login account":   func() ([]byte, error) { l := login; l.Account = bad + " "; return l.Render() },
			"spawn account":   func() ([]byte, error) { s := spawn; s.Account = bad + " "; return s.Render() },
			"channel account": func() ([]byte, error) { return AuthChannel(places, bad+" ") },
			"socket":          func() ([]byte, error) { return Socket(schema.Listener{Name: bad, Port: 143}) },
			"account":         func() ([]byte, error) { s := good; s.Account = bad + " "; return s.Render() },
			"address": func() ([]byte, error) {
				return Socket(schema.Listener{Name: "imap", Address: bad + " ", Port: 143})
			},
		} {
			if data, err := render(); err == nil {
				t.Errorf("%s %q is rendered:\n%s", name, bad, data)
			}
		}
	}
	for _, port := range []int{-1, 0, 65536} {
		if _, err := Socket(schema.Listener{Name: "imap", Port: port}); err == nil {
			t.Errorf("port %d is rendered", port)
		}
	}
	for _, bad := range []string{`/opt/"a"`, `/opt/a'b`, `/opt/a\b`, `/opt/$a`} {
		s := good
		s.Paths.Bin = bad
		if _, err := s.Render(); err == nil {
			t.Errorf("program in %q is rendered, which systemd refuses", bad)
		}
	}
	s := good
	s.Paths.Run = "/run/a:b"
	if _, err := s.Render(); err == nil {
		t.Error("a run directory with a colon is rendered, which systemd takes for two")
	}
}

// splitWords reads a value as systemd does: blanks part words, quotes and
// backslashes are taken away, then specifiers are expanded.
func splitWords(t *testing.T, value string) []string {
	t.Helper()
	var words []string
	var word strings.Builder
	quote, in := byte(0), false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\':
			if i++; i == len(value) || strings.IndexByte(`\"'`, value[i]) < 0 {
				t.Fatalf("escape in %q", value)
			}
			word.WriteByte(value[i])
			in = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, in = c, true
		case quote == 0 && c == ' ':
			if in {
				words = append(words, word.String())
				word.Reset()
			}
			in = false
		case c == '%':
			if i++; i == len(value) || value[i] != '%' {
				t.Fatalf("specifier in %q", value)
			}
			word.WriteByte('%')
			in = true
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if quote != 0 {
		t.Fatalf("open quote in %q", value)
	}
	if in {
		words = append(words, word.String())
	}
	return words
}

// Whatever a word holds, systemd reads it back as one word, on one line.
func FuzzUnitWords(f *testing.F) {
	for _, s := range append([]string{`/a b`, `/a"b`, `/it's`, `/%n`, `/a\x41`, `;`, `$HOME`, `/ä`, " ", ""}, breaking...) {
		f.Add(s, "/b")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		var data []byte
		var err error
		oracle.Cost(t, len(a)+len(b), func() {
			u := &unit{}
			u.words("Key", "", a, b)
			data, err = u.bytes()
		})
		if err != nil {
			return
		}
		line, ok := strings.CutPrefix(string(data), "Key=")
		if !ok || strings.Count(line, "\n") != 1 {
			t.Fatalf("not one line: %q", data)
		}
		if diff := cmp.Diff([]string{a, b}, splitWords(t, strings.TrimSuffix(line, "\n"))); diff != "" {
			t.Errorf("%q (-want +got):\n%s", data, diff)
		}
	})
}

// The hook runs the program of exactly that path, with the state directory of
// exactly that path.
func TestHookRuns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "$(touch pwned) `id` it's; \"b\" \\ %n *")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "mailstead")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nprintf '%s|' \"$#\" \"$@\" \"$RENEWED_LINEAGE\" \"$PATH\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := DeployHook(schema.Paths{Bin: dir, State: dir + "/state"})
	if err != nil {
		t.Fatal(err)
	}
	hook := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(hook, text, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(hook)
	cmd.Env = []string{"RENEWED_LINEAGE=/etc/letsencrypt/live/$(id);x", "PATH=/tmp/evil", "IFS=/", "ENV=/tmp/evil"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := "3|deploy-hook|--state|" + dir + "/state|/etc/letsencrypt/live/$(id);x|/usr/sbin:/usr/bin:/sbin:/bin|"
	if string(out) != want {
		t.Errorf("hook ran with %s, want %s", out, want)
	}
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(hook).CombinedOutput(); err != nil || string(out) != "mailstead is not installed: nothing was done\n" {
		t.Errorf("without the program: %v, %s", err, out)
	}
}

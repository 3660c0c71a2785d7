package schema_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/schema"
)

const module = "module: \"mail.example.org\"\nlanguage: version: \"v0.16.0\"\n"

const plainHost = `hosts: "mail.example.org": {
	listeners: imaps: {}
	tls: certificates: "mail.example.org": certbot: {}
}
`

// A description reads nothing outside its module, or its directory.
func TestNothingOutsideIsRead(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret.json")
	write(t, secret, []byte(`{"hosts": {"mail.example.org": {"users": {"mallory": {}}}}}`))
	for name, prepare := range map[string]func(dir string) string{
		"link to a data file": func(dir string) string {
			link(t, secret, filepath.Join(dir, "users.json"))
			return "path escapes"
		},
		"link to a CUE file": func(dir string) string {
			link(t, secret, filepath.Join(dir, "users.cue"))
			return "path escapes"
		},
		"embedding through a link": func(dir string) string {
			write(t, filepath.Join(dir, "cue.mod/module.cue"), []byte(module))
			link(t, filepath.Dir(secret), filepath.Join(dir, "data"))
			write(t, filepath.Join(dir, "host.cue"), []byte("@extern(embed)\n\npackage mail\n\n"+plainHost+"hosts: _ @embed(file=data/secret.json)\n"))
			return "open data/secret.json"
		},
		"embedding from above": func(dir string) string {
			write(t, filepath.Join(dir, "cue.mod/module.cue"), []byte(module))
			write(t, filepath.Join(dir, "host.cue"), []byte("@extern(embed)\n\npackage mail\n\n"+plainHost+"hosts: _ @embed(file=../secret.json)\n"))
			return ".."
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "host.cue"), []byte(plainHost))
			want := prepare(dir)
			if text := faults(t, schema.Options{Inputs: []string{dir}}).Text(0); !strings.Contains(text, want) || strings.Contains(text, "mallory") {
				t.Errorf("got, want a fault with %q:\n%s", want, text)
			}
		})
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// A link that leads nowhere is a fault that names it, but where CUE passes over the name:
// an editor that has a file open locks it by one.
func TestLinkToNothing(t *testing.T) {
	for name, passed := range map[string]bool{
		".#host.cue": true, "_y.cue": true, ".x.cue": true, ".#j.json": true, "cue.mod/.#module.cue": true, "sub/.#a.cue": true,
		"z.json": false, "z.cue": false, "z.yaml": false, "z.txt": false, "sub/z.cue": false,
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "cue.mod/module.cue"), []byte(module))
		write(t, filepath.Join(dir, "sub/a.cue"), []byte("package sub\n\na: 1\n"))
		write(t, filepath.Join(dir, "host.cue"), []byte("package mail\n\nimport \"mail.example.org/sub\"\n\n_a: sub.a\n"+plainHost))
		link(t, "root@vm.123:456", filepath.Join(dir, name))
		if passed {
			load(t, dir)
			continue
		}
		text := faults(t, schema.Options{Inputs: []string{dir}}).Text(0)
		if described := name == "z.json" || name == "z.cue" || name == "z.yaml"; !strings.Contains(text, name) || described != strings.Contains(text, "it is a link") {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}

// A file that is no file does not make Load wait.
func TestFIFO(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "host.cue"), []byte(plainHost))
	if err := unix.Mkfifo(filepath.Join(dir, "users.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	if text := faults(t, schema.Options{Inputs: []string{dir}}).Text(0); !strings.Contains(text, "not a regular file") {
		t.Errorf("got:\n%s", text)
	}
}

func TestHugeFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "users.json")
	write(t, name, nil)
	if err := os.Truncate(name, 1<<40); err != nil {
		t.Skipf("sparse files: %v", err)
	}
	if text := faults(t, schema.Options{Inputs: []string{dir}}).Text(0); !strings.Contains(text, "larger than 64 MiB") {
		t.Errorf("got:\n%s", text)
	}
}

// A module in a directory that everyone may write to adds nothing to a
// description below it.
func TestModuleOfOthers(t *testing.T) {
	top := t.TempDir()
	if err := os.Chmod(top, 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(top, "cue.mod/module.cue"), []byte(module))
	write(t, filepath.Join(top, "evil.cue"), []byte("package mail\n\nhosts: [_]: users: mallory: {}\n"))
	dir := filepath.Join(top, "description")
	write(t, filepath.Join(dir, "host.cue"), []byte("package mail\n\n"+plainHost))
	if users := load(t, dir).Hosts[0].Users; len(users) != 0 {
		t.Errorf("users of a stranger's module: %v", users)
	}
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	if users := load(t, dir).Hosts[0].Users; len(users) != 1 {
		t.Errorf("users of the module around: %v, want one: the test shows nothing", users)
	}
}

// Nothing is fetched, whatever the environment names.
func TestNoNetwork(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	called := make(chan string, 1)
	go func() {
		if conn, err := ln.Accept(); err == nil {
			called <- conn.RemoteAddr().String()
			conn.Close()
		}
	}()
	t.Setenv("CUE_REGISTRY", ln.Addr().String()+"+insecure")
	t.Setenv("CUE_CACHE_DIR", t.TempDir())
	dir := t.TempDir()
	write(t, filepath.Join(dir, "cue.mod/module.cue"), []byte(module+"deps: \"github.com/example/site@v0\": v: \"v0.1.0\"\n"))
	write(t, filepath.Join(dir, "host.cue"), []byte("package mail\n\nimport \"github.com/example/site@v0\"\n\nhosts: site.hosts\n"))
	text := faults(t, schema.Options{Inputs: []string{dir}}).Text(0)
	if !strings.Contains(text, "error[import]") {
		t.Errorf("got:\n%s", text)
	}
	select {
	case addr := <-called:
		t.Errorf("the registry was asked, from %s", addr)
	case <-time.After(100 * time.Millisecond):
	}
}

// The environment's switches for CUE neither stop Load nor change what it does.
// They are read once in a process, so that the test needs one of its own.
func TestEnvironment(t *testing.T) {
	if os.Getenv("MAILSTEAD_TEST_LOAD") != "" {
		load(t, os.Getenv("MAILSTEAD_TEST_LOAD"))
		return
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "host.cue"), []byte(plainHost))
	cmd := exec.Command(os.Args[0], "-test.run=^TestEnvironment$")
	cmd.Env = append(os.Environ(), "MAILSTEAD_TEST_LOAD="+dir, "CUE_EXPERIMENT=nonsense", "CUE_DEBUG=nonsense")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

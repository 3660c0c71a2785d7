package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
)

// try runs the program, and gives its exit code and what it has written.
func try(args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = run(args, &o, &e)
	return code, o.String(), e.String()
}

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		out  string // part of it; "" for nothing
		err  string
	}{
		{nil, exitFailed, "", "mailstead-imapd serve"},
		{[]string{"--help"}, exitDone, "mailstead-imapd serve [--config PATH]", ""},
		{[]string{"help"}, exitDone, "EXIT STATUS", ""},
		{[]string{"version"}, exitDone, "mailstead-imapd ", ""},
		{[]string{"version", "x"}, exitFailed, "", `unexpected argument "x"`},
		{[]string{"nonsense"}, exitFailed, "", `no such verb: "nonsense"`},
		{[]string{"serve", "--help"}, exitDone, "", "the configuration, PATH"},
		{[]string{"serve", "--nonsense"}, exitFailed, "", "flag provided but not defined"},
		{[]string{"serve", "--config", "/nonexistent"}, exitFailed, "", "mailstead-imapd: error: open /nonexistent: no such file or directory\n"},
		{[]string{"check", "--config", "/nonexistent"}, exitFailed, "", "no such file"},
		{[]string{"ctl"}, exitFailed, "", "status or reload?"},
		{[]string{"ctl", "restart"}, exitFailed, "", "status or reload?"},
		{[]string{"ctl", "status", "--config", "/nonexistent"}, exitFailed, "", "no such file"},
		{[]string{"ctl", "status", "--control", "/nonexistent"}, exitFailed, "", "the daemon is not running"},
		{[]string{"spawn", "--auth-uid", "1"}, exitFailed, "", "systemd has passed no socket"},
		{[]string{"login", "--listener", "imap"}, exitNoSocket, "", "systemd has passed no socket"},
		{[]string{"worker"}, exitFailed, "", "for spawn to start"},
	} {
		code, out, errs := try(tt.args...)
		if code != tt.code || !strings.Contains(out, tt.out) || !strings.Contains(errs, tt.err) || tt.out == "" && out != "" || tt.err == "" && errs != "" {
			t.Errorf("%q: exit %d\n%s\n%s", tt.args, code, out, errs)
		}
	}
	_, help, _ := try("--help")
	for _, hidden := range []string{"spawn", "mailstead-imapd login", "worker"} {
		if strings.Contains(help, hidden) {
			t.Errorf("the help shows %s, which is for the daemon alone", hidden)
		}
	}
}

func TestCtl(t *testing.T) {
	dir := t.TempDir()
	socket, path := filepath.Join(dir, "control"), filepath.Join(dir, "config.json")
	data, err := config.Encode(&config.Config{
		Version: config.FormatVersion, Generation: "g", Hostname: "h", Control: socket, Users: filepath.Join(dir, "users"),
		TLS: config.TLS{Policy: config.Modern}, Workers: config.WorkerInline,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := control.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	want := control.Status{Version: "v", PID: 1, Generation: "g2"}
	refuse := ""
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go control.Serve(ctx, l, func(_ context.Context, r control.Request) control.Status {
		s := want
		if r.Verb == control.VerbReload {
			s.Error = refuse
		}
		return s
	})

	code, out, errs := try("ctl", "status", "--config", path)
	var got control.Status
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != exitDone {
		t.Errorf("exit %d, %v\n%s", code, err, errs)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if code, out, errs = try("ctl", "reload", "--control", socket); code != exitDone || out != "reloaded: generation g2\n" || errs != "" {
		t.Errorf("exit %d\n%s\n%s", code, out, errs)
	}
	refuse = "users: line 3: torn"
	if code, out, errs = try("ctl", "reload", "--control", socket); code != exitFailed || out != "" || errs != "mailstead-imapd: error: reload refused: users: line 3: torn\n" {
		t.Errorf("exit %d\n%s\n%s", code, out, errs)
	}
}

// TestNoCUE holds the daemon to its size: a listener is six times as large with
// the compiler in it.
func TestNoCUE(t *testing.T) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		t.Fatal("no build information")
	}
	if len(info.Deps) == 0 {
		t.Fatal("no dependencies at all in the build information")
	}
	for _, d := range info.Deps {
		if strings.HasPrefix(d.Path, "cuelang.org/") {
			t.Errorf("%s is linked", d.Path)
		}
	}
}

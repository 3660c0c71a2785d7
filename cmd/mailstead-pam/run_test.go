package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailstead/imapserver/handoff"
)

// frames encodes questions as auth does.
func frames(t *testing.T, requests ...handoff.PAMRequest) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, r := range requests {
		if err := handoff.WriteFrame(&b, r); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestCheck(t *testing.T) {
	var out, errs bytes.Buffer
	code := run([]string{"--check"}, strings.NewReader(""), &out, &errs)
	if built && (code != exitDone || out.Len() == 0 || errs.Len() > 0) {
		t.Errorf("built with PAM: exit %d, %q, %q", code, &out, &errs)
	}
	if !built && (code != exitFailed || out.Len() > 0 || !strings.Contains(errs.String(), "-tags pam")) {
		t.Errorf("built without PAM: exit %d, %q, %q", code, &out, &errs)
	}
}

func TestWithoutPAM(t *testing.T) {
	if built {
		t.Skip("this is about a build without the tag pam")
	}
	in := frames(t, handoff.PAMRequest{User: "u", Password: "p"}, handoff.PAMRequest{User: "u", Password: "q"})
	var out bytes.Buffer
	if code := run(nil, bytes.NewReader(in), &out, io.Discard); code != exitDone {
		t.Fatalf("exit %d", code)
	}
	for range 2 {
		var a handoff.PAMAnswer
		if err := handoff.ReadFrame(&out, &a); err != nil {
			t.Fatal(err)
		}
		if a.Result != handoff.PAMError || !strings.Contains(a.Detail, "built without PAM") {
			t.Errorf("%+v", a)
		}
	}
}

// TestRefusedUnheard holds whatever PAM there is: these never reach it.
func TestRefusedUnheard(t *testing.T) {
	for _, r := range []handoff.PAMRequest{
		{User: "", Password: "p"},
		{User: "u", Password: ""},
		{User: "u\x00v", Password: "p"},
		{User: "u", Password: "p\x00q"},
		{User: strings.Repeat("u", 300), Password: "p"},
	} {
		if a := answer("mailstead", r); a.Result != handoff.PAMRefused {
			t.Errorf("%+v: %+v", r, a)
		}
	}
}

func TestNonsense(t *testing.T) {
	for name, in := range map[string]string{
		"too long":      "\xff\xff\xff\xff",
		"cut off":       "\x00\x00\x00\x10{",
		"no JSON":       "\x00\x00\x00\x04abcd",
		"unknown field": "\x00\x00\x00\x08{\"x\":1} ",
	} {
		var out, errs bytes.Buffer
		if code := run(nil, strings.NewReader(in), &out, &errs); code != exitFailed || out.Len() > 0 || errs.Len() == 0 {
			t.Errorf("%s: exit %d, %q, %q", name, code, &out, &errs)
		}
	}
	for _, args := range [][]string{{"--service", "../passwd"}, {"--service", ""}, {"x"}, {"--nonsense"}} {
		if code := run(args, strings.NewReader(""), io.Discard, io.Discard); code != exitFailed {
			t.Errorf("%q: exit %d", args, code)
		}
	}
}

// TestRealPAM makes system users, asks PAM about them, and removes them.
func TestRealPAM(t *testing.T) {
	if os.Getenv("MAILSTEAD_E2E") != "1" {
		t.Skip("set MAILSTEAD_E2E=1 as root of a machine of your own, with libpam0g-dev")
	}
	if os.Getuid() != 0 {
		t.Fatal("needs root, to make users and a file in /etc/pam.d")
	}
	helper := filepath.Join(t.TempDir(), "mailstead-pam")
	command(t, "", "go", "build", "-tags", "pam", "-o", helper, ".")
	const service = "mailstead-test"
	rules := "@include common-auth\n@include common-account\n"
	if err := os.WriteFile("/etc/pam.d/"+service, []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove("/etc/pam.d/" + service) })
	for _, u := range []string{"mstestgood", "mstestgone", "mstestlock", "mstestold"} {
		command(t, "", "useradd", "--no-create-home", "--shell", "/usr/sbin/nologin", u)
		t.Cleanup(func() { command(t, "", "userdel", u) })
		command(t, u+":swordfish\n", "chpasswd")
	}
	command(t, "", "usermod", "--expiredate", "2001-01-01", "mstestgone")
	command(t, "", "usermod", "--lock", "mstestlock")
	command(t, "", "chage", "--lastday", "0", "mstestold")

	want := []struct {
		user, password string
		result         handoff.PAMResult
	}{
		{"mstestgood", "swordfish", handoff.PAMOK},
		{"mstestgood", "wrong", handoff.PAMRefused},
		{"mstestnone", "swordfish", handoff.PAMRefused},
		{"mstestgone", "swordfish", handoff.PAMAccount},
		{"mstestgone", "wrong", handoff.PAMRefused},
		{"mstestlock", "swordfish", handoff.PAMRefused},
		{"mstestold", "swordfish", handoff.PAMExpired},
		{"mstestold", "wrong", handoff.PAMRefused},
		{"mstestgood", "swordfish", handoff.PAMOK},
	}
	var requests []handoff.PAMRequest
	for _, w := range want {
		requests = append(requests, handoff.PAMRequest{User: w.user, Password: w.password, Remote: "192.0.2.1"})
	}
	// The unit of the daemon leaves root few capabilities; it needs none of them.
	for name, as := range map[string][]string{
		"root":             {helper},
		"root without any": {"setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", helper},
	} {
		out := command(t, string(frames(t, requests...)), as[0], append(as[1:], "--service", service)...)
		answers := bytes.NewReader(out)
		for _, w := range want {
			var a handoff.PAMAnswer
			if err := handoff.ReadFrame(answers, &a); err != nil {
				t.Fatal(err)
			}
			if a.Result != w.result {
				t.Errorf("%s: %s with %q: %+v, not %s", name, w.user, w.password, a, w.result)
			}
		}
	}
}

func command(t *testing.T, in, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(in)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, &errs)
	}
	return out.Bytes()
}

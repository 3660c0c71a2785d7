package main

import (
	"bytes"
	"io"
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
		if a, err := answer("mailstead", r); err != nil || a.Result != handoff.PAMRefused {
			t.Errorf("%+v: %+v, %v", r, a, err)
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

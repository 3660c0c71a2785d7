package target

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestDigest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mailstead-imapd")
	if got := digest(path); got != "" {
		t.Errorf("digest of no file is %s", got)
	}
	if err := os.WriteFile(path, []byte("abc"), 0o755); err != nil {
		t.Fatal(err)
	}
	// FIPS 180-4's own example.
	if got := digest(path); got != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("digest is %s", got)
	}
}

// A description says where mailstead-pam is, and may have come from anybody.
func TestHasPAMOfOthers(t *testing.T) {
	top := t.TempDir()
	program := filepath.Join(top, "bin", "mailstead-pam")
	link := filepath.Join(top, "mailstead-pam")
	ran := filepath.Join(top, "ran")
	for _, err := range []error{
		os.Mkdir(filepath.Dir(program), 0o755), os.WriteFile(program, []byte("#!/bin/sh\n: > "+ran+"\n"), 0o755), os.Symlink(program, link),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if !hasPAM(t.Context(), program) || !hasPAM(t.Context(), link) {
		t.Fatal("our own is not asked")
	}
	for what, path := range map[string]string{"directory": filepath.Dir(program), "program": program} {
		if err := errors.Join(os.Chmod(path, 0o777), os.Remove(ran)); err != nil {
			t.Fatal(err)
		}
		if hasPAM(t.Context(), program) || hasPAM(t.Context(), link) {
			t.Errorf("everybody can write the %s, and it is asked", what)
		}
		if _, err := os.Stat(ran); err == nil {
			t.Errorf("everybody can write the %s, and it was run", what)
		}
		if err := errors.Join(os.Chmod(path, 0o755), os.WriteFile(ran, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

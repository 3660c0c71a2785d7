package target

import (
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

package target

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"mailstead/reconcile"
)

// hasPAM asks a mailstead-pam whether it was built with PAM: built without, it
// is there all the same, and knows of no login. Where it is, a description says, which
// may be anybody's: one that others can change is not run.
func hasPAM(ctx context.Context, program string) bool {
	program, err := filepath.EvalSymlinks(program)
	if err != nil || !ours(program) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c := exec.CommandContext(ctx, program, "--check")
	c.Env = []string{}
	return c.Run() == nil
}

// ours tells that nobody but root and whoever runs this can change a program.
func ours(program string) bool {
	d, err := reconcile.OpenDir(filepath.Dir(program), false)
	if err != nil {
		return false
	}
	defer d.Close()
	st, err := os.Lstat(program)
	if err != nil {
		return false
	}
	uid := int(st.Sys().(*syscall.Stat_t).Uid)
	return (uid == 0 || uid == os.Geteuid()) && st.Mode().Perm()&0o022 == 0
}

// digest gives the SHA-256 of a program, "" if it cannot be read.
func digest(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

package target

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
)

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

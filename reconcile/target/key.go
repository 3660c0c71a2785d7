package target

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mailstead/reconcile"
)

// KeyFile is the file of the state directory with the host's own key, 32 random
// octets in hex. Plans show secrets as digests under it.
const KeyFile = "plan.key"

const machineID = "/etc/machine-id"

// PlanKeys gives the keys under which this host's plans may show digests of
// secrets; new ones take the first. That is the host's own key, where there is
// one and the program may read it; before the first apply, and for who is not
// root, it comes from the machine's identity. On a machine without either there
// is none.
func PlanKeys(state string) [][]byte {
	var keys [][]byte
	if text, err := os.ReadFile(filepath.Join(state, KeyFile)); err == nil && state != "" {
		if key, err := hex.DecodeString(strings.TrimSpace(string(text))); err == nil && len(key) == sha256.Size {
			keys = append(keys, key)
		}
	}
	id, err := os.ReadFile(machineID)
	if text := strings.TrimSpace(string(id)); err == nil && len(text) == 32 {
		m := hmac.New(sha256.New, []byte(text))
		m.Write([]byte("mailstead plan secrets 1"))
		keys = append(keys, m.Sum(nil))
	}
	return keys
}

// HasPlanKey tells whether the state directory has the host's own key.
func HasPlanKey(state string) bool {
	_, err := os.Lstat(filepath.Join(state, KeyFile))
	return !errors.Is(err, fs.ErrNotExist)
}

// MakePlanKey makes the host's own key, unless there is one. The caller has the
// lock.
func MakePlanKey(state string) error {
	if HasPlanKey(state) {
		return nil
	}
	text := hex.EncodeToString(NewPlanKey()) + "\n"
	if err := reconcile.ReplaceFile(filepath.Join(state, KeyFile), reconcile.Private([]byte(text))); err != nil {
		return fmt.Errorf("make the key of plans: %w", err)
	}
	return nil
}

// NewPlanKey is a key that nobody else has: for a plan that is only looked at, and
// for the steps of one run on several hosts.
func NewPlanKey() []byte {
	key := make([]byte, sha256.Size)
	rand.Read(key)
	return key
}

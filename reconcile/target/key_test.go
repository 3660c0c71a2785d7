package target

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The host's own key comes first, once there is one; the machine's stays known,
// for the plans that were made before.
func TestPlanKeys(t *testing.T) {
	state := t.TempDir()
	before := PlanKeys(state)
	if _, err := os.Stat(machineID); err == nil && len(before) != 1 {
		t.Errorf("%d keys on a machine with an identity", len(before))
	}
	for range 2 {
		if err := MakePlanKey(state); err != nil {
			t.Fatal(err)
		}
	}
	keys := PlanKeys(state)
	if len(keys) != len(before)+1 || len(keys[0]) != 32 || !cmp.Equal(keys[1:], before) {
		t.Errorf("%d keys, and %d before there was one of the host's own", len(keys), len(before))
	}
	if !cmp.Equal(keys, PlanKeys(state)) {
		t.Error("other keys each time on one machine")
	}
	if fi, err := os.Stat(filepath.Join(state, KeyFile)); err != nil || fi.Mode() != 0o600 {
		t.Errorf("%v %v", fi, err)
	}
	if err := os.WriteFile(filepath.Join(state, KeyFile), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := PlanKeys(state); !cmp.Equal(got, before) {
		t.Error("a damaged key is used")
	}
}

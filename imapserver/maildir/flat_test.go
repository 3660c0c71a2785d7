package maildir

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// nest makes a tree with mailboxes, each with a message that says where it was.
func nest(t *testing.T, boxes ...string) string {
	t.Helper()
	top := t.TempDir()
	for _, box := range boxes {
		for _, sub := range subdirs {
			if err := os.MkdirAll(filepath.Join(top, box, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(top, box, "cur", "1:2,"), []byte(box), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return top
}

// wasAt gives where each mailbox of a tree was.
func wasAt(t *testing.T, top string, boxes ...string) map[string]string {
	t.Helper()
	was := make(map[string]string)
	for _, box := range boxes {
		data, err := os.ReadFile(filepath.Join(top, box, "cur", "1:2,"))
		if err != nil {
			t.Error(err)
		}
		was[box] = string(data)
	}
	return was
}

// TestFlatten flattens trees of each kind, stopped before every call and begun
// again.
func TestFlatten(t *testing.T) {
	for name, tt := range map[string]struct {
		boxes []string
		want  map[string]string
	}{
		"mbsync, Verbatim": {
			[]string{"INBOX", "INBOX/Sub", "A/B", "A/B/C", "Entw&APw-rfe"},
			map[string]string{".": "INBOX", ".INBOX.Sub": "INBOX/Sub", ".A.B": "A/B", ".A.B.C": "A/B/C", ".Entw&APw-rfe": "Entw&APw-rfe"},
		},
		"mbsync, Legacy": {
			[]string{"INBOX", "A", "A/.B", "A/.B/.C"},
			map[string]string{".": "INBOX", ".A": "A", ".A.B": "A/.B", ".A.B.C": "A/.B/.C"},
		},
		"Dovecot, fs": {
			[]string{".", "Sent", "A/B"},
			map[string]string{".": ".", ".Sent": "Sent", ".A.B": "A/B"},
		},
		"a directory in INBOX of a mailbox's name": {
			[]string{"INBOX", "A", "INBOX/A/new"},
			map[string]string{".": "INBOX", ".A": "A", "A/new": "INBOX/A/new"},
		},
		"Maildir++": {[]string{".", ".A.B"}, map[string]string{".": ".", ".A.B": ".A.B"}},
	} {
		t.Run(name, func(t *testing.T) {
			stopped := errors.New("stopped")
			for at, done := 0, false; !done; at++ {
				top := nest(t, tt.boxes...)
				calls := 0
				ops := &Ops{Trace: func(Op) error {
					if calls++; calls > at {
						return stopped
					}
					return nil
				}}
				moves, err := PlanFlat(top)
				if err == nil {
					err = ops.Flatten(top, moves)
				}
				done = err == nil
				if err != nil && !errors.Is(err, stopped) {
					t.Fatal(err)
				}
				if moves, err = PlanFlat(top); err == nil {
					err = new(Ops).Flatten(top, moves)
				}
				if err != nil {
					t.Fatalf("stopped before call %d, begun again: %v", at, err)
				}
				var boxes []string
				for box := range tt.want {
					boxes = append(boxes, box)
				}
				if diff := cmp.Diff(tt.want, wasAt(t, top, boxes...)); diff != "" {
					t.Error(diff)
				}
				if moves, err = PlanFlat(top); err != nil || len(moves) > 0 {
					t.Errorf("there is more to do: %v, %v", moves, err)
				}
			}
		})
	}
}

func TestPlanFlatRefuses(t *testing.T) {
	for want, boxes := range map[string][]string{
		"is there already":                  {".", "A/B", ".A.B"},
		"A/B: .A.B is where A/.B goes, too": {".", "A/B", "A/.B"},
		"INBOX/new: new is there already":   {"INBOX", "A", "new"},
		"has a dot":                         {".", "A.B"},
		"nested deeper":                     {".", strings.Repeat("a/", maxNesting+1) + "b"},
		"is empty":                          {".", "A/..B"},
	} {
		if moves, err := PlanFlat(nest(t, boxes...)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v", boxes, moves, err)
		}
	}
}

package session

import (
	"strings"
	"testing"

	"mailstead/imapserver/wire"
)

// A command that is not in the table of rights would need none.
func TestNeeds(t *testing.T) {
	known := map[string]bool{}
	for _, row := range wire.Commands {
		if row.States&(wire.Authenticated|wire.Selected) == 0 {
			continue
		}
		name := strings.TrimPrefix(row.Name, "UID ")
		n, ok := needs[name]
		if !ok {
			t.Errorf("%s: which rights does it need? needs in rights.go has no row", name)
		}
		if n.selected != 0 && row.States != wire.Selected {
			t.Errorf("%s: the selected mailbox is looked at only for commands that need one", name)
		}
		known[name] = true
	}
	for name := range needs {
		if !known[name] {
			t.Errorf("%s is no command", name)
		}
	}
}

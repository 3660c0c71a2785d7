package wire

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// schema/capabilities.txt is what a description may switch off: the schema
// imports nothing of the daemon's.
func TestSchemaCapabilities(t *testing.T) {
	const name = "../../schema/capabilities.txt"
	var b strings.Builder
	for _, row := range Capabilities {
		where := "anywhere"
		switch {
		case slices.Contains(Fixed, row.Name):
			where = "nowhere"
		case row.When&PhaseAuth == 0:
			where = "listener"
		}
		fmt.Fprintf(&b, "%s %s\n", row.Name, where)
	}
	if os.Getenv("MAILSTEAD_UPDATE") == "1" {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Errorf("%s is not what the table says; run: MAILSTEAD_UPDATE=1 go test ./imapserver/wire", name)
	}
}

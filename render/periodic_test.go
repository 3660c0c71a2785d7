package render

import (
	"strings"
	"testing"

	"mailstead/schema"
)

// TestImportMemory bounds what reads another server's mail, and nothing else that a timer runs.
func TestImportMemory(t *testing.T) {
	for _, becomes := range []bool{false, true} {
		p := Periodic{Systemd: 252, Paths: schema.Paths{Bin: "/b", State: "/s", Run: "/r"}, Command: []string{"import"}, Becomes: becomes}
		unit, err := p.Service()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(unit), "\nMemoryMax=50%\nOOMPolicy=continue\n"); got != becomes {
			t.Errorf("becomes %t: %s", becomes, unit)
		}
	}
}

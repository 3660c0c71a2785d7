package doctor

import (
	"fmt"
	"slices"

	"mailstead/reconcile/kind"
)

// Port is one that a listener is to have.
type Port struct {
	Listener string // its name
	Port     int
	Origin   string
	Units    []string // the services that may have it, beside systemd itself
	PIDs     []int    // the processes that may
	Mends    []string
}

// Judge says who has a port that is not theirs.
func (p Port) Judge(holders []kind.Holder) []Finding {
	var found []Finding
	for _, h := range holders {
		if h.PID == 1 || slices.Contains(p.PIDs, h.PID) || slices.Contains(p.Units, h.Unit) {
			continue
		}
		f := New(PortTaken, "listener "+p.Listener, fmt.Sprintf("port %d is held by process %d (%s)", p.Port, h.PID, h.Name)).At(p.Origin)
		if h.Unit != "" {
			f.Seen += " of " + h.Unit
			f = f.Do(fmt.Sprintf("systemctl disable --now %s, then run mailstead apply.", h.Unit))
		}
		f.Mends = p.Mends
		found = append(found, f)
	}
	return found
}

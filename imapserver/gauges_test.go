package imapserver

import (
	"slices"
	"testing"

	"mailstead/imapserver/control"
	"mailstead/imapserver/metrics"
)

// TestGaugesOfProxies has each number of a proxy in a series that the table knows.
func TestGaugesOfProxies(t *testing.T) {
	got := map[string]float64{}
	for _, s := range gauges(control.Status{Proxies: []control.Proxy{{Listener: "webmail", Idle: 1, Logins: 20, Reused: 12, Refused: 3, Failed: 4, Stale: 5}}}) {
		row, ok := metrics.Find(s.Name)
		if !ok || len(row.Labels) != len(s.Labels) {
			t.Fatalf("%s with %q is not in the table", s.Name, s.Labels)
		}
		for i, l := range row.Labels {
			if l.Values != nil && !slices.Contains(l.Values, s.Labels[i]) {
				t.Errorf("%s cannot have the label %q", s.Name, s.Labels[i])
			}
		}
		name := s.Name
		if len(s.Labels) > 1 {
			name = s.Labels[1]
		}
		got[name] = s.Sum
	}
	for name, want := range map[string]float64{metrics.ProxyIdle: 1, metrics.ProxyStale: 5, "tried": 20, "reused": 12, "refused": 3, "failed": 4} {
		if got[name] != want {
			t.Errorf("%s is %v, not %v", name, got[name], want)
		}
	}
}

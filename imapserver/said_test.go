package imapserver

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"mailstead/imapserver/handoff"
	"mailstead/imapserver/limit"
)

// TestHeavyState: a login that was taken over has no more of auth's memory by what it says
// of its state than it takes to send that.
func TestHeavyState(t *testing.T) {
	s := &Settings{}
	most := limit.Default().Login.Sessions
	for what, row := range map[string]struct {
		q          handoff.Query
		list, each string
		n          int
		good       bool
	}{
		"sessions":                  {handoff.Query{Sessions: true}, "connected", `{"id":"x","user":"alice"}`, most, true},
		"sessions without an id":    {handoff.Query{Sessions: true}, "connected", `{}`, 1 << 20, false},
		"one without an id":         {handoff.Query{Sessions: true}, "connected", `{}`, 1, false},
		"one without a name":        {handoff.Query{Users: true}, "users", `""`, 1, false},
		"too many sessions":         {handoff.Query{Sessions: true}, "connected", `{"id":"x"}`, most + 1, false},
		"users":                     {handoff.Query{Users: true}, "users", `"alice"`, most, true},
		"users without a name":      {handoff.Query{Users: true}, "users", `""`, 1 << 20, false},
		"certificates":              {handoff.Query{}, "bundles", `{"name":"mail"}`, 1000, true},
		"certificates without name": {handoff.Query{}, "bundles", `{}`, 1 << 20, false},
		"too much of a certificate": {handoff.Query{}, "bundles", `{"name":"` + strings.Repeat("x", maxServed) + `"}`, 1, false},
		"what was not asked for":    {handoff.Query{Users: true}, "bundles", `{}`, 1 << 20, true},
	} {
		data := []byte(fmt.Sprintf(`{%q:[%s%s]}`, row.list, strings.Repeat(row.each+",", row.n-1), row.each))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		state, err := s.said(&row.q, data)
		runtime.ReadMemStats(&after)
		if (err == nil) != row.good {
			t.Errorf("%s: %v", what, err)
		}
		if n := len(state.Connected) + len(state.Users) + len(state.Bundles); err == nil && what != "what was not asked for" && n != row.n {
			t.Errorf("%s: %d of %d", what, n, row.n)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(8*len(data)+most*1024) {
			t.Errorf("%s: %d octets cost %d of memory", what, len(data), used)
		}
	}
}

package metrics

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestCounts(t *testing.T) {
	changed := 0
	c := &Counts{Changed: func() { changed++ }}
	c.Add(Logins, 1, "imaps", "PLAIN", "ok")
	c.Add(Logins, 2, "imaps", "PLAIN", "ok")
	c.Add(Logins, 1, "imaps", "alice", "perhaps")
	c.Add(Logins, 1, "one label")
	c.Add("mailstead_nothing_total", 1)
	c.Observe(Fsync, 3*time.Millisecond)
	c.Observe(Fsync, time.Hour)
	first := c.Take()
	if changed != 1 || c.Take() != nil {
		t.Errorf("changed %d times", changed)
	}
	buckets := make([]uint64, len(seconds)+1)
	buckets[5], buckets[len(seconds)] = 1, 1
	want := []Series{
		{Name: Fsync, Labels: []string{}, Sum: 3600.003, Count: 2, Buckets: buckets},
		{Name: Logins, Labels: []string{"imaps", "PLAIN", "ok"}, Sum: 3},
		{Name: Logins, Labels: []string{"imaps", Other, Other}, Sum: 1},
	}
	same := []cmp.Option{cmpopts.IgnoreUnexported(Series{}), cmpopts.EquateApprox(0, 1e-9)}
	if diff := cmp.Diff(want, first, same...); diff != "" {
		t.Error(diff)
	}
	var sum Counts
	sum.Merge(first)
	sum.Merge(first)
	if got := sum.List(); got[0].Count != 4 || got[0].Buckets[5] != 2 || got[1].Sum != 6 {
		t.Errorf("%+v", got)
	}
	var none *Counts
	none.Add(Logins, 1, "imaps", "PLAIN", "ok")
	none.Observe(Fsync, 1)
}

// TestMerge: a process that somebody has taken over makes no metric of its own and so
// many series, takes nothing back, and leaves numbers that can be written.
func TestMerge(t *testing.T) {
	var c Counts
	c.Merge([]Series{
		{Name: "mailstead_users", Sum: 1},
		{Name: Rebuilds, Sum: -1},
		{Name: Commands, Labels: []string{"NOOP"}, Buckets: []uint64{1}},
		{Name: Octets, Sum: 1},
		{Name: "other", Sum: 1},
	})
	if got := c.List(); got != nil {
		t.Errorf("%+v", got)
	}
	for n := range 1000 {
		c.Merge([]Series{{Name: Connections, Labels: []string{fmt.Sprint(n)}, Sum: 1}})
	}
	got := c.List()
	if len(got) != maxSeries+1 {
		t.Errorf("%d series", len(got))
	}
	for range 2 {
		c.Merge([]Series{{Name: Rebuilds, Sum: math.MaxFloat64}})
	}
	if _, err := json.Marshal(c.List()); err != nil {
		t.Error(err)
	}
}

// Counting is in the way of each command.
func TestCountingMakesNothing(t *testing.T) {
	var c Counts
	c.Observe(Commands, 1, "NOOP")
	if n := testing.AllocsPerRun(100, func() { c.Observe(Commands, time.Millisecond, "NOOP") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

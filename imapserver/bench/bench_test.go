package bench_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"mailstead/imapserver/bench"
)

// row is a line of the table: what is measured, and how much of Dovecot's time
// it may take.
type row struct {
	name   string
	goal   float64
	rounds int  // 0 is five
	synced bool // each also takes part with the other's promise: durability "relaxed" and mail_fsync=always
	warm   bool // a turn before the first is not counted
	slow   bool // Courier takes no part: minutes, or it cannot
	need   string
	// run measures once. It leaves the mail as it found it.
	run func(t testing.TB, s *server) time.Duration
}

var rows = slices.Concat(selectRows, fetchRows, searchRows, changeRows, appendRows, idleRows)

// chosen is the rows that MAILSTEAD_BENCH asks for.
func chosen(t *testing.T) func(name string) bool {
	t.Helper()
	expr := os.Getenv("MAILSTEAD_BENCH")
	if expr == "" {
		t.Skip("measures for an hour: set MAILSTEAD_BENCH=1, or to a regular expression of cases")
	}
	if os.Getuid() != 0 {
		t.Fatal("the servers have to be started by root")
	}
	if expr == "1" {
		expr = ""
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		t.Fatalf("MAILSTEAD_BENCH: %v", err)
	}
	return re.MatchString
}

// TestBench prints the table.
func TestBench(t *testing.T) {
	want := chosen(t)
	list := slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return !want(r.name) })
	if len(list) == 0 {
		t.Skip("no such row")
	}
	all := []*server{newMailstead(t, prepare(t, "mailstead")), newDovecot("dovecot", prepare(t, "dovecot"), "")}
	if slices.ContainsFunc(list, func(r row) bool { return r.synced }) {
		relaxed := newMailstead(t, prepare(t, "relaxed"))
		relaxed.name, relaxed.relaxed = "relaxed", true
		all = append(all, relaxed, newDovecot("dovecot-fsync", prepare(t, "dovecot-fsync"), "mail_fsync = always"))
	}
	for _, s := range all {
		s.up(t)
		t.Cleanup(s.down)
	}
	if os.Getenv("MAILSTEAD_E2E") == "1" {
		all = append(all, newCourier(t, prepare(t, "courier")))
	}
	fmt.Println("| work | mailstead | dovecot | ratio | goal | relaxed | mail_fsync=always | courier |\n|---|---|---|---|---|---|---|---|")
	for _, r := range list {
		measured := map[string][]time.Duration{}
		t.Run(r.name, func(t *testing.T) { r.measure(t, all, measured) })
		r.print(measured)
	}
}

// measure lets the servers take turns.
func (r *row) measure(t *testing.T, all []*server, measured map[string][]time.Duration) {
	rounds := r.rounds
	if rounds == 0 {
		rounds = 5
	}
	first := 0
	if r.warm {
		first = -1
	}
	for n := first; n < rounds; n++ {
		for _, s := range all {
			if (s.name == "dovecot-fsync" || s.name == "relaxed") && !r.synced || s.name == "courier" && r.slow {
				continue
			}
			if r.need != "" && !s.dial(t, user(1)).Has(r.need) {
				continue
			}
			settle(t, all)
			if d := r.run(t, s); n >= 0 {
				measured[s.name] = append(measured[s.name], d)
			}
		}
	}
}

// settle waits until no server does anything in the background.
func settle(t testing.TB, all []*server) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		before := busy(all)
		time.Sleep(50 * time.Millisecond)
		if busy(all)-before <= 10*time.Millisecond {
			return
		}
	}
	t.Log("the servers do not come to rest")
}

func busy(all []*server) time.Duration {
	var total time.Duration
	for _, s := range all {
		if s.daemon != nil {
			total += bench.CPU(s.daemon.Process.Pid)
		}
	}
	return total
}

// print prints the row of the table, as soon as it is known.
func (r *row) print(measured map[string][]time.Duration) {
	ours, theirs := median(measured["mailstead"]), median(measured["dovecot"])
	ratio := "–"
	if ours > 0 && theirs > 0 {
		ratio = fmt.Sprintf("%.2f", float64(ours)/float64(theirs))
	}
	fmt.Printf("| %s | %s | %s | %s | %.2f | %s | %s | %s |\n", r.name, show(ours), show(theirs), ratio, r.goal,
		show(median(measured["relaxed"])), show(median(measured["dovecot-fsync"])), show(median(measured["courier"])))
}

func median(list []time.Duration) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[len(list)/2]
}

// show gives a time with three digits.
func show(d time.Duration) string {
	switch {
	case d == 0:
		return "–"
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

// timed measures fn.
func timed(t testing.TB, fn func() error) time.Duration {
	t.Helper()
	start := time.Now()
	if err := fn(); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

package schema

import (
	"fmt"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"time"
)

// limits are what the evaluation of a description may take.
type limits struct {
	time time.Duration
	heap uint64 // bytes, beyond what the program had before
}

// usual are the limits of Load. Ten thousand users need about two seconds and 100 MiB; a
// few lines that refer to each other ten times over can ask for any amount of either.
// A string that grows stands in memory twice, so that more than double the limit
// is in use before it is seen: less than 1 GiB in all.
var usual = limits{time: 30 * time.Second, heap: 384 << 20}

// run runs f, and gives up on it at the limits. CUE cannot be interrupted:
// what was given up goes on in the background until the program ends, which
// after a failed load is at once.
func (l limits) run(f func()) *Diagnostic {
	done := make(chan *Diagnostic, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- &Diagnostic{Code: CodeInternal, Message: fmt.Sprintf("the CUE evaluator stopped: %v", r),
					Hint: "this is a fault of the program, not of the description: report it with these files\n" + trace()}
			}
		}()
		f()
		done <- nil
	}()
	start, before := time.Now(), heap()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case d := <-done:
			return d
		case <-tick.C:
		}
		switch {
		case time.Since(start) > l.time:
			return &Diagnostic{Code: CodeLimit, Message: fmt.Sprintf("the description takes more than %v to evaluate", l.time), Hint: limitHint}
		case heap() > before+l.heap:
			return &Diagnostic{Code: CodeLimit, Message: fmt.Sprintf("the description takes more than %d MiB to evaluate", l.heap>>20), Hint: limitHint}
		}
	}
}

const limitHint = "values that refer to each other many times over grow with every step; many users are better kept in a JSON file"

// heap gives the bytes in objects on the heap.
func heap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// trace is where a panic came from, without the frames of its handling.
func trace() string {
	lines := strings.Split(string(debug.Stack()), "\n")
	return strings.Join(lines[:min(len(lines), 40)], "\n")
}

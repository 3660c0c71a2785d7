package oracle

import (
	"runtime"
	"runtime/metrics"
	"time"

	"golang.org/x/sys/unix"
)

// T is what Cost needs of a test.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
}

// What input may cost for each 64 KiB of it, and what it may in any case: a tenth
// of a request's patience, and as much memory as a worker can spare.
const (
	perInput = 64 << 10
	maxTime  = 50 * time.Millisecond
	maxAlloc = 16 << 20
)

// tries is how often an f that was too slow gets another chance: the collector, a
// neighbour that empties the caches, and the first use of a table all cost the
// input that happens to be there.
const tries = 4

// Cost fails the test if f, which works on n octets of input, takes more processor
// time or allocates more than they are worth. f is run again where it was too much,
// so it has to do the same each time; it must not hand its work to other
// goroutines. Time is the thread's own: a busy machine makes nothing late.
func Cost(t T, n int, f func()) {
	t.Helper()
	scale := 1 + float64(n)/perInput
	var took time.Duration
	var allocated uint64
	for range tries {
		took, allocated = measure(f)
		if took <= time.Duration(scale*slow*float64(maxTime)) && float64(allocated) <= scale*maxAlloc {
			return
		}
	}
	t.Fatalf("%d octets of input cost %v of processor time and %d octets of memory; for each 64 KiB it may be %v and %d",
		n, took, allocated, time.Duration(slow*float64(maxTime)), maxAlloc)
}

// OnceCost is Cost for an f that cannot be done again and hands its work to others:
// n units of work, such as commands, which may each cost what 64 KiB of input may.
// The time is that of the whole process, so whoever uses it runs alone in its process.
func OnceCost(t T, n int, f func()) {
	t.Helper()
	allocated, start := heap(), processTime()
	f()
	took, allocated := processTime()-start, heap()-allocated
	scale := 1 + float64(n)
	if took > time.Duration(tries*scale*slow*float64(maxTime)) || float64(allocated) > tries*scale*maxAlloc {
		t.Fatalf("%d units of work cost %v of processor time and %d octets of memory; each may cost %v and %d",
			n, took, allocated, time.Duration(slow*float64(maxTime)), maxAlloc)
	}
}

func processTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

func measure(f func()) (took time.Duration, allocated uint64) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, start := heap(), ThreadTime()
	f()
	return ThreadTime() - start, heap() - before
}

// heap is how much this process has allocated so far, give or take what its
// threads have at hand.
func heap() uint64 {
	sample := [1]metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample[:])
	return sample[0].Value.Uint64()
}

// ThreadTime is the processor time of the calling thread.
func ThreadTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

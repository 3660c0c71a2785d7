package store

import (
	"runtime"
	"sync"
)

// worthShare is how many calls are worth a goroutine.
const worthShare = 1000

// share calls fn for 0 to n-1, on every core where that is worth it.
func share(n int, fn func(i int)) {
	cores := runtime.GOMAXPROCS(0)
	size := max(worthShare, (n+cores-1)/cores)
	var done sync.WaitGroup
	for start := 0; start < n; start += size {
		done.Go(func() {
			for i := start; i < min(start+size, n); i++ {
				fn(i)
			}
		})
	}
	done.Wait()
}

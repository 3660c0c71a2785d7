//go:build unsynced

package maildir

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
)

// leftOut is the place in the source, as PACKAGE/FILE.go:LINE, whose sync is left
// out. The environment names it to a daemon, LeaveOut to a test.
var leftOut atomic.Pointer[string]

// LeaveOut has the sync at that place left out from now on; "" none. It tells how
// many have been left out since the last call.
func LeaveOut(place string) (before int64) {
	leftOut.Store(&place)
	return left.Swap(0)
}

var left atomic.Int64

// LeftOut tells whether the sync that is about to be made is to be left out: one
// of the functions under way is at that place.
func LeftOut() bool {
	place := leftOut.Load()
	if place == nil {
		named := os.Getenv("MAILSTEAD_UNSYNCED")
		place = &named
		leftOut.CompareAndSwap(nil, place)
	}
	if *place == "" {
		return false
	}
	pcs := make([]uintptr, 40)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(fmt.Sprintf("%s:%d", f.File, f.Line), "/"+*place) {
			left.Add(1)
			return true
		}
		if !more {
			return false
		}
	}
}

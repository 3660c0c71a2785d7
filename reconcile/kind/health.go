package kind

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// Health is how a unit does, in systemd's words.
type Health struct {
	There  bool // systemd knows the unit
	Masked bool // it is not to be started by anything (systemctl mask)
	Active string
	Sub    string
	Result string    // of what it ran last: "success", "exit-code", "timeout", ...
	Status int       // with which exit code
	Last   time.Time // of a timer: when it started its unit last; zero: never
	Waits  bool      // of a timer: it has a next time
	Next   time.Time // of a timer: that time, if it is one of the clock; else zero
	Since  time.Time // when it came to be Active
	Again  int       // how often systemd has started it anew, since somebody did
	Added  []string  // paths of drop-ins
	// Enabled says that it comes up at the next boot, or is pulled in by another.
	Enabled bool
	Runs    []string // the words of what a service starts
	PID     int      // of its main process, 0: none
	// What a service may have: open files, and octets of memory; 0: no bound.
	Descriptors, Memory int64
}

// Health asks systemd about units.
func (h *Host) Health(ctx context.Context, names []string) (map[string]Health, error) {
	s, err := h.manager(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[string]Health, len(names))
	for _, name := range names {
		p, err := s.conn.GetAllPropertiesContext(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("ask systemd for %s: %w", name, err)
		}
		u := Health{
			There: property[string](p, "LoadState") == "loaded", Masked: property[string](p, "LoadState") == "masked",
			Active: property[string](p, "ActiveState"), Sub: property[string](p, "SubState"),
			Result: property[string](p, "Result"), Status: int(property[int32](p, "ExecMainStatus")),
			Again:       int(property[uint32](p, "NRestarts")),
			PID:         int(property[uint32](p, "MainPID")),
			Descriptors: bound(property[uint64](p, "LimitNOFILESoft")), Memory: bound(property[uint64](p, "MemoryMax")),
			Enabled: slices.Contains(comesUp, property[string](p, "UnitFileState")),
			Added:   property[[]string](p, "DropInPaths"),
			Last:    moment(property[uint64](p, "LastTriggerUSec")),
			Next:    moment(property[uint64](p, "NextElapseUSecRealtime")),
			Since:   moment(property[uint64](p, "StateChangeTimestamp")),
			Waits:   elapses(property[uint64](p, "NextElapseUSecRealtime")) || elapses(property[uint64](p, "NextElapseUSecMonotonic")),
		}
		for _, command := range property[[][]any](p, "ExecStart") { // a(sasbttttuii)
			if words, ok := command[min(1, len(command)-1)].([]string); ok {
				u.Runs = append(u.Runs, words...)
			}
		}
		all[name] = u
	}
	return all, nil
}

// comesUp are the states of a unit's file in which a boot, or another unit, starts it.
var comesUp = []string{"enabled", "enabled-runtime", "static", "indirect", "generated", "alias"}

// bound is a limit of systemd's, 0 for "infinity".
func bound(n uint64) int64 {
	if n > math.MaxInt64 {
		return 0
	}
	return int64(n)
}

// moment is a time of systemd's, zero for none.
func moment(usec uint64) time.Time {
	if !elapses(usec) {
		return time.Time{}
	}
	return time.UnixMicro(int64(usec))
}

// elapses tells a time from "never", for which systemd has two values.
func elapses(usec uint64) bool { return usec != 0 && usec != 1<<64-1 }

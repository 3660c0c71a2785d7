package kind

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// Health is how a unit does, in systemd's words.
type Health struct {
	There  bool // systemd knows the unit
	Active string
	Sub    string
	Result string    // of what it ran last: "success", "exit-code", "timeout", ...
	Status int       // with which exit code
	Last   time.Time // of a timer: when it started its unit last; zero: never
	Waits  bool      // of a timer: it has a next time
	Again  int       // how often systemd has started it anew, since somebody did
	Added  []string  // paths of drop-ins that are for units of ours
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
			There: property[string](p, "LoadState") == "loaded", Active: property[string](p, "ActiveState"), Sub: property[string](p, "SubState"),
			Result: property[string](p, "Result"), Status: int(property[int32](p, "ExecMainStatus")),
			Again: int(property[uint32](p, "NRestarts")),
			Waits: elapses(property[uint64](p, "NextElapseUSecRealtime")) || elapses(property[uint64](p, "NextElapseUSecMonotonic")),
		}
		for _, path := range property[[]string](p, "DropInPaths") {
			if strings.HasPrefix(filepath.Base(filepath.Dir(path)), "mailstead-") {
				u.Added = append(u.Added, path)
			}
		}
		if last := property[uint64](p, "LastTriggerUSec"); last > 0 {
			u.Last = time.UnixMicro(int64(last))
		}
		all[name] = u
	}
	return all, nil
}

// elapses tells a time from "never", for which systemd has two values.
func elapses(usec uint64) bool { return usec != 0 && usec != 1<<64-1 }

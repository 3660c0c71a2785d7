package kind

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
)

// systemd is the running service manager, over D-Bus. It is all that the
// package knows of it.
type systemd struct{ conn *dbus.Conn }

// jobTimeout bounds a start or stop: systemd's own bound is 90 s.
const jobTimeout = 3 * time.Minute

func dialSystemd(ctx context.Context) (*systemd, error) {
	// The connection lives as long as this context; a dial that hangs is
	// ended by the system bus itself.
	conn, err := dbus.NewWithContext(context.WithoutCancel(ctx))
	if err != nil {
		return nil, fmt.Errorf("connect to systemd: %w", err)
	}
	return &systemd{conn: conn}, nil
}

func (s *systemd) close() { s.conn.Close() }

// version is what the running systemd calls itself, such as "252.38-1~deb12u1".
func (s *systemd) version() (string, error) {
	v, err := s.conn.GetManagerProperty("Version")
	if err != nil {
		return "", fmt.Errorf("ask systemd for its version: %w", err)
	}
	return strings.Trim(v, `"`), nil
}

// unitState is what systemd knows of a unit.
type unitState struct {
	enabled     bool
	active      bool      // runs, or is about to
	stale       bool      // its file was changed and not loaded since
	since       time.Time // when it left its rest
	triggeredBy []string  // the sockets of a service
}

// units gives the state of units by name. One that systemd does not know is in
// it with the zero state.
func (s *systemd) units(ctx context.Context, names []string) (map[string]unitState, error) {
	files, err := s.conn.ListUnitFilesByPatternsContext(ctx, nil, names)
	if err != nil {
		return nil, fmt.Errorf("list unit files: %w", err)
	}
	enabled := make(map[string]bool)
	for _, f := range files {
		enabled[f.Path[strings.LastIndexByte(f.Path, '/')+1:]] = f.Type == "enabled"
	}
	out := make(map[string]unitState, len(names))
	for _, name := range names {
		if strings.Contains(name, "@.") {
			continue // a template has no state
		}
		p, err := s.conn.GetUnitPropertiesContext(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("ask systemd for %s: %w", name, err)
		}
		out[name] = unitState{
			enabled:     enabled[name],
			active:      isActive(p),
			stale:       property[bool](p, "NeedDaemonReload"),
			since:       time.UnixMicro(int64(property[uint64](p, "InactiveExitTimestamp"))),
			triggeredBy: property[[]string](p, "TriggeredBy"),
		}
	}
	return out, nil
}

func isActive(p map[string]any) bool {
	switch property[string](p, "ActiveState") {
	case "active", "activating", "reloading":
		return true
	case "inactive", "failed", "deactivating":
		// The boot's own transaction may have it waiting for its turn.
		job := property[[]any](p, "Job")
		if len(job) == 2 {
			id, _ := job[0].(uint32)
			return id != 0
		}
	}
	return false
}

// property gives a property of a unit, the zero value where it has another type.
func property[T any](p map[string]any, name string) T {
	v, _ := p[name].(T)
	return v
}

func (s *systemd) daemonReload(ctx context.Context) error {
	if err := s.conn.ReloadContext(ctx); err != nil {
		return fmt.Errorf("make systemd read its units again: %w", err)
	}
	return nil
}

func (s *systemd) enable(ctx context.Context, name string) error {
	install, _, err := s.conn.EnableUnitFilesContext(ctx, []string{name}, false, true)
	if err == nil && !install {
		err = errors.New("it has no [Install] section")
	}
	if err != nil {
		return fmt.Errorf("enable %s: %w", name, err)
	}
	return nil
}

func (s *systemd) disable(ctx context.Context, name string) error {
	if _, err := s.conn.DisableUnitFilesContext(ctx, []string{name}, false); err != nil {
		return fmt.Errorf("disable %s: %w", name, err)
	}
	return nil
}

// StartUnit asks systemd to start a unit, and does not wait for it.
func (h *Host) StartUnit(ctx context.Context, name string) error {
	s, err := h.manager(ctx)
	if err != nil {
		return err
	}
	return s.job(ctx, jobStart, name, false)
}

// ResetFailed has systemd forget that a unit failed.
func (h *Host) ResetFailed(ctx context.Context, name string) error {
	s, err := h.manager(ctx)
	if err != nil {
		return err
	}
	return s.conn.ResetFailedUnitContext(ctx, name)
}

// jobVerb is what a job does with a unit.
type jobVerb string

// The verbs.
const (
	jobStart   jobVerb = "start"
	jobStop    jobVerb = "stop"
	jobRestart jobVerb = "restart"
)

// job does something with a unit and waits until it is done; without wait it
// only asks for it.
func (s *systemd) job(ctx context.Context, verb jobVerb, name string, wait bool) error {
	call := map[jobVerb]func(context.Context, string, string, chan<- string) (int, error){
		jobStart:   s.conn.StartUnitContext,
		jobStop:    s.conn.StopUnitContext,
		jobRestart: s.conn.RestartUnitContext,
	}[verb]
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	begun := time.Now()
	if verb != jobStop {
		// A unit that has failed too often would not be started. One that has
		// not is no error worth telling.
		_ = s.conn.ResetFailedUnitContext(ctx, name)
	}
	var done chan string
	if wait {
		done = make(chan string, 1)
	}
	if _, err := call(ctx, name, "replace", done); err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	if !wait {
		return nil
	}
	select {
	case result := <-done:
		if result != "done" && result != "skipped" {
			return fmt.Errorf("%s %s: %s%s", verb, name, jobResult(result), lastLines(ctx, name, begun))
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s %s: no end after %v%s", verb, name, jobTimeout, lastLines(context.WithoutCancel(ctx), name, begun))
	}
}

// jobResult says a job's result in words.
func jobResult(r string) string {
	switch r {
	case "failed":
		return "it failed"
	case "dependency":
		return "something that it needs failed"
	case "timeout":
		return "it took too long"
	case "canceled":
		return "another job came in its way"
	}
	return r
}

// lastLines gives the end of what a unit's journal has had since then, for an error:
// each line once, since systemd repeats itself where it tries again. A port is bound by
// a child of systemd that ends at once, so that the journal may not know of which unit
// the child was: "journalctl --unit" then leaves out that the port is taken. What root
// says of the unit is asked for as well.
func lastLines(ctx context.Context, name string, since time.Time) string {
	const asked, most = "30", 8
	out, err := run(ctx, "journalctl", "--since", fmt.Sprintf("@%d", since.Unix()), "--lines", asked, "--output", "cat", "--no-pager", "--quiet",
		"_SYSTEMD_UNIT="+name, "+", "_UID=0", "UNIT="+name)
	if err != nil || strings.TrimSpace(out) == "" {
		return ""
	}
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSpace(out), "\n") {
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return "; its last lines in the journal:\n" + strings.Join(lines[max(0, len(lines)-most):], "\n")
}

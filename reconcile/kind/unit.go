package kind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"mailstead/reconcile"
)

// Unit is a systemd unit: its file, whether it is enabled, and whether it runs
// what its file says now.
func Unit(u UnitSpec, origin string) reconcile.Resource {
	r := reconcile.Resource{Ref: UnitRef(u.Name), Origin: origin}
	add := func(name, value string, impact reconcile.Impact, runs bool) {
		r.Attrs = append(r.Attrs, reconcile.Attr{Name: name, Value: value, Impact: impact, Runs: runs})
	}
	// A unit that starts ends no connection; one that is started anew ends what it
	// has. Nobody is connected to a timer, and to what is started as it is needed.
	changed := u.Ends
	if changed == "" {
		changed = reconcile.Restart
	}
	if u.Run == Either || strings.HasSuffix(u.Name, ".timer") {
		changed = reconcile.Live
	}
	add("path", u.Path, reconcile.Live, false)
	if u.Service != "" {
		add("service", u.Service, reconcile.Live, false)
	}
	add("run", string(u.Run), reconcile.Live, false)
	r.Attrs = append(r.Attrs, modeAttrs(0o644, "", "")...)
	add("content", string(u.Content), changed, false)
	if u.Reads != "" {
		add("reads", u.Reads, changed, false)
	}
	add("enabled", yesNo(u.Enable), reconcile.Live, false)
	add("loaded", unitLoaded, reconcile.Live, true)
	switch u.Run {
	case Up:
		add("active", "yes", reconcile.Live, true)
		add("running", unitCurrent, changed, true)
	case Down:
		add("active", "no", reconcile.Restart, true)
	}
	return r
}

// UnitRef names a systemd unit.
func UnitRef(name string) reconcile.Ref { return reconcile.Ref{Kind: "unit", Name: name} }

// The values of the attributes loaded and running: what systemd or the process
// works with is what the file says now, or said earlier.
const (
	unitLoaded   = "current"
	unitCurrent  = "current"
	unitOutdated = "outdated"
)

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

var unitName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:_.@-]*\.(service|socket|timer|target|path)$`)

func checkUnit(r reconcile.Resource) error {
	if name := r.Ref.Name; !unitName.MatchString(name) || filepath.Base(r.Get("path")) != name {
		return fmt.Errorf("unit %q in %q: not a unit's name and path", name, r.Get("path"))
	}
	return nil
}

// readsMark is the section, one that systemd skips, in which a unit file says
// what its process has read: when that changes, so does the file.
const readsMark = "\n[X-Mailstead]\nReads="

// unitFile gives the whole file of a unit.
func unitFile(r *reconcile.Resource) string {
	if reads := r.Get("reads"); reads != "" {
		return r.Get("content") + readsMark + reads + "\n"
	}
	return r.Get("content")
}

// splitUnitFile is its inverse. What somebody has added at the end is content.
func splitUnitFile(file string) (content, reads string) {
	content, tail, _ := strings.Cut(file, readsMark)
	reads, added, _ := strings.Cut(tail, "\n")
	return content + added, reads
}

// manager gives the connection to systemd, which is made once.
func (h *Host) manager(ctx context.Context) (*systemd, error) {
	if h.systemd == nil {
		s, err := dialSystemd(ctx)
		if err != nil {
			return nil, err
		}
		h.systemd = s
	}
	return h.systemd, nil
}

// SystemdVersion is the version of the systemd that runs the host, 0 if none does.
func (h *Host) SystemdVersion(ctx context.Context) (int, error) {
	if _, err := os.Stat("/run/systemd/system"); errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	var text string
	s, err := h.manager(ctx)
	if err == nil {
		text, err = s.version()
	}
	if err != nil {
		// Who may not ask the one that runs asks the one that is installed.
		out, runErr := run(ctx, "systemctl", "--version")
		if runErr != nil {
			return 0, err
		}
		text = strings.TrimPrefix(out, "systemd ")
	}
	var v int
	if _, err := fmt.Sscanf(text, "%d", &v); err != nil {
		return 0, fmt.Errorf("systemd calls itself version %q", text)
	}
	return v, nil
}

func (h *Host) observeUnits(ctx context.Context, asks []reconcile.Ask) []reconcile.Seen {
	var names []string
	for _, a := range asks {
		names = append(names, a.Ref.Name)
	}
	var states map[string]unitState
	s, err := h.manager(ctx)
	if err == nil {
		states, err = s.units(ctx, names)
	}
	return each(func(ctx context.Context, ask reconcile.Ask) (*reconcile.Resource, error) {
		if err != nil {
			return nil, err
		}
		return observeUnit(ctx, ask, states[ask.Ref.Name])
	})(ctx, asks)
}

func observeUnit(ctx context.Context, ask reconcile.Ask, st unitState) (*reconcile.Resource, error) {
	if err := checkUnit(ask.Resource); err != nil {
		return nil, err
	}
	path := ask.Get("path")
	values, err := readFile(ctx, ask, path)
	if err != nil || values == nil {
		return nil, err
	}
	file := &values[len(values)-1]
	content, reads := splitUnitFile(file.value)
	file.value = content
	if reads != "" || ask.Get("reads") != "" {
		values = append(values, value{name: "reads", value: reads, impact: reconcile.Live})
	}
	values = append(values, value{name: "enabled", value: yesNo(st.enabled)})
	if st.stale {
		values = append(values, value{name: "loaded", value: unitOutdated})
	}
	switch Run(ask.Get("run")) {
	case Up:
		values = append(values, value{name: "active", value: yesNo(st.active)})
		fi, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if st.active && outdated(st.since, fi.ModTime(), time.Now()) {
			values = append(values, value{name: "running", value: unitOutdated})
		}
	case Down:
		values = append(values, value{name: "active", value: yesNo(st.active)})
	}
	have := found(ask.Resource, values...)
	for _, old := range oldUnitFiles(ask.Resource, ask.Was) {
		if _, err := os.Lstat(old); err == nil {
			value{name: "left behind", value: old, impact: reconcile.Live}.put(have)
		}
	}
	return have, nil
}

// outdated tells whether a unit runs since before its file was written. A time
// that is yet to come says nothing: a clock was wrong, and no restart would end it.
func outdated(since, written, now time.Time) bool {
	return since.Before(written) && since.UnixMicro() > 0 && !written.After(now)
}

// oldUnitFiles gives the files of a unit that earlier applications may have left
// in another directory.
func oldUnitFiles(r reconcile.Resource, was []reconcile.Resource) []string {
	var paths []string
	for _, w := range was {
		if old := w.Get("path"); old != r.Get("path") && !slices.Contains(paths, old) && checkUnit(w) == nil {
			paths = append(paths, old)
		}
	}
	return paths
}

// applyUnit puts the file in place. Everything else is done for all units
// together by settleUnits, also what goes: a unit has to be stopped while its
// file is there.
func (h *Host) applyUnit(ctx context.Context, c reconcile.Change) error {
	if c.Want == nil {
		return nil
	}
	if err := checkUnit(*c.Want); err != nil {
		return err
	}
	if fileRight(c) {
		return nil
	}
	same := c.Have != nil && unitFile(c.Have) == unitFile(c.Want)
	if err := writeFile(ctx, c.Want, c.Want.Get("path"), unitFile(c.Want), same); err != nil {
		return err
	}
	return removeFiles(oldUnitFiles(*c.Want, c.Was))
}

// fileRight tells whether nothing about the file differs.
func fileRight(c reconcile.Change) bool {
	if c.Have == nil || c.Have.Get("left behind") != "" {
		return false
	}
	for _, name := range []string{"mode", "owner", "group", "content", "reads"} {
		if c.Have.Get(name) != c.Want.Get(name) {
			return false
		}
	}
	return true
}

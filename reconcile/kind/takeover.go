package kind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
)

// OldUnit is a unit of the server that was there before us, as it was.
type OldUnit struct {
	Name   string `json:"name"`
	Active bool   `json:"active"`
	Masked bool   `json:"masked"` // by the operator: it stays so
}

// OldUnits gives those of some units that there are, in the same order.
func (h *Host) OldUnits(ctx context.Context, names []string) (list []OldUnit, err error) {
	s, err := h.manager(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		p, err := s.conn.GetUnitPropertiesContext(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("ask systemd for %s: %w", name, err)
		}
		if load := property[string](p, "LoadState"); load != "not-found" {
			list = append(list, OldUnit{Name: name, Active: isActive(p), Masked: load == "masked"})
		}
	}
	return list, nil
}

// maskable gives the units that nobody has masked but us.
func maskable(units []OldUnit) (names []string) {
	for _, u := range units {
		if !u.Masked {
			names = append(names, u.Name)
		}
	}
	return names
}

// StopOld masks units, and stops them in their order with every process of them.
// Masked first: nothing starts again what has just been stopped.
func (h *Host) StopOld(ctx context.Context, units []OldUnit) error {
	s, err := h.manager(ctx)
	if err != nil {
		return err
	}
	if names := maskable(units); len(names) > 0 {
		if _, err := s.conn.MaskUnitFilesContext(ctx, names, false, true); err != nil {
			return fmt.Errorf("mask %s: %w", strings.Join(names, ", "), err)
		}
		if err := s.daemonReload(ctx); err != nil {
			return err
		}
	}
	for _, u := range units {
		if err := s.job(ctx, jobStop, u.Name, true); err != nil {
			return err
		}
	}
	return nil
}

// StartOld undoes StopOld: it starts those that ran.
func (h *Host) StartOld(ctx context.Context, units []OldUnit) error {
	s, err := h.manager(ctx)
	if err != nil {
		return err
	}
	if names := maskable(units); len(names) > 0 {
		if _, err := s.conn.UnmaskUnitFilesContext(ctx, names, false); err != nil {
			return fmt.Errorf("unmask %s: %w", strings.Join(names, ", "), err)
		}
		if err := s.daemonReload(ctx); err != nil {
			return err
		}
	}
	var errs []error
	for _, u := range slices.Backward(units) {
		if u.Active {
			errs = append(errs, s.job(ctx, jobStart, u.Name, true))
		}
	}
	return errors.Join(errs...)
}

// ownUnits are the patterns of ours.
var ownUnits = []string{"mailstead-*.socket", "mailstead-*.service", "mailstead-*.timer"}

// StopOwn stops all units of ours and has none of them started at boot: their
// ports are to be free then, too. The next apply enables them again.
func (h *Host) StopOwn(ctx context.Context) error {
	s, err := h.manager(ctx)
	if err != nil {
		return err
	}
	if err := s.disableOwn(ctx); err != nil {
		return err
	}
	loaded, err := s.conn.ListUnitsByPatternsContext(ctx, nil, ownUnits)
	if err != nil {
		return fmt.Errorf("list units: %w", err)
	}
	// Sockets first: what they stand for would be started again by the next client.
	slices.SortStableFunc(loaded, func(a, b dbus.UnitStatus) int {
		return strings.Compare(suffixOf(b.Name), suffixOf(a.Name))
	})
	// Whoever runs this by systemd-run may have named the unit like ours.
	self, _ := os.ReadFile("/proc/self/cgroup")
	var errs []error
	for _, u := range loaded {
		if !strings.Contains(string(self), "/"+u.Name) && u.LoadState == "loaded" && u.ActiveState != "inactive" {
			errs = append(errs, s.job(ctx, jobStop, u.Name, true))
		}
	}
	return errors.Join(errs...)
}

func (s *systemd) disableOwn(ctx context.Context) error {
	files, err := s.conn.ListUnitFilesByPatternsContext(ctx, nil, ownUnits)
	if err != nil {
		return fmt.Errorf("list unit files: %w", err)
	}
	disabled := false
	for _, f := range files {
		if f.Type == "enabled" {
			disabled = true
			if err := s.disable(ctx, f.Path[strings.LastIndexByte(f.Path, '/')+1:]); err != nil {
				return err
			}
		}
	}
	if !disabled {
		return nil
	}
	return s.daemonReload(ctx)
}

// suffixOf is the type of a unit: timer and socket come before service in falling order.
func suffixOf(unit string) string { return unit[strings.LastIndexByte(unit, '.')+1:] }

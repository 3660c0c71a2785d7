package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
)

// oldUnit is a unit of the server that was there before, as it was.
type oldUnit struct {
	Name   string `json:"name"`
	Active bool   `json:"active"`
	Masked bool   `json:"masked"` // by the operator: it stays so
}

// oldUnits are the units that serve IMAP on a host of Courier's, in the order in
// which they are stopped: imapproxy goes through the others. courier-authdaemon
// stays, as other programs ask it.
var oldUnits = []string{"imapproxy.service", "courier-imap-ssl.service", "courier-imap.service"}

// services is systemd, as a cutover needs it.
type services struct{ conn *dbus.Conn }

func dialServices(ctx context.Context) (*services, error) {
	conn, err := dbus.NewWithContext(context.WithoutCancel(ctx))
	if err != nil {
		return nil, hint(fmt.Errorf("connect to systemd: %w", err), "a cutover stops and starts units: it needs root and systemd")
	}
	return &services{conn}, nil
}

func (s *services) close() { s.conn.Close() }

// find gives those of the old units that there are.
func (s *services) find(ctx context.Context) (list []oldUnit, err error) {
	for _, name := range oldUnits {
		p, err := s.conn.GetUnitPropertiesContext(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("ask systemd for %s: %w", name, err)
		}
		load, _ := p["LoadState"].(string)
		active, _ := p["ActiveState"].(string)
		if load != "not-found" {
			list = append(list, oldUnit{Name: name, Active: active == "active" || active == "activating" || active == "reloading", Masked: load == "masked"})
		}
	}
	return list, nil
}

// unitTimeout bounds one job: systemd's own bound is 90 s.
const unitTimeout = 3 * time.Minute

// stop stops a unit, with every process of it.
func (s *services) stop(ctx context.Context, name string) error {
	return s.job(ctx, "stop", name, s.conn.StopUnitContext)
}

// start starts a unit, even if it has failed too often.
func (s *services) start(ctx context.Context, name string) error {
	_ = s.conn.ResetFailedUnitContext(ctx, name) // one that has not failed is no error worth telling
	return s.job(ctx, "start", name, s.conn.StartUnitContext)
}

func (s *services) job(ctx context.Context, verb, name string, do func(context.Context, string, string, chan<- string) (int, error)) error {
	ctx, cancel := context.WithTimeout(ctx, unitTimeout)
	defer cancel()
	done := make(chan string, 1)
	if _, err := do(ctx, name, "replace", done); err != nil {
		return fmt.Errorf("%s %s: %w", verb, name, err)
	}
	select {
	case result := <-done:
		if result != "done" && result != "skipped" {
			return hint(fmt.Errorf("%s %s: %s", verb, name, result), "see \"journalctl -u %s\"", name)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s %s: %w", verb, name, ctx.Err())
	}
}

// mask keeps units from being started by anyone.
func (s *services) mask(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	if _, err := s.conn.MaskUnitFilesContext(ctx, names, false, true); err != nil {
		return fmt.Errorf("mask %s: %w", strings.Join(names, ", "), err)
	}
	return s.reload(ctx)
}

func (s *services) unmask(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		return nil
	}
	if _, err := s.conn.UnmaskUnitFilesContext(ctx, names, false); err != nil {
		return fmt.Errorf("unmask %s: %w", strings.Join(names, ", "), err)
	}
	return s.reload(ctx)
}

func (s *services) reload(ctx context.Context) error {
	if err := s.conn.ReloadContext(ctx); err != nil {
		return fmt.Errorf("make systemd read its units again: %w", err)
	}
	return nil
}

// stopOld masks the old units, and stops them in their order.
func (s *services) stopOld(ctx context.Context, units []oldUnit) error {
	var names []string
	for _, u := range units {
		if !u.Masked {
			names = append(names, u.Name)
		}
	}
	// Masked first: nothing starts again what has just been stopped.
	if err := s.mask(ctx, names...); err != nil {
		return err
	}
	for _, u := range units {
		if err := s.stop(ctx, u.Name); err != nil {
			return err
		}
	}
	return nil
}

// startOld unmasks the old units, and starts those that ran.
func (s *services) startOld(ctx context.Context, units []oldUnit) error {
	var names []string
	for _, u := range units {
		if !u.Masked {
			names = append(names, u.Name)
		}
	}
	if err := s.unmask(ctx, names...); err != nil {
		return err
	}
	var errs []error
	for _, u := range slices.Backward(units) {
		if u.Active {
			errs = append(errs, s.start(ctx, u.Name))
		}
	}
	return errors.Join(errs...)
}

// ownUnits are the patterns of ours.
var ownUnits = []string{"mailstead-*.socket", "mailstead-*.service", "mailstead-*.timer"}

// stopOwn stops all units of ours and has none of them started at boot: Courier's
// ports must be free then, too. The next apply enables them again.
func (s *services) stopOwn(ctx context.Context) error {
	files, err := s.conn.ListUnitFilesByPatternsContext(ctx, nil, ownUnits)
	if err != nil {
		return fmt.Errorf("list units: %w", err)
	}
	var enabled []string
	for _, f := range files {
		if f.Type == "enabled" {
			enabled = append(enabled, f.Path[strings.LastIndexByte(f.Path, '/')+1:])
		}
	}
	if len(enabled) > 0 {
		if _, err := s.conn.DisableUnitFilesContext(ctx, enabled, false); err != nil {
			return fmt.Errorf("disable %s: %w", strings.Join(enabled, ", "), err)
		}
		if err := s.reload(ctx); err != nil {
			return err
		}
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
		if strings.Contains(string(self), "/"+u.Name) {
			continue
		}
		if u.LoadState == "loaded" && u.ActiveState != "inactive" {
			errs = append(errs, s.stop(ctx, u.Name))
		}
	}
	return errors.Join(errs...)
}

// suffixOf is the type of a unit: timer and socket come before service in falling order.
func suffixOf(unit string) string { return unit[strings.LastIndexByte(unit, '.')+1:] }

package kind

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// Delayed is a command that systemd runs once, after a time, whatever has become
// of whoever asked for it. It is gone at the next boot.
type Delayed struct {
	Name        string // of its two units, without their endings
	Description string
	After       time.Duration
	Command     []string // the program by its absolute path, and its arguments
}

// monotonic is an element of the property TimersMonotonic.
type monotonic struct {
	Base string
	USec uint64
}

func setting(name string, value any) dbus.Property {
	return dbus.Property{Name: name, Value: godbus.MakeVariant(value)}
}

// Delay has a command run later, unless Cancel comes first.
func (h *Host) Delay(ctx context.Context, d Delayed) error {
	s, err := h.manager(ctx)
	if err != nil {
		return err
	}
	timer := []dbus.Property{
		dbus.PropDescription(d.Description),
		setting("TimersMonotonic", []monotonic{{"OnActiveSec", uint64(d.After.Microseconds())}}),
		setting("AccuracyUSec", uint64(time.Second.Microseconds())),
		setting("RemainAfterElapse", false),
	}
	service := dbus.PropertyCollection{Name: d.Name + ".service", Properties: []dbus.Property{
		dbus.PropDescription(d.Description),
		dbus.PropType("oneshot"),
		dbus.PropExecStart(d.Command, false),
		setting("CollectMode", "inactive-or-failed"),
	}}
	done := make(chan string, 1)
	if _, err := s.conn.StartTransientUnitAux(ctx, d.Name+".timer", "fail", timer, []dbus.PropertyCollection{service}, done); err != nil {
		return fmt.Errorf("start %s.timer: %w", d.Name, err)
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("start %s.timer: %s", d.Name, jobResult(result))
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Cancel takes a delayed command back. One that has begun goes on.
func (h *Host) Cancel(ctx context.Context, name string) error {
	s, err := h.manager(ctx)
	if err != nil {
		return err
	}
	return s.job(ctx, jobStop, name+".timer", true)
}

// StopService ends a service and the sockets that would start it again, now and
// at the next boot.
func (h *Host) StopService(ctx context.Context, unit string) error {
	s, err := h.manager(ctx)
	if err != nil {
		return err
	}
	states, err := s.units(ctx, []string{unit})
	if err != nil {
		return err
	}
	for _, name := range append(states[unit].triggeredBy, unit) {
		if err := errors.Join(s.job(ctx, jobStop, name, true), s.disable(ctx, name)); err != nil {
			return err
		}
	}
	return nil
}

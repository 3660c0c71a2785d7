package kind

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mailstead/reconcile"
)

// unitStep is one thing done to units after their files are in place.
type unitStep struct {
	verb stepVerb
	unit string // "" for stepReload
	wait bool   // for its job to end
}

type stepVerb string

// The steps: systemd's jobs and what else there is to do.
const (
	stepStart            = stepVerb(jobStart)
	stepStop             = stepVerb(jobStop)
	stepRestart          = stepVerb(jobRestart)
	stepEnable  stepVerb = "enable"
	stepDisable stepVerb = "disable"
	stepRemove  stepVerb = "remove"
	stepReload  stepVerb = "daemon-reload"
)

// unitPlan works out the steps for the changes of units. It is pure.
//
// While a service runs, systemd 252 neither starts an added socket of it nor
// restarts one, and while any of its sockets listens, a client that comes back
// starts the service. So a socket that comes, changes or goes stops all sockets
// of its service, then the service, and then they start in that order.
type unitPlan struct {
	states map[string]unitState
	boot   bool
	stop   []string        // in order
	down   map[string]bool // stopped by us
	steps  []unitStep
}

func planUnits(changes []reconcile.Change, states map[string]unitState, boot bool) []unitStep {
	p := &unitPlan{states: states, boot: boot, down: map[string]bool{}}
	services := p.disturbed(changes)
	for _, c := range changes {
		if r := unitTarget(c); p.goesDown(c) && r.Get("service") == "" {
			p.stopOne(c.Ref.Name)
		}
	}
	for _, unit := range p.stop {
		p.add(stepStop, unit, true)
	}
	reload := p.files(changes)
	if reload {
		p.add(stepReload, "", true)
	}
	p.starts(changes, services)
	return p.steps
}

// unitTarget gives the resource of a change: as wanted, or as it was.
func unitTarget(c reconcile.Change) *reconcile.Resource {
	if c.Want != nil {
		return c.Want
	}
	return c.Have
}

func (p *unitPlan) add(verb stepVerb, unit string, wait bool) {
	p.steps = append(p.steps, unitStep{verb, unit, wait})
}

func (p *unitPlan) stopOne(unit string) {
	if p.states[unit].active && !p.down[unit] {
		p.down[unit] = true
		p.stop = append(p.stop, unit)
	}
}

func (p *unitPlan) goesDown(c reconcile.Change) bool {
	return c.Want == nil || Run(c.Want.Get("run")) == Down
}

// renewed tells whether the unit has to let go of what it was started with.
func renewed(c reconcile.Change) bool {
	if c.Want == nil || Run(c.Want.Get("run")) != Up {
		return false
	}
	return c.Have == nil || c.Have.Get("content") != c.Want.Get("content") ||
		c.Have.Get("reads") != c.Want.Get("reads") || c.Have.Get("running") == unitOutdated
}

// disturbed stops the services whose sockets come, change or go, and gives them.
func (p *unitPlan) disturbed(changes []reconcile.Change) []string {
	var services []string
	for _, c := range changes {
		r := unitTarget(c)
		service := r.Get("service")
		if service == "" {
			continue
		}
		goes := p.goesDown(c) && p.states[c.Ref.Name].active
		if (goes || comes(c, p.states)) && !slices.Contains(services, service) {
			services = append(services, service)
		}
	}
	for _, service := range services {
		if p.states[service].active && !p.boot {
			for _, socket := range p.states[service].triggeredBy {
				p.stopOne(socket)
			}
		}
		for _, c := range changes {
			if unitTarget(c).Get("service") == service && (p.goesDown(c) || renewed(c)) {
				p.stopOne(c.Ref.Name)
			}
		}
		if !p.boot {
			p.stopOne(service)
		}
	}
	return services
}

// files does what changes unit files and links, and tells whether systemd has
// to read them again.
func (p *unitPlan) files(changes []reconcile.Change) (reload bool) {
	for _, c := range changes {
		name := c.Ref.Name
		switch {
		case c.Want == nil:
			if c.Have.Get("enabled") == "yes" {
				p.add(stepDisable, name, true)
			}
			p.add(stepRemove, name, true)
			reload = true
		case c.Want.Get("enabled") == "yes" && c.Have.Get("enabled") != "yes":
			p.add(stepEnable, name, true)
			reload = true
		case c.Want.Get("enabled") == "no" && c.Have.Get("enabled") == "yes":
			p.add(stepDisable, name, true)
			reload = true
		default:
			reload = reload || !fileRight(c) || c.Have.Get("loaded") == unitOutdated
		}
	}
	return reload
}

// starts starts what is to run: sockets before their services.
func (p *unitPlan) starts(changes []reconcile.Change, services []string) {
	gone := make(map[string]bool)
	for _, c := range changes {
		gone[c.Ref.Name] = p.goesDown(c)
	}
	var sockets, others []unitStep
	for _, unit := range p.stop { // somebody else's sockets of a stopped service
		if !gone[unit] && !changed(changes, unit) && !slices.Contains(services, unit) {
			sockets = append(sockets, unitStep{stepStart, unit, true})
		}
	}
	for _, c := range changes {
		if c.Want == nil || Run(c.Want.Get("run")) != Up {
			continue
		}
		name, running := c.Ref.Name, p.states[c.Ref.Name].active && !p.down[c.Ref.Name]
		if c.Want.Get("service") != "" {
			if !running {
				sockets = append(sockets, unitStep{stepStart, name, true})
			}
			continue
		}
		switch {
		case !running:
			others = append(others, unitStep{stepStart, name, !p.boot})
		case renewed(c):
			others = append(others, unitStep{stepRestart, name, !p.boot})
		}
	}
	for _, service := range services {
		if p.down[service] && !changed(changes, service) {
			others = append(others, unitStep{stepStart, service, true})
		}
	}
	p.steps = append(append(p.steps, sockets...), others...)
}

func changed(changes []reconcile.Change, unit string) bool {
	return slices.ContainsFunc(changes, func(c reconcile.Change) bool { return c.Ref.Name == unit })
}

// settleUnits makes systemd follow the unit files.
func (h *Host) settleUnits(ctx context.Context, changes []reconcile.Change) []error {
	errs := make([]error, len(changes))
	s, err := h.manager(ctx)
	var states map[string]unitState
	if err == nil {
		states, err = s.units(ctx, unitNames(changes))
	}
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	paths := make(map[string][]string)
	for _, c := range changes {
		if c.Want == nil {
			paths[c.Ref.Name] = append(oldUnitFiles(*c.Have, c.Was), c.Have.Get("path"))
		}
	}
	free := h.held(changes, states, errs)
	for _, step := range planUnits(free, states, h.Boot) {
		err := s.do(ctx, step, paths[step.unit])
		if err == nil {
			continue
		}
		// What no changed unit is to blame for is the first one's fault.
		i := max(0, slices.IndexFunc(changes, func(c reconcile.Change) bool { return c.Ref.Name == step.unit }))
		errs[i] = errors.Join(errs[i], whoHas(changes[i], err))
	}
	return errs
}

// PortsTaken says before anything is touched which sockets of a plan cannot start,
// because somebody else has their port.
func (h *Host) PortsTaken(ctx context.Context, p *reconcile.Plan) error {
	var units []reconcile.Change
	for _, c := range p.Changes {
		if c.Ref.Kind == "unit" {
			units = append(units, c)
		}
	}
	if len(units) == 0 {
		return nil
	}
	s, err := h.manager(ctx)
	if err != nil {
		return err
	}
	states, err := s.units(ctx, unitNames(units))
	if err != nil {
		return err
	}
	whose := taken(units, states)
	var errs []error
	for i, c := range units {
		if who := whose[i]; who != "" {
			errs = append(errs, fmt.Errorf("%s: %s", c.Ref, who))
		}
	}
	return errors.Join(errs...)
}

// taken says, by the place of a change, which sockets cannot start, and who has
// their port.
func taken(changes []reconcile.Change, states map[string]unitState) map[int]string {
	own := make(map[string]bool) // ports that sockets of ours give up
	for _, c := range changes {
		if c.Have != nil && states[c.Ref.Name].active {
			for _, a := range listenAddresses(c.Have.Get("content")) {
				own[a] = true
			}
		}
	}
	whose := make(map[int]string)
	for i, c := range changes {
		if !comes(c, states) {
			continue
		}
		for _, a := range listenAddresses(c.Want.Get("content")) {
			if who := portTaken(a, c.Want.Get("service")); who != "" && !own[a] {
				whose[i] = who
			}
		}
	}
	return whose
}

// held takes away the changes that would end a running service for a socket that
// cannot start, because somebody else has its port; errs says so for each.
func (h *Host) held(changes []reconcile.Change, states map[string]unitState, errs []error) []reconcile.Change {
	lost := make(map[string]string) // by service, a socket of it that cannot start
	for i, who := range taken(changes, states) {
		errs[i] = errors.New(who)
		lost[changes[i].Want.Get("service")] = changes[i].Ref.Name
	}
	var free []reconcile.Change
	for i, c := range changes {
		service := unitTarget(c).Get("service")
		if service == "" {
			service = c.Ref.Name
		}
		if socket := lost[service]; errs[i] == nil && socket != "" && states[service].active {
			errs[i] = fmt.Errorf("%s goes on as it runs, because %s cannot start", service, socket)
		}
		if errs[i] == nil {
			free = append(free, c)
		}
	}
	return free
}

// comes tells whether a socket is to start, or to start again.
func comes(c reconcile.Change, states map[string]unitState) bool {
	return c.Want != nil && c.Want.Get("service") != "" && Run(c.Want.Get("run")) == Up &&
		(!states[c.Ref.Name].active || renewed(c))
}

// unitNames gives the units of the changes and the services of their sockets.
func unitNames(changes []reconcile.Change) []string {
	var names []string
	for _, c := range changes {
		names = append(names, c.Ref.Name)
		if service := unitTarget(c).Get("service"); service != "" {
			names = append(names, service)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// do makes one step.
func (s *systemd) do(ctx context.Context, step unitStep, paths []string) error {
	switch step.verb {
	case stepEnable:
		return s.enable(ctx, step.unit)
	case stepDisable:
		return s.disable(ctx, step.unit)
	case stepRemove:
		return removeFiles(paths)
	case stepReload:
		return s.daemonReload(ctx)
	}
	return s.job(ctx, jobVerb(step.verb), step.unit, step.wait)
}

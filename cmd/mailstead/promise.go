package main

import (
	"context"
	"fmt"

	"mailstead/imapserver/limit"
	"mailstead/reconcile/doctor"
	"mailstead/render"
)

// promise is what the limits of a host let in, beside what its units have for that: as
// systemd has them or, of those that are yet to be made, as they are to be.
func (l *look) promise(ctx context.Context) (doctor.Promise, error) {
	p := doctor.Promise{Limits: limit.Default().With(l.host.Limits).Login, Users: map[string]int{}, RAM: doctor.RAM("/proc"), Origin: l.host.Origin.String()}
	for _, name := range []string{"sessions", "sessionsPerUser", "waiting", "reserve"} {
		if _, set := l.host.Limits[name]; !set {
			continue
		}
		p.Set = true
		if at, known := l.host.Origins["limits/"+name]; known {
			p.Origin = at.String()
		}
	}
	texts := map[string]string{}
	for _, r := range l.want {
		switch r.Ref.Kind {
		case "maildir":
			p.Users[r.Get("owner")]++
		case "unit":
			texts[r.Ref.Name] = r.Get(contentAttr)
		}
	}
	if len(l.host.Directories) > 0 {
		p.Anybody = "to be made"
		if owner, known := l.facts.Accounts[l.host.Mail.User]; known {
			p.Anybody = fmt.Sprintf("%d:%d", owner.UID, owner.GID)
		}
	}
	names := []string{render.SpawnUnit}
	for _, listener := range l.host.Listeners {
		names = append(names, render.LoginUnit(listener.Name))
	}
	all, err := l.kinds.Health(ctx, names)
	if err != nil {
		return p, err
	}
	hold := func(unit string) doctor.Holding {
		if !all[unit].There {
			return doctor.Wanted(unit, texts[unit], p.RAM)
		}
		return doctor.Hold(unit, all[unit], "/proc")
	}
	p.Spawn = hold(render.SpawnUnit)
	for _, listener := range l.host.Listeners {
		h := hold(render.LoginUnit(listener.Name))
		h.Proxy = listener.Proxy != nil
		p.Logins = append(p.Logins, h)
	}
	return p, nil
}

// promiseNotes says in a plan that a description lets in more than the host can hold.
func (l *look) promiseNotes(ctx context.Context) (notes []string) {
	if l.opts.Rootless || l.facts.Systemd == 0 || len(l.host.Limits) == 0 {
		return nil
	}
	p, err := l.promise(ctx)
	if err != nil || !p.Set {
		return nil // what nobody has asked for, doctor mentions
	}
	for _, f := range p.Judge() {
		notes = append(notes, fmt.Sprintf("%s: %s: %s", f.Origin, f.Subject, f.Seen))
	}
	return notes
}

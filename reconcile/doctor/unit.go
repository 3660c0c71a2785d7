package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mailstead/reconcile/kind"
)

// Units says which units have failed, and which timers wait for nothing. origin
// gives the place of the description that asks for a unit.
func Units(all map[string]kind.Health, now time.Time, origin func(unit string) string) []Finding {
	var found []Finding
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		u := all[name]
		switch timer := strings.HasSuffix(name, ".timer"); {
		case u.Masked:
			found = append(found, New(UnitMasked, name, "it is masked").At(origin(name)).
				Do(fmt.Sprintf("See who has masked it, and why; then systemctl unmask %s, and mailstead apply.", name)))
		case u.Active == "activating" && (u.Again > 0 || u.Sub == "auto-restart"):
			found = append(found, New(UnitFailed, name, fmt.Sprintf("it ends as soon as it is started, %d times by now", u.Again+1)).At(origin(name)).
				Do(fmt.Sprintf("Its journal says why: journalctl -u %s. systemd goes on trying.", name)))
		case u.Active == "failed":
			seen := "it has failed: " + u.Result
			if u.Status != 0 {
				seen += fmt.Sprintf(", status %d", u.Status)
			}
			found = append(found, New(UnitFailed, name, seen).At(origin(name)).
				Do(fmt.Sprintf("Its journal says why: journalctl -u %s. Then start it again: systemctl start %s.", name, name)))
		case timer && (u.Active != "active" || !u.Waits && u.Sub != "running"):
			f := New(TimerDead, name, "it does not wait for any time").At(origin(name))
			f.Mends = []string{kind.UnitRef(name).String()}
			found = append(found, f)
		case timer:
			found = append(found, late(name, u, now, origin(name))...)
		}
	}
	return found
}

// What a timer may be behind: systemd starts nothing while a clock is set or the host
// sleeps, and none of what our timers start is at work for a day.
const (
	timerSlack = time.Hour
	timerWork  = 24 * time.Hour
)

// late says of a timer that what it starts has not been started when it should, or
// has not come to an end, while which it is not started again.
func late(name string, u kind.Health, now time.Time, origin string) []Finding {
	service := strings.TrimSuffix(name, ".timer") + ".service"
	last := "never"
	if !u.Last.IsZero() {
		last = moment(u.Last)
	}
	switch {
	case u.Sub == "running" && !u.Last.IsZero() && now.Sub(u.Last) > timerWork:
		return []Finding{New(TimerLate, name, fmt.Sprintf("%s has been at work since %s, and is not started again before its end", service, last)).At(origin).
			Do(fmt.Sprintf("See what it waits for: systemctl status %s. systemctl stop %s ends it, and the timer goes on.", service, service))}
	case u.Sub != "running" && !u.Next.IsZero() && now.Sub(u.Next) > timerSlack:
		return []Finding{New(TimerLate, name, fmt.Sprintf("it was due at %s, and %s was started last: %s", moment(u.Next), service, last)).At(origin).
			Do(fmt.Sprintf("Start the timer anew: systemctl restart %s.", name))}
	}
	return nil
}

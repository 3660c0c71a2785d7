package main

import (
	"fmt"
	"time"

	"mailstead/reconcile"
	"mailstead/schema"
)

// certificateNotes says what is wrong with certificates although nothing has to
// be applied: one that could not be brought into force, and one that lapses soon.
func (l *look) certificateNotes(now time.Time) []string {
	var notes []string
	faults, err := readFaults(l.host)
	if err != nil {
		notes = append(notes, err.Error())
	}
	for _, f := range faults {
		notes = append(notes, fmt.Sprintf("certificate/%s: not brought into force since %s: %s; %q tries again",
			f.Certificate, f.Since.Format(time.DateTime+" MST"), f.Fault, "mailstead deploy-hook --all"))
	}
	for _, c := range l.host.TLS.Certificates {
		if note := lapses(c, l.facts.Certificates[c.Name], now); note != "" {
			notes = append(notes, note)
		}
	}
	return notes
}

// soon is how long before its end a certificate is worth a word: when certbot
// should have renewed it for a while (it does with a third of the life left), and
// no earlier than people would act on it.
func soon(c reconcile.Certificate) time.Duration {
	const most = 21 * 24 * time.Hour
	return min(c.NotAfter.Sub(c.NotBefore)/4, most)
}

// lapses says that a certificate ends soon, "" if it does not. What Mailstead
// makes itself is renewed by a change of the plan.
func lapses(c schema.Certificate, have reconcile.Certificate, now time.Time) string {
	if !have.InstalledUntil.IsZero() && have.Fingerprint == "" && c.SelfSigned == nil {
		return fmt.Sprintf("certificate/%s: the one that is served %s", c.Name, expires(have.InstalledUntil, now))
	}
	left := have.NotAfter.Sub(now)
	if have.Fingerprint == "" || left >= soon(have) || c.SelfSigned != nil {
		return ""
	}
	who := "certbot has not renewed it"
	if c.Files != nil {
		who = fmt.Sprintf("nobody has renewed %s", c.Files.Certificate)
	}
	return fmt.Sprintf("certificate/%s: %s, and %s", c.Name, expires(have.NotAfter, now), who)
}

// expires says in words when that is.
func expires(then, now time.Time) string {
	date := then.UTC().Format(time.DateOnly)
	switch days := int(then.Sub(now).Hours() / 24); {
	case !then.After(now):
		return "expired on " + date
	case days == 0:
		return "expires within a day, on " + date
	case days == 1:
		return "expires in 1 day, on " + date
	default:
		return fmt.Sprintf("expires in %d days, on %s", days, date)
	}
}

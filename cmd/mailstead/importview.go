package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"mailstead/reconcile/transfer"
)

// transferProgress says on a terminal how far a transfer is, on one line that is
// written again and again.
type transferProgress struct {
	c     *console
	begun time.Time

	mu               sync.Mutex
	messages, octets int64 // to be brought
	done, doneOctets int64
	box              string
	shown            bool
	when             time.Time
}

func newTransferProgress(c *console) *transferProgress {
	return &transferProgress{c: c, begun: time.Now()}
}

// Total, Mailbox, Brought and Wait are transfer.Progress's.
func (p *transferProgress) Total(messages int, octets int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.messages == 0 {
		p.begun = time.Now()
	}
	p.messages, p.octets = int64(messages), octets
}

func (p *transferProgress) Mailbox(name, target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.box = name
	p.show(true)
}

func (p *transferProgress) Brought(messages int, octets int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += int64(messages)
	p.doneOctets += octets
	p.show(false)
}

// Wait says why nothing moves.
func (p *transferProgress) Wait(d time.Duration, reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hide()
	fmt.Fprintf(p.c.err, "The source is asked again in %v: %s\n", d, visible(reason.Error()))
}

func (p *transferProgress) show(now bool) {
	if !p.c.progress || !now && time.Since(p.when) < progressPause {
		return
	}
	p.hide()
	p.when = time.Now()
	fmt.Fprintf(p.c.err, "%s: %d of %d messages, %s of %s%s", visible(p.box), p.done, p.messages, octets(p.doneOctets), octets(p.octets), p.left())
	p.shown = true
}

// left is the rate, and the time that the rest takes at it.
func (p *transferProgress) left() string {
	passed := time.Since(p.begun)
	if passed < 2*time.Second || p.done == 0 {
		return ""
	}
	rate := float64(p.done) / passed.Seconds()
	rest := time.Duration(float64(max(0, p.messages-p.done)) / rate * float64(time.Second))
	return fmt.Sprintf(", %.0f/s, %v left", rate, rest.Round(time.Second))
}

// clear takes the line away.
func (p *transferProgress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hide()
}

func (p *transferProgress) hide() {
	if p.shown {
		fmt.Fprint(p.c.err, eraseLine)
		p.shown = false
	}
}

// octets is a size for people.
func octets(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// writeImported says what was brought. A run that was cut short is not complete.
func writeImported(c *console, j *importJob, reports []transfer.Report, complete bool) error {
	if j.Output == outputJSON {
		return writeJSON(c.out, struct {
			DryRun    bool              `json:"dry_run"`
			Complete  bool              `json:"complete"`
			Mailboxes []transfer.Report `json:"mailboxes"`
			Moved     []moved           `json:"moved,omitempty"`
		}{j.Options.DryRun, complete, append([]transfer.Report{}, reports...), j.Moved})
	}
	verb := "brought"
	if j.Options.DryRun {
		verb = "to be brought"
	}
	brought, size := 0, int64(0)
	for _, r := range reports {
		switch {
		case r.Skipped != "":
			fmt.Fprintf(c.out, "%s: left out, since %s\n", visible(r.Mailbox), r.Skipped)
			continue
		case r.Target == "":
			continue
		}
		fmt.Fprintf(c.out, "%s -> %s: %s there (%s), %d %s, %d brought before", visible(r.Mailbox), visible(r.Target), number(r.There, "message"), octets(r.Size), r.Brought, verb, r.Before-r.Here)
		if r.BeforeIn != "" {
			fmt.Fprintf(c.out, " into %s", visible(r.BeforeIn))
		}
		if r.Here > 0 {
			fmt.Fprintf(c.out, ", %d here already", r.Here)
		}
		if r.Gone > 0 {
			fmt.Fprintf(c.out, ", %d removed there meanwhile", r.Gone)
		}
		if r.Flags > 0 {
			fmt.Fprintf(c.out, ", flags of %d changed", r.Flags)
		}
		fmt.Fprintln(c.out)
		for _, left := range r.Left {
			fmt.Fprintf(c.out, "  message %s was not taken: %s\n", visible(left.ID), visible(left.Reason))
		}
		for _, cut := range r.Cut {
			fmt.Fprintf(c.out, "  message %s is here without some of its keywords: %s\n", visible(cut.ID), visible(cut.Reason))
		}
		brought += r.Brought
		size += r.Size
	}
	brought += writeMoved(c, j.Moved, j.Options.DryRun)
	_, err := fmt.Fprintf(c.out, "\n%s %s.\n", number(brought, "message"), verb)
	return err
}

// writeVerified says what differs. A comparison that was cut short is not complete, and
// says nothing of the rest.
func writeVerified(c *console, form string, compared int, differences []transfer.Difference, complete bool) error {
	if form == outputJSON {
		err := writeJSON(c.out, struct {
			Compared    int                   `json:"compared"`
			Complete    bool                  `json:"complete"`
			Differences []transfer.Difference `json:"differences"`
		}{compared, complete, append([]transfer.Difference{}, differences...)})
		if err == nil && len(differences) > 0 {
			err = &exitError{code: exitFailed}
		}
		return err
	}
	for _, d := range differences {
		of := ""
		if d.ID != "" { // else it is of the mailbox
			of = "message " + visible(d.ID) + " "
		}
		fmt.Fprintf(c.out, "%s: %s%s\n", visible(d.Mailbox), of, visible(d.What))
	}
	if len(differences) > 0 {
		return errors.New("the two sides differ in " + fmt.Sprint(len(differences)) + " places")
	}
	said := "The same on both sides: %s.\n"
	if !complete {
		said = "Compared before it ended: %s.\n"
	}
	_, err := fmt.Fprintf(c.out, said, number(compared, "message"))
	return err
}

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"mailstead/reconcile"
)

// writePeople writes what a plan means to people, and to their mail.
func writePeople(c *console, w io.Writer, p *reconcile.People) {
	if p == nil {
		return
	}
	fmt.Fprintln(w)
	for _, line := range peopleLines(p) {
		fmt.Fprintf(w, "%s %s\n", c.paint(bold, "People:"), visible(line))
	}
	fmt.Fprintf(w, "%s %s\n", c.paint(bold, "Mail:"), visible(mailLine(p)))
	if line := inboxLine(p); line != "" {
		fmt.Fprintf(w, "%s %s\n", c.paint(red, "INBOX:"), visible(line))
	}
	for _, line := range brakeLines(p) {
		fmt.Fprintf(w, "%s %s\n", c.paint(red, "Brake:"), visible(line))
	}
}

// peopleLines says who will notice what.
func peopleLines(p *reconcile.People) (lines []string) {
	if line := sessionLine(p.Sessions); line != "" {
		lines = append(lines, line)
	}
	if !p.LastKnown {
		lines = append(lines, "who loses a way in is not known: what was applied last cannot be read")
	}
	for _, group := range []struct {
		names     []string
		one, many string
	}{
		{p.Vanish, "1 user can no longer log in", "%d users can no longer log in"},
		{p.Elsewhere, "1 user is sent to another server", "%d users are sent to another server"},
		{p.Password, "1 user logs in with another password", "%d users log in with another password"},
	} {
		if n := len(group.names); n == 1 {
			lines = append(lines, group.one+": "+group.names[0])
		} else if n > 1 {
			lines = append(lines, fmt.Sprintf(group.many, n)+": "+someNames(group.names, false))
		}
	}
	for _, loss := range p.Lost {
		lines = append(lines, fmt.Sprintf("%s will lose %s", number(loss.Users, "user"), loss.What))
	}
	return lines
}

// sessionLine says which sessions end, "" if none does.
func sessionLine(s reconcile.Sessions) string {
	which := "the sessions on the listeners that move end"
	if s.All {
		which = "the daemon is restarted, which ends every session"
	}
	switch {
	case s.Unknown != "" && s.All:
		return fmt.Sprintf("%s; how many there are could not be asked: %s", which, s.Unknown)
	case s.End == 0:
		return ""
	}
	parts := make([]string, 0, len(s.On))
	for _, name := range slices.Sorted(maps.Keys(s.On)) {
		parts = append(parts, fmt.Sprintf("%d on %s", s.On[name], name))
	}
	return fmt.Sprintf("%s: %d now (%s)", which, s.End, strings.Join(parts, ", "))
}

// mailLine says what happens to mail.
func mailLine(p *reconcile.People) string {
	removed, joint, folders := "no message is removed", ", and ", "UIDVALIDITY changes in no folder"
	if line := purgeLine(p); line != "" {
		removed, joint = line, "; "
	}
	if n := len(p.Moved); n > 0 {
		joint = "; "
		folders = fmt.Sprintf("the mail of %s is looked for in another place, where folders have a UIDVALIDITY of their own: %s", number(n, "user"), someNames(p.Moved, false))
	}
	return removed + joint + folders + "."
}

// inboxLine says whose inboxes new rules are for, which no other line says where they
// remove nothing yet; "" is nobody's.
func inboxLine(p *reconcile.People) string {
	if len(p.Inboxes) == 0 {
		return ""
	}
	byDays := map[int][]string{}
	now := 0
	for _, b := range p.Inboxes {
		byDays[b.Days] = append(byDays[b.Days], b.User)
		now += b.Messages
	}
	var parts []string
	for _, days := range slices.Sorted(maps.Keys(byDays)) {
		parts = append(parts, fmt.Sprintf("%d days after it came in: %s", days, someNames(byDays[days], false)))
	}
	count := number(now, "message") + " within a day"
	if p.PurgesUnknown != "" {
		count = "how many within a day is not known"
	}
	return fmt.Sprintf("mail in the inbox of %s will be removed, read or not, %s; %s", number(len(p.Inboxes), "user"), strings.Join(parts, "; "), count)
}

// purgeLine says what new rules remove, "" if nothing.
func purgeLine(p *reconcile.People) string {
	const shown = 5
	var parts []string
	users := map[string]bool{}
	for _, f := range p.Purges {
		users[f.User] = true
		if len(parts) < shown {
			parts = append(parts, fmt.Sprintf("%d of %s in %s", f.Messages, f.User, f.Folder))
		}
	}
	if n := len(p.Purges); n > shown {
		parts = append(parts, "and from "+number(n-shown, "folder")+" more")
	}
	line := ""
	if len(parts) > 0 {
		line = fmt.Sprintf("new rules will remove %s of %s, within a day: %s", number(p.MessagesRemoved, "message"), number(len(users), "user"), strings.Join(parts, ", "))
	}
	if p.PurgesUnknown != "" {
		line = strings.TrimPrefix(line+"; ", "; ") + "how many new rules will remove could not be counted: " + p.PurgesUnknown
	}
	return line
}

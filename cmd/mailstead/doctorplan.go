package main

import (
	"fmt"
	"slices"
	"strings"

	"mailstead/reconcile"
	"mailstead/reconcile/doctor"
)

// maxAlike is how many resources that somebody has changed are told one by one. What
// is yet to be made is one finding: on a new host there are thousands of folders.
const maxAlike = 5

// changes adds what the plan says and nothing else has found, and leaves of what
// each finding would be mended by those resources that the plan does change.
func (u *checkup) changes() {
	planned := map[string]bool{}
	for _, c := range u.plan.Changes {
		planned[c.Ref.String()] = true
	}
	told := map[string]bool{}
	for i, f := range u.Findings {
		f.Mends = slices.DeleteFunc(slices.Clone(f.Mends), func(ref string) bool { return !planned[ref] })
		for _, ref := range f.Mends {
			told[ref] = true
		}
		u.Findings[i] = f
	}
	alike := map[string][]doctor.Finding{}
	var kinds []string
	gone := map[string]bool{} // whose mail
	for _, c := range u.plan.Changes {
		gone[c.Ref.Name] = gone[c.Ref.Name] || isGone(c)
	}
	for _, c := range u.plan.Changes {
		user, _, _ := strings.Cut(c.Ref.Name, "/")
		if told[c.Ref.String()] || c.Ref.Kind == "folder" && gone[user] {
			continue
		}
		f := asFinding(c)
		key := string(f.Code)
		if alike[key] == nil {
			kinds = append(kinds, key)
		}
		alike[key] = append(alike[key], f)
	}
	for _, key := range kinds {
		most := maxAlike
		if key == string(doctor.Pending) {
			most = 1
		}
		u.Add(together(alike[key], most)...)
	}
	u.waiting()
}

// isGone tells of a Maildir that was there: to make an empty one mends nothing.
func isGone(c reconcile.Change) bool {
	return c.Ref.Kind == "maildir" && c.Have == nil && c.Drift != nil
}

// asFinding is a change of the plan as a finding.
func asFinding(c reconcile.Change) doctor.Finding {
	code := doctor.Pending
	switch {
	case isGone(c):
		return doctor.New(doctor.MailGone, c.Ref.String(), c.Want.Get("path")+" was removed").At(c.Origin)
	case c.Ref.Kind == "maildir" && c.Op == reconcile.Update:
		code = doctor.MailBroken
	case c.Ref.Kind == "unit" && c.Have.Get("active") == "no" && c.Want.Get("active") == "yes":
		code = doctor.UnitStopped
	case c.Ref.Kind == "deploy-hook" && c.Drift != nil && !strings.HasSuffix(c.Have.Get("mode"), "755"):
		code = doctor.HookNotRun // certbot takes what is not executable for none
	case c.Drift != nil:
		code = doctor.Changed
	}
	reason := changeReason(c)
	if c.Drift != nil {
		reason = driftReason(c)
	}
	f := doctor.New(code, c.Ref.String(), reason).At(c.Origin)
	if code == doctor.HookNotRun {
		f = f.Do("Run mailstead apply. mailstead deploy-hook --all does for now what the hook would have done.")
	}
	if code == doctor.UnitStopped {
		f = f.Do(fmt.Sprintf("See who has stopped it (journalctl -u %s), then start it: mailstead apply.", c.Ref.Name))
	}
	f.Mends = []string{c.Ref.String()}
	return f
}

// together makes one finding of more than most that say the same of other things.
func together(all []doctor.Finding, most int) []doctor.Finding {
	if len(all) <= most {
		return all
	}
	f := all[0]
	f.Subject = fmt.Sprintf("%s and %d more", f.Subject, len(all)-1)
	for _, other := range all[1:] {
		f.Mends = append(f.Mends, other.Mends...)
	}
	return []doctor.Finding{f}
}

// waiting adds what waits for somebody, and mail that could not be read. What else
// could not be read needs root, or somebody else has said so.
func (u *checkup) waiting() {
	by := map[string][]doctor.Finding{}
	var reasons []string
	for _, w := range u.plan.Blocked {
		f := doctor.New(doctor.Waiting, w.Ref.String(), w.Reason).At(w.Origin)
		if w.Command != "" {
			f = f.Do(w.Command + ", then mailstead apply.")
		}
		if by[w.Reason] == nil {
			reasons = append(reasons, w.Reason)
		}
		by[w.Reason] = append(by[w.Reason], f)
	}
	for _, reason := range reasons {
		u.Add(together(by[reason], 1)...)
	}
	unread := 0
	for _, x := range u.plan.Unreadable {
		if x.Ref.Kind == "maildir" && u.privileged() {
			u.Add(doctor.New(doctor.MailUnreadable, x.Ref.String(), x.Reason).At(x.Origin).
				Do(fmt.Sprintf("Do what it says; mailstead explain-login %s says how far the owner of the mail gets.", x.Ref.Name)))
		} else if x.Ref.Kind != "folder" {
			unread++
		}
	}
	if unread > 0 {
		u.Skip("resources", fmt.Sprintf("%d could not be read; mailstead plan says why", unread))
	}
}

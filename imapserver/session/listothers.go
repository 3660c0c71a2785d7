package session

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"mailstead/imapserver/store"
)

// listOthers gives the mailboxes of other users that this one may look up, and
// those that are subscribed, with their full names. Whose they are, and not the
// user's own, their special uses are no news.
func (s *session) listOthers(ctx context.Context, patterns []listPattern) ([]store.Entry, error) {
	entries := map[string]store.Entry{}
	for _, user := range s.Others.Names() {
		if user == s.User || !slices.ContainsFunc(patterns, func(p listPattern) bool { return p.reaches(user) }) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for _, m := range s.Others.Shared(user) {
			if m.ACL.Rights(s.User, false).Has(store.RightLookup) {
				name := canonicalOthers(user, m.Name)
				entries[name] = store.Entry{Name: name, Exists: true, Selectable: m.Selectable}
			}
		}
	}
	names, err := s.Account.SubscribedOthers(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if strings.HasPrefix(name, sharedPrefix) {
			e := entries[name]
			e.Name, e.Subscribed = name, true
			entries[name] = e
		}
	}
	list := make([]store.Entry, 0, len(entries))
	for _, e := range entries {
		list = append(list, e)
	}
	slices.SortFunc(list, func(x, y store.Entry) int { return cmp.Compare(x.Name, y.Name) })
	return list, nil
}

// reaches tells whether a pattern may match mailboxes of that user.
func (p pattern) reaches(user string) bool {
	fixed := p.text
	if i := strings.IndexAny(fixed, "*%"); i >= 0 {
		fixed = fixed[:i]
	}
	all := sharedPrefix + othersName(user)
	return strings.HasPrefix(all+delimiter, fixed) || strings.HasPrefix(fixed, all+delimiter)
}

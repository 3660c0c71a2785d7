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
	owners, err := s.owners(ctx, patterns)
	if err != nil {
		return nil, err
	}
	for _, user := range owners {
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

// owners gives users who may have mailboxes that the patterns ask for: all who share something
// with this one, unless each pattern names whose it asks for.
func (s *session) owners(ctx context.Context, patterns []listPattern) ([]string, error) {
	var named []string
	for _, p := range patterns {
		fixed, _, wild := strings.Cut(p.text, "*")
		fixed, _, more := strings.Cut(fixed, "%")
		rest, _ := strings.CutPrefix(fixed, sharedPrefix)
		user, _, below := strings.Cut(rest, delimiter)
		if !below && (wild || more) {
			return s.Others.With(ctx, s.User)
		}
		named = append(named, strings.ReplaceAll(user, " ", delimiter))
	}
	return named, nil
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

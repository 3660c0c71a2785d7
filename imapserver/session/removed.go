package session

import "mailstead/imapserver/store"

// watchRemovals has what goes from a selected mailbox be told, with the name that
// the mailbox has at that time.
func (s *session) watchRemovals(v *selection) {
	if s.Removed == nil {
		return
	}
	v.view.WatchRemovals(func(removed []store.Removal) {
		s.Removed(s.command, Mailbox{v.owner, v.view.Name()}, removed)
	})
}

// tellGone tells of a mailbox that is not there any more under its name; to is its
// new one.
func (s *session) tellGone(p place, to string) {
	if s.Removed == nil {
		return
	}
	var moved []store.Removal
	if to != "" {
		moved = append(moved, store.Removal{To: to})
	}
	s.Removed(s.command, Mailbox{p.owner, p.name}, moved)
}

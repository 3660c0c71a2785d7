package imapserver

import (
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/control"
	"mailstead/imapserver/metrics"
	"mailstead/imapserver/session"
	"mailstead/imapserver/store"
)

// removedBy gives what is told of the messages that a session removes.
func (m *mail) removedBy(s *liveSession) func(string, session.Mailbox, []store.Removal) {
	return func(command string, from session.Mailbox, removed []store.Removal) {
		line := control.Removal{
			At: time.Now().UTC(), User: from.Owner, Mailbox: from.Name, Command: command,
			By: s.User, Session: s.ID, Listener: s.Listener, Client: s.client(),
		}
		if s.Listener != "" {
			line.Address = s.Remote.String()
		}
		if len(removed) == 0 {
			m.reports.removed([]control.Removal{line})
			return
		}
		lines := make([]control.Removal, len(removed))
		for i, r := range removed {
			line.UID, line.MessageID = uint32(r.UID), r.MessageID
			line.To, line.ToUID, line.ToValidity = r.To, uint32(r.ToUID), r.ToValidity
			lines[i] = line
		}
		how := "expunged"
		if removed[0].To != "" {
			how = "moved"
		}
		if removed[0].UID != 0 {
			m.reports.Add(metrics.Removed, float64(len(removed)), how)
		}
		m.reports.removed(lines)
	}
}

// lost takes note of what another program has removed.
func (m *mail) lost(a *account, mailbox string, uids []imap.UID) {
	m.reports.Add(metrics.Removed, float64(len(uids)), "outside")
	owner := a.owner.Load()
	if owner == nil {
		return // nobody but another user has come, who has no part in this
	}
	lines := make([]control.Removal, len(uids))
	for i, uid := range uids {
		lines[i] = control.Removal{At: time.Now().UTC(), User: *owner, Mailbox: mailbox, UID: uint32(uid)}
	}
	m.reports.removed(lines)
}

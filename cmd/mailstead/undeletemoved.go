package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/reconcile/transfer"
)

// undeleteClient is what undelete says it is, so that it never undoes what it did.
const undeleteClient = "mailstead undelete"

// moved is messages that were moved, and may be moved back.
type moved struct {
	From     string `json:"from"` // where they are
	To       string `json:"to"`   // where they go
	Messages int    `json:"messages"`
	Folder   bool   `json:"folder,omitempty"` // From was renamed as a whole, and is renamed back
	Kept     string `json:"kept,omitempty"`   // why it stays where it is

	before   string     // where they were
	validity uint32     // of From, when they were moved there; 0: not known
	uids     []imap.UID // in From
}

// moves finds in the record which of a user's messages were moved, and are wanted
// back. What was moved to a mailbox that is gone since cannot be told from other mail.
func (o undeleteOptions) moves(record string, since time.Time, trash []string) ([]moved, error) {
	if record == "" {
		return nil, nil
	}
	found, _, err := searchRemovals(record, since, func(r *control.Removal) bool { return r.User == o.user && !r.At.Before(since) })
	if err != nil {
		return nil, err
	}
	type place struct {
		from, to string
		validity uint32
	}
	type spot struct {
		mailbox string
		uid     uint32
	}
	places := map[place]*moved{}
	before := map[spot]string{} // where a message was before it came there
	for _, r := range found {
		if r.UID == 0 { // another mailbox may have that name by now
			renamed := places[place{from: r.Mailbox}]
			maps.DeleteFunc(places, func(k place, _ *moved) bool { return below(k.from, r.Mailbox) })
			maps.DeleteFunc(before, func(k spot, _ string) bool { return below(k.mailbox, r.Mailbox) })
			if m := o.renamed(&r, renamed, trash); m != nil {
				places[place{from: r.To}] = m
			}
			continue
		}
		from := cmp.Or(before[spot{r.Mailbox, r.UID}], r.Mailbox) // of several moves all are undone
		target, wanted := o.Place(from)
		if r.ToUID == 0 || !wanted || strings.HasPrefix(r.Client, undeleteClient) || !o.moved && !slices.Contains(trash, r.To) {
			continue
		}
		before[spot{r.To, r.ToUID}] = from
		if from == r.To {
			continue
		}
		key := place{r.To, from, r.ToValidity}
		if places[key] == nil {
			places[key] = &moved{From: r.To, To: target, before: from, validity: r.ToValidity}
		}
		places[key].uids = append(places[key].uids, imap.UID(r.ToUID))
	}
	var all []moved
	for _, m := range places {
		all = append(all, *m)
	}
	slices.SortFunc(all, func(a, b moved) int {
		return cmp.Or(strings.Compare(a.From, b.From), strings.Compare(a.To, b.To), cmp.Compare(a.validity, b.validity))
	})
	return all, nil
}

// below tells whether a mailbox is another one or below it.
func below(mailbox, top string) bool { return mailbox == top || strings.HasPrefix(mailbox, top+".") }

// renamed is a mailbox that was renamed to one below the trash, which is how some
// programs delete one; before is what it was before, if it had been renamed already.
func (o undeleteOptions) renamed(r *control.Removal, before *moved, trash []string) *moved {
	m := moved{From: r.To, before: r.Mailbox, Folder: true}
	if before != nil {
		m.before = before.before
	}
	wanted := false
	m.To, wanted = o.Place(m.before)
	inTrash := slices.ContainsFunc(trash, func(t string) bool { return below(r.To, t) })
	if r.To == "" || !wanted || r.To == m.To || strings.HasPrefix(r.Client, undeleteClient) || !o.moved && !inTrash {
		return nil
	}
	return &m
}

// moveBack moves back what is still where it was moved to, or counts it.
func (o undeleteOptions) moveBack(ctx context.Context, daemon *config.Config, since time.Time) (all []moved, err error) {
	conn, err := control.Session(ctx, daemon.Control, o.user)
	if errors.Is(err, control.ErrNotRunning) {
		return nil, hint(err, "mail is moved through it: start it first")
	}
	if err != nil {
		return nil, err
	}
	s, err := transfer.Begin(ctx, conn)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var no *imap.Error
	if _, err := s.Command("ID (\"name\" %q)", undeleteClient); err != nil && !errors.As(err, &no) {
		return nil, err
	}
	trash, err := s.WithUse(daemon.Namespace, imap.MailboxAttrTrash)
	if err != nil {
		return nil, err
	}
	all, err = o.moves(daemon.Record, since, trash)
	for i := range all {
		if err == nil {
			err = all[i].move(s, o.DryRun)
		}
	}
	return all, err
}

// maxMoved is how many UIDs one command names.
const maxMoved = 500

// move moves them back, or counts those that are there.
func (m *moved) move(s *transfer.Session, dryRun bool) error {
	if m.Folder {
		return m.rename(s, dryRun)
	}
	err := s.Open(m.From, dryRun)
	var no *imap.Error
	if errors.As(err, &no) && no.Code == imap.ResponseCodeNonExistent {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", m.From, err)
	}
	if m.validity != 0 && m.validity != s.UIDValidity() {
		return nil // the record does not say what its UIDs are of
	}
	for uids := range slices.Chunk(m.uids, maxMoved) {
		n, err := searched(s, "SAVE COUNT", "UID "+imap.UIDSetNum(uids...).String()) // RFC 5182
		if err != nil {
			return fmt.Errorf("%s: %w", m.From, err)
		}
		if n > 0 && !dryRun {
			if err := s.Move("$", m.To); err != nil {
				return fmt.Errorf("%s to %s: %w", m.From, m.To, err)
			}
		}
		m.Messages += n
	}
	return nil
}

// rename renames a mailbox back, and counts what is in it.
func (m *moved) rename(s *transfer.Session, dryRun bool) (err error) {
	var no *imap.Error
	if m.Messages, err = s.Count(m.From); errors.As(err, &no) && no.Code == imap.ResponseCodeNonExistent {
		m.Folder = false // and has no messages
		return nil
	}
	if err != nil || dryRun {
		return err
	}
	err = s.Rename(m.From, m.To)
	if errors.As(err, &no) {
		m.Kept = no.Text
		return nil
	}
	return err
}

// movedBack leaves out those of whom nothing was there any more.
func movedBack(all []moved) []moved {
	return slices.DeleteFunc(slices.Clone(all), func(m moved) bool { return m.Messages == 0 && !m.Folder })
}

// writeMoved says what was moved, and gives how many messages that is.
func writeMoved(c *console, all []moved, dryRun bool) (messages int) {
	verb := "moved"
	if dryRun {
		verb = "to be moved"
	}
	for _, m := range all {
		what := number(m.Messages, "message")
		if m.Folder {
			what = "the folder with its " + what
		}
		if m.Kept != "" {
			fmt.Fprintf(c.out, "%s -> %s: %s stays where it is: %s\n", visible(m.From), visible(m.To), what, visible(m.Kept))
			continue
		}
		fmt.Fprintf(c.out, "%s -> %s: %s %s back\n", visible(m.From), visible(m.To), what, verb)
		messages += m.Messages
	}
	return messages
}

// placesBefore says of messages that were removed from a mailbox where they had been
// before they were moved there.
func placesBefore(all []moved) map[string]map[uint32]string {
	from := map[string]map[uint32]string{}
	for _, m := range all {
		key := transfer.OriginKey(m.From, m.validity)
		if from[key] == nil {
			from[key] = map[uint32]string{}
		}
		for _, uid := range m.uids {
			from[key][uint32(uid)] = m.before
		}
	}
	return from
}

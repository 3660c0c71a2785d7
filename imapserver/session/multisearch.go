package session

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// searchMailboxes is ESEARCH (RFC 7377).
func (s *session) searchMailboxes(ctx context.Context, tag string, c *wire.ESearch) (imap.ResponseCode, error) {
	if s.selected == nil && (c.Selected() || c.Return.Update) {
		return "", bad("no mailbox is selected")
	}
	if s.selected != nil {
		if err := s.checkLive(tag, &c.Search); err != nil {
			return "", err
		}
	}
	m := &multiSearch{s: s, tag: tag, c: c, progress: s.newProgress(tag, 0), done: map[string]bool{}, refused: map[string]bool{}, lists: map[string][]store.Entry{}}
	for _, f := range c.In {
		if err := m.filter(ctx, f); err != nil {
			s.unsave(&c.Search)
			return "", err
		}
	}
	if m.missed != nil {
		s.unsave(&c.Search)
	}
	return "", cmp.Or(ctx.Err(), m.missed)
}

// multiSearch is an ESEARCH while it runs. Mailboxes that are not there or that
// may not be read are passed over (RFC 7377 §2.2).
type multiSearch struct {
	s        *session
	tag      string
	c        *wire.ESearch
	progress *progress
	done     map[string]bool          // by account and name
	refused  map[string]bool          // to list, the same: by name they may be read
	lists    map[string][]store.Entry // mailboxes, by account
	missed   error                    // of the first message that could not be read
}

// filter searches the mailboxes that a filter chooses. INBOXES are where mail may
// be delivered, which is everywhere (RFC 5465 §6.4).
func (m *multiSearch) filter(ctx context.Context, f wire.MailboxFilter) error {
	if err := m.progress.step(1); err != nil {
		return err
	}
	switch f.Kind {
	case wire.FilterSelected:
		if v := m.s.selected; !m.first(v.home, v.view.Name()) {
			return nil
		}
		return m.selected(ctx)
	case wire.FilterPersonal, wire.FilterInboxes:
		return m.list(ctx, m.s.home(), func(store.Entry) bool { return true })
	case wire.FilterSubscribed:
		return m.list(ctx, m.s.home(), func(e store.Entry) bool { return e.Subscribed })
	}
	for _, name := range f.Names {
		err := cmp.Or(ctx.Err(), m.progress.step(1))
		if err != nil {
			return err
		}
		if f.Kind == wire.FilterMailboxes {
			err = m.named(ctx, name)
		} else {
			err = m.subtree(ctx, name, f.Kind == wire.FilterSubtreeOne)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// named searches one mailbox.
func (m *multiSearch) named(ctx context.Context, client string) error {
	var failed error
	m.s.at(ctx, client, func(p place) error {
		if m.first(p.home, p.name) {
			failed = m.mailbox(ctx, p.home, p.name, shown(client))
		}
		return nil
	})
	return failed
}

// subtree searches a mailbox and those below it, or only one level down.
func (m *multiSearch) subtree(ctx context.Context, client string, one bool) error {
	if user, name, ok := m.s.cutOthers(client); ok {
		var failed error
		m.s.visit(ctx, user, func(h home) error {
			failed = m.list(ctx, h, func(e store.Entry) bool { return under(m.client(h, e.Name), canonicalOthers(user, name), one) })
			return nil
		})
		return failed
	}
	name, err := m.s.names.target(client)
	if err != nil {
		return nil
	}
	h := m.s.home()
	return m.list(ctx, h, func(e store.Entry) bool { return under(m.client(h, e.Name), m.client(h, name), one) })
}

// under tells whether a mailbox is top or stands below it; with one, only one
// level down.
func under(name, top string, one bool) bool {
	rest, ok := strings.CutPrefix(name, top+delimiter)
	return name == top || ok && !(one && strings.Contains(rest, delimiter))
}

// client is the client's name of a mailbox.
func (m *multiSearch) client(h home, name string) string {
	if !h.own {
		return canonicalOthers(h.owner, name)
	}
	return m.s.names.canonical(name)
}

// list searches the mailboxes of an account that are chosen and that the user may
// see and read.
func (m *multiSearch) list(ctx context.Context, h home, chosen func(store.Entry) bool) error {
	entries, err := m.entries(ctx, h)
	if err != nil {
		return err
	}
	for _, e := range entries {
		key := m.key(h, e.Name)
		if !e.Selectable || !chosen(e) || m.done[key] || m.refused[key] {
			continue
		}
		rights, err := h.account.Rights(ctx, e.Name, m.s.User, h.own)
		if err != nil || !rights.Has(store.RightLookup|store.RightRead) {
			m.refused[key] = true
			continue
		}
		m.done[key] = true
		if err := m.mailbox(ctx, h, e.Name, m.client(h, e.Name)); err != nil {
			return err
		}
	}
	return nil
}

// entries gives the mailboxes of an account, as they were when it was asked for first.
func (m *multiSearch) entries(ctx context.Context, h home) ([]store.Entry, error) {
	if list, ok := m.lists[h.owner]; ok {
		return list, ctx.Err()
	}
	list, err := h.account.List(ctx)
	if err == nil {
		m.lists[h.owner] = list
	}
	return list, err
}

// mailbox searches a mailbox that may be read, under its name for the client.
func (m *multiSearch) mailbox(ctx context.Context, h home, name, client string) error {
	if v := m.s.selected; v != nil && v.owner == h.owner && v.view.Name() == name {
		return m.selected(ctx)
	}
	if err := m.progress.step(1); err != nil {
		return err
	}
	view, err := h.account.Select(ctx, name, true)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer view.Close()
	_, err = m.search(ctx, view, nil, client)
	return err
}

// selected searches the selected mailbox, as the client has been told of it.
func (m *multiSearch) selected(ctx context.Context) error {
	v := m.s.selected
	if err := m.s.review(); err != nil {
		return err
	}
	r, err := m.search(ctx, v.view, v.saved, m.client(v.home, v.view.Name()))
	if err != nil {
		return err
	}
	if m.c.Return.Save {
		if err := m.s.save(r, m.c.Return); err != nil {
			return err
		}
	}
	if m.c.Return.Update && r.missed == nil {
		m.s.keepLive(m.tag, &m.c.Search, r)
	}
	return nil
}

func (m *multiSearch) key(h home, name string) string { return h.owner + "\x00" + name }

// first tells whether a mailbox has not been searched yet.
func (m *multiSearch) first(h home, name string) bool {
	key := m.key(h, name)
	if m.done[key] {
		return false
	}
	m.done[key] = true
	return true
}

// search searches a view, and answers if there is a match.
func (m *multiSearch) search(ctx context.Context, view *store.View, saved imap.UIDSet, client string) (*result, error) {
	q := newQuery(view, saved, m.c.Key)
	if m.c.Return.Relevancy {
		q.rate()
	}
	q.narrow(m.c.Return)
	if err := q.run(ctx, m.progress); err != nil {
		return nil, err
	}
	r := q.result()
	m.missed = cmp.Or(m.missed, r.missed)
	if len(r.seqs) == 0 || m.c.Return.Save && !m.c.Return.Results() {
		return r, nil
	}
	w := m.s.w
	m.s.beginESearch(m.tag)
	w.Raw(" MAILBOX ")
	w.Mailbox(client)
	w.Raw(" UIDVALIDITY ")
	w.Number(uint64(view.UIDValidity()))
	w.Raw(")")
	m.s.writeResults(&m.c.Search, r)
	return r, lost(w.Err())
}

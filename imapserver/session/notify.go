package session

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// codeOverflow says that NOTIFY has ended (RFC 5465 §5.8).
const codeOverflow imap.ResponseCode = "NOTIFICATIONOVERFLOW"

// notification is what the client has asked for by NOTIFY, and what it was told.
// Of mailboxes that are not selected the state is told, not every event: what
// differs from what the client knows. A nil notification is that of a client
// that has not said NOTIFY, which is told of the selected mailbox alone.
type notification struct {
	groups []wire.NotifyGroup // without the names of their filters
	named  map[string][]int   // the groups of MAILBOXES and SUBTREE that have a name of the store's, ascending
	feed   *store.Feed        // nil: nothing is told of other mailboxes
	told   map[string]store.Status
	list   map[string]store.Entry
	before map[string]store.Entry // the list before that, while what has changed is told

	renamed []store.Renamed // that the list did not show yet
}

// setNotify is NOTIFY (RFC 5465 §3). SET is NOOP first.
func (s *session) setNotify(ctx context.Context, c *wire.Notify) (imap.ResponseCode, error) {
	n := &notification{told: make(map[string]store.Status), named: make(map[string][]int)}
	for _, g := range c.Groups {
		if err := s.nameGroup(n, &g); err != nil {
			return "", err
		}
		g.Filter.Names = nil
		peek(g.Fetch)
		n.groups = append(n.groups, g)
	}
	if len(n.groups) > 0 && s.selected != nil && s.notify.ofSelected() {
		if err := s.poll(ctx, true, true); err != nil { // what there is until now is told as it was asked for until now
			return "", err
		}
	}
	if slices.ContainsFunc(n.groups, func(g wire.NotifyGroup) bool { return !ofSelected(g) && len(g.Events) > 0 }) {
		if err := s.beginNotify(ctx, n, c.Status); err != nil {
			n.close()
			return "", err
		}
	}
	s.endNotify()
	s.notify = n
	return "", nil
}

// beginNotify starts to watch, and takes the state from which changes are told.
// With status, it tells it.
func (s *session) beginNotify(ctx context.Context, n *notification, status bool) (err error) {
	entries, err := s.Account.List(ctx)
	if err != nil {
		return err
	}
	n.list = toTell(entries)
	if n.feed, err = s.Account.Feed(n.watches); err != nil {
		return err
	}
	if err := n.check(s.Limits.Notify); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(n.list)) {
		if !n.list[name].Selectable || !n.wants(name, wire.EventMessageNew) {
			continue
		}
		st, err := s.stateOf(ctx, name)
		if err != nil {
			continue // it has gone, or cannot be read: then there is nothing to tell
		}
		n.told[name] = st
		if status && !s.isSelected(name) {
			s.writeNews(name, &st, n.wants(name, wire.EventFlagChange) && !s.off(imap.CapCondStore))
		}
	}
	return nil
}

// nameGroup enters the client's names of the next group. The feed is that of the user's
// own account: what others share would be passed over without a word, although it is
// there and may be read (RFC 5465 §3.1).
func (s *session) nameGroup(n *notification, g *wire.NotifyGroup) error {
	next := len(n.groups)
	for _, name := range g.Filter.Names {
		top := name
		if g.Filter.Kind == wire.FilterSubtree {
			top += delimiter // of all others, too
		}
		if _, _, ok := s.cutOthers(top); ok && len(g.Events) > 0 {
			return no(imap.ResponseCodeCannot, "mailboxes of other users cannot be watched")
		}
		target, err := s.names.target(name)
		if err != nil {
			return err
		}
		if have := n.named[target]; !slices.Contains(have[max(len(have)-1, 0):], next) {
			n.named[target] = append(have, next)
		}
	}
	return nil
}

// check refuses to watch more mailboxes than may be.
func (n *notification) check(limit int) error {
	watched := 0
	for name, e := range n.list {
		if e.Selectable && n.watches(name) {
			watched++
		}
	}
	if watched > limit {
		return no(codeOverflow, "too many mailboxes")
	}
	return nil
}

// toTell gives the names that there is something to tell of. What is only above others, which
// may be many for each, is as if it were not there.
func toTell(entries []store.Entry) map[string]store.Entry {
	list := make(map[string]store.Entry)
	for _, e := range entries {
		if e.Exists || e.Subscribed {
			list[e.Name] = e
		}
	}
	return list
}

// endNotify makes the session one that has not said NOTIFY.
func (s *session) endNotify() {
	s.notify.close()
	s.notify = nil
}

func (n *notification) close() {
	if n != nil && n.feed != nil {
		n.feed.Close()
	}
}

// overflow ends notifications that cannot be kept up, and says so (RFC 5465
// §5.8).
func (s *session) overflow(err error) {
	s.Log.Error("notifications end", "user", s.User, "err", err)
	s.endNotify()
	s.notify = &notification{}
	s.w.Status("*", imap.StatusResponseTypeOK, codeOverflow, "no more notifications, ask anew")
}

func ofSelected(g wire.NotifyGroup) bool {
	return g.Filter.Kind == wire.FilterSelected || g.Filter.Kind == wire.FilterSelectedDelayed
}

// selectedGroup gives the events of the selected mailbox, or nil.
func (n *notification) selectedGroup() *wire.NotifyGroup {
	if n == nil {
		return nil
	}
	if i := slices.IndexFunc(n.groups, ofSelected); i >= 0 {
		return &n.groups[i]
	}
	return nil
}

// ofSelected tells whether changes to the selected mailbox are told. Who says
// NOTIFY without them wants none (RFC 5465 §3.1).
func (n *notification) ofSelected() bool {
	g := n.selectedGroup()
	return n == nil || g != nil && g.Has(wire.EventMessageNew)
}

// ofFlags tells whether changed flags of the selected mailbox are told.
func (n *notification) ofFlags() bool {
	g := n.selectedGroup()
	return n == nil || g != nil && g.Has(wire.EventFlagChange)
}

// delayed tells whether expunges wait for a command or IDLE.
func (n *notification) delayed() bool {
	g := n.selectedGroup()
	return g != nil && g.Filter.Kind == wire.FilterSelectedDelayed
}

// wake is readable once there is something to tell of other mailboxes.
func (n *notification) wake() <-chan struct{} {
	if n == nil || n.feed == nil {
		return nil
	}
	return n.feed.Wake()
}

// left has what may have happened to the mailbox that was selected be told, as far
// as the client does not know it.
func (n *notification) left(v *selection) {
	if n != nil && n.feed != nil && v.own {
		n.feed.Mark(v.view.Name())
	}
}

// wants tells whether an event of a mailbox that is not selected is told. The
// first group that has the mailbox and either the event or no event at all
// decides (RFC 5465 §6).
func (n *notification) wants(name string, e wire.NotifyEvent) bool {
	return n.decides(name, func(g *wire.NotifyGroup) bool { return len(g.Events) == 0 || g.Has(e) })
}

// watches tells whether anything of a mailbox is told: the first group that has
// it is first for each of its events.
func (n *notification) watches(name string) bool {
	return n.decides(name, func(*wire.NotifyGroup) bool { return true })
}

// decides tells whether the first group that has a mailbox and that fits wants
// anything. Groups with names are looked up by the mailbox and by what is above it,
// however many names there are.
func (n *notification) decides(name string, fits func(*wire.NotifyGroup) bool) bool {
	first := 0
	for first < len(n.groups) && !(n.in(name, n.groups[first].Filter.Kind) && fits(&n.groups[first])) {
		first++
	}
	for top, above := name, true; above; {
		for _, i := range n.named[top] {
			g := &n.groups[i]
			if i < first && (top == name || g.Filter.Kind == wire.FilterSubtree) && fits(g) {
				first = i
			}
		}
		cut := strings.LastIndex(top, delimiter)
		if above = cut >= 0; above {
			top = top[:cut]
		}
	}
	return first < len(n.groups) && len(n.groups[first].Events) > 0
}

// in tells whether a filter without names chooses a mailbox. INBOXES are where mail
// may be delivered, which is everywhere: it is PERSONAL then (RFC 5465 §6.4). One
// that was subscribed until now is, so that the end of it is told.
func (n *notification) in(name string, kind wire.FilterKind) bool {
	switch kind {
	case wire.FilterPersonal, wire.FilterInboxes:
		return true
	case wire.FilterSubscribed:
		return n.list[name].Subscribed || n.before[name].Subscribed
	}
	return false
}

// tellNews tells what has happened to mailboxes that are not selected.
func (s *session) tellNews(ctx context.Context) error {
	n := s.notify
	news, err := n.feed.Take()
	if err == nil && news.Lost {
		err = errors.New("more annotations have changed than can be told")
	}
	if err == nil && news.List {
		err = s.tellList(ctx)
	}
	for _, name := range slices.Sorted(maps.Keys(news.Entries)) {
		if err == nil {
			s.tellEntries(ctx, name, news.Entries[name])
		}
	}
	for _, name := range news.Changed {
		if err == nil {
			err = s.tellStatus(ctx, name)
		}
	}
	if err != nil && ctx.Err() == nil && !fatal(err) {
		s.overflow(err)
		return nil
	}
	return err
}

// tellEntries tells which annotations of a mailbox, or of the server, have
// changed (RFC 5464 §4.4.2).
func (s *session) tellEntries(ctx context.Context, name string, entries []string) {
	event, client := wire.EventServerMetadataChange, serverMetadata
	if name != serverMetadata {
		if !s.may(ctx, name, store.RightLookup) {
			return
		}
		event, client = wire.EventMailboxMetadataChange, s.names.canonical(name)
	}
	if !s.notify.wants(name, event) {
		return
	}
	s.w.Raw("* METADATA ")
	s.w.Mailbox(client)
	for _, e := range entries {
		s.w.Raw(" ")
		s.w.AString(e)
	}
	s.w.CRLF()
}

// tellStatus tells the state of a mailbox, where the client knows another one.
func (s *session) tellStatus(ctx context.Context, name string) error {
	n := s.notify
	if s.isSelected(name) || !n.wants(name, wire.EventMessageNew) {
		return nil
	}
	st, err := s.stateOf(ctx, name)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil { // it has gone, or cannot be read: then there is nothing to tell
		delete(n.told, name)
		return nil
	}
	old, known := n.told[name]
	n.told[name] = st
	messages := !known || old.UIDValidity != st.UIDValidity || old.UIDNext != st.UIDNext || old.Messages != st.Messages
	if messages || old.HighestModSeq != st.HighestModSeq && n.wants(name, wire.EventFlagChange) {
		s.writeNews(name, &st, false)
	}
	return nil
}

// stateOf gives the state of a mailbox that may be read.
func (s *session) stateOf(ctx context.Context, name string) (st store.Status, err error) {
	if !s.may(ctx, name, store.RightRead) {
		return st, store.ErrNotFound
	}
	return s.Account.Status(ctx, name, false)
}

// may tells whether the user has a right to a mailbox of his own: an ACL can take
// it from him.
func (s *session) may(ctx context.Context, name string, r store.Rights) bool {
	have, err := s.Account.Rights(ctx, name, s.User, true)
	return err == nil && have.Has(r)
}

// writeNews writes the STATUS response that tells of a change, or with which FlagChange
// begins: a mod-sequence to go on from is in that one in any case (RFC 5465 §3.1).
func (s *session) writeNews(name string, st *store.Status, begins bool) {
	items := []wire.StatusItem{wire.StatusMessages, wire.StatusUIDNext, wire.StatusUIDValidity, wire.StatusUnseen}
	if begins || s.on(imap.CapCondStore) {
		items = append(items, wire.StatusHighestModSeq)
	}
	s.writeStatusItems(s.names.canonical(name), items, st)
}

// tellList tells of mailboxes that have come and gone, and of subscriptions.
func (s *session) tellList(ctx context.Context) error {
	n := s.notify
	entries, err := s.Account.List(ctx)
	if err != nil {
		return err
	}
	t := newTree(entries, s.names)
	s.tellRenamed(t)
	before := n.list
	n.list = toTell(entries)
	if err := n.check(s.Limits.Notify); err != nil {
		return err
	}
	if err := n.feed.Rescan(); err != nil { // which mailboxes are subscribed
		return err
	}
	n.before = before
	defer func() { n.before = nil }()
	for _, node := range t.nodes {
		if err := cmp.Or(ctx.Err(), lost(s.w.Err())); err != nil {
			return err
		}
		if err := s.tellEntry(ctx, node); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if t.byName[name] != nil {
			continue
		}
		delete(n.told, name)
		if e := before[name]; e.Exists && n.wants(name, wire.EventMailboxName) || e.Subscribed && n.wants(name, wire.EventSubscriptionChange) {
			s.writeListed(&wire.List{}, listed{name: s.names.canonical(name), attrs: []imap.MailboxAttr{imap.MailboxAttrNonExistent}})
		}
	}
	return nil
}

// tellRenamed tells of mailboxes with other names. What the list of t does not
// show yet is told the next time, for which there is reason then.
func (s *session) tellRenamed(t *tree) {
	n := s.notify
	fresh := n.feed.Renamed()
	renamed := chain(append(n.renamed, fresh...))
	n.renamed = nil
	for _, r := range renamed {
		old, had := n.list[r.From]
		node := t.byName[r.To]
		switch {
		case node == nil && len(fresh) > 0:
			n.renamed = append(n.renamed, r)
			continue
		case node == nil || !had || !n.wants(r.To, wire.EventMailboxName):
			continue
		}
		s.writeEntry(node, s.names.canonical(r.From))
		old.Name = r.To
		n.list[r.To] = old
		if t.byName[r.From] == nil {
			delete(n.list, r.From)
		}
		n.told[r.To] = n.told[r.From]
		delete(n.told, r.From)
	}
}

// chain makes one of what was renamed again and again.
func chain(list []store.Renamed) []store.Renamed {
	var out []store.Renamed
	for _, r := range list {
		if i := slices.IndexFunc(out, func(o store.Renamed) bool { return o.To == r.From }); i >= 0 {
			out[i].To = r.To
			continue
		}
		out = append(out, r)
	}
	return out
}

// tellEntry tells of one name, if it was not there before or was another.
func (s *session) tellEntry(ctx context.Context, node *node) error {
	n, e, old := s.notify, node.Entry, s.notify.before[node.Name]
	named := old.Exists != e.Exists || old.Selectable != e.Selectable
	if !named && old.Subscribed == e.Subscribed || !s.may(ctx, e.Name, store.RightLookup) {
		return nil
	}
	if named && n.wants(e.Name, wire.EventMailboxName) ||
		old.Subscribed != e.Subscribed && n.wants(e.Name, wire.EventSubscriptionChange) {
		s.writeEntry(node, "")
	}
	if named && e.Selectable {
		return s.tellStatus(ctx, e.Name)
	}
	return nil
}

func (s *session) writeEntry(node *node, oldName string) {
	attrs := node.attrs(&wire.List{Extended: true, ReturnSubscribed: true})
	s.writeListed(&wire.List{}, listed{name: s.names.canonical(node.Name), attrs: attrs, oldName: oldName})
}

// isSelected tells whether a mailbox is the selected one, of which its own group
// tells.
func (s *session) isSelected(name string) bool {
	return s.selected != nil && s.selected.own && s.selected.view.Name() == name
}

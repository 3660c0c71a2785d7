package session

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// list is LIST (RFC 9051 §6.3.9), LSUB (RFC 3501 §6.3.9) and XLIST.
func (s *session) list(ctx context.Context, tag string, c *wire.List) (imap.ResponseCode, error) {
	if !c.Extended && len(c.Patterns) > 0 && c.Patterns[0] == "" { // what is the delimiter?
		s.writeListed(c, listed{attrs: []imap.MailboxAttr{imap.MailboxAttrNoSelect}})
		return "", nil
	}
	own, others, err := s.listPatterns(c)
	if err != nil {
		return "", err
	}
	entries, err := s.Account.List(ctx)
	if err != nil {
		return "", err
	}
	t := newTree(entries, s.names)
	t.beside = s.Others != nil
	if err := s.listTree(ctx, tag, c, t, own); err != nil || others == nil {
		return "", err
	}
	if entries, err = s.listOthers(ctx, others); err != nil {
		return "", err
	}
	t = newTree(entries, "")
	t.others = true
	return "", s.listTree(ctx, tag, c, t, others)
}

// listTree writes the responses for one of the trees, as long as anyone waits for them.
func (s *session) listTree(ctx context.Context, tag string, c *wire.List, t *tree, patterns []listPattern) error {
	p := s.newProgress(tag, len(t.nodes)*len(patterns))
	for _, n := range t.nodes {
		if err := cmp.Or(ctx.Err(), lost(s.w.Err()), p.step(len(patterns))); err != nil {
			return err
		}
		for _, l := range t.listed(c, n, patterns) {
			if err := s.listOne(ctx, c, t, n, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// listPattern is a pattern and the kind of names that it is for.
type listPattern struct {
	pattern
	alias bool
}

// maxPattern is how many octets, wildcards aside, a pattern may have that any name
// matches: no name is as long, with all that is put before it.
const maxPattern = 1024

// maxPatterns is how many octets the patterns of a command may have that any name may match,
// each with the reference before it. Without a bound, a command of 1 MiB in which the
// reference is long would be a thousand times that.
// Deviation: of more, the command is refused, where RFC 9051 §6.3.9 has patterns that are not
// accepted ignored. A client would take an answer without them for all that there is.
const maxPatterns = 64 << 10

// listPatterns gives the patterns for the user's own mailboxes, and those for
// other users' mailboxes. What matches nothing, or nothing more, is left out.
func (s *session) listPatterns(c *wire.List) (own, others []listPattern, err error) {
	reference := newPattern(c.Reference)
	if reference.literal > maxPattern {
		return nil, nil, nil
	}
	size := 0
	seen := make(map[string]bool)
	for _, text := range c.Patterns {
		if text == "" {
			continue
		}
		p := newPattern(reference.text + text)
		if p.literal > maxPattern || seen[p.text] {
			continue
		}
		seen[p.text] = true
		if size += len(p.text); size > maxPatterns {
			return nil, nil, no(imap.ResponseCodeLimit, "too many long patterns")
		}
		if s.Others != nil && asksOthers(p.text) {
			others = append(others, listPattern{pattern: p})
		}
		if s.Others == nil || !strings.HasPrefix(p.text, sharedPrefix) {
			own = append(own, listPattern{p, s.names.asksAlias(p.text)})
		}
	}
	return own, others, nil
}

// listed is what one response of LIST says.
type listed struct {
	name      string
	attrs     []imap.MailboxAttr
	childInfo []string // selection options that mailboxes below it meet
	oldName   string   // what it was called before, if it is told for that (RFC 5465 §5.4)
}

// writeListed writes a LIST, LSUB or XLIST response.
func (s *session) writeListed(c *wire.List, l listed) {
	switch {
	case c.LSub:
		s.w.Raw("* LSUB (")
	case c.XList:
		s.w.Raw("* XLIST (")
	default:
		s.w.Raw("* LIST (")
	}
	for i, a := range l.attrs {
		if i > 0 {
			s.w.Raw(" ")
		}
		s.w.Raw(string(a))
	}
	s.w.Raw(`) "` + delimiter + `" `)
	s.w.Mailbox(l.name)
	for i, option := range l.childInfo {
		if i == 0 {
			s.w.Raw(` ("CHILDINFO" (`)
		} else {
			s.w.Raw(" ")
		}
		s.w.String(option)
	}
	if l.childInfo != nil {
		s.w.Raw("))")
	}
	if l.oldName != "" {
		s.w.Raw(` ("OLDNAME" (`)
		s.w.Mailbox(l.oldName)
		s.w.Raw("))")
	}
	s.w.CRLF()
}

// listOne writes the response for a name, and what LIST was asked to return with it
// beyond what is said in the response itself.
func (s *session) listOne(ctx context.Context, c *wire.List, t *tree, n *node, l listed) error {
	if !n.Selectable || !c.ReturnMyRights && c.ReturnMetadata == nil && c.ReturnStatus == nil {
		s.writeListed(c, l)
		return nil
	}
	all := func(p place) error {
		if c.ReturnStatus != nil && !p.rights.Has(store.RightRead) { // RFC 9051 §6.3.9.8
			l.attrs = slices.Insert(l.attrs, 0, imap.MailboxAttrNoSelect)
		}
		s.writeListed(c, l)
		if c.ReturnMyRights { // RFC 8440
			s.writeMyRights(l.name, p.rights)
		}
		if err := s.listMetadata(ctx, c, p, l.name); err != nil {
			return err
		}
		return s.listStatus(ctx, c, p, l.name)
	}
	if !t.others {
		return s.enter(ctx, s.home(), n.Name, all)
	}
	user, mailbox, _ := s.cutOthers(n.Name)
	err := s.visit(ctx, user, func(h home) error { return s.enter(ctx, h, mailbox, all) })
	if errors.Is(err, store.ErrNotFound) { // not shared any more
		return nil
	}
	return err
}

// listStatus is the STATUS of LIST-STATUS (RFC 5819). A mailbox that has
// vanished meanwhile has none, nor has one that may not be read.
func (s *session) listStatus(ctx context.Context, c *wire.List, p place, name string) error {
	if c.ReturnStatus == nil || !p.rights.Has(store.RightRead) {
		return nil
	}
	err := s.writeStatus(ctx, p, name, c.ReturnStatus)
	if err != nil {
		if e := s.convert("LIST", err); e.Code == imap.ResponseCodeUnavailable {
			return e
		}
	}
	return nil
}

// tree is the mailbox list with what only the others tell of each name.
type tree struct {
	names  namespace
	others bool // of other users, with their full names
	beside bool // of the user, where there may be such names beside it
	nodes  []*node
	byName map[string]*node
}

// node is a name and what is below it.
type node struct {
	store.Entry
	parent     bool // of mailboxes that exist
	subscribed bool // something below it is
	use        bool // something below it has a special use
	subUse     bool // something below it is both
}

// newTree takes a list in its order; parents that it lacks go to the end.
func newTree(entries []store.Entry, names namespace) *tree {
	t := &tree{names: names, byName: make(map[string]*node, len(entries))}
	for _, e := range entries {
		t.add(e)
	}
	for _, n := range slices.Clone(t.nodes) {
		for name := n.Name; ; {
			name = t.above(name)
			if name == "" {
				break
			}
			up := t.byName[name]
			if up == nil {
				up = t.add(store.Entry{Name: name})
			}
			up.parent = up.parent || n.Exists
			up.subscribed = up.subscribed || n.Subscribed
			up.use = up.use || n.Use != ""
			up.subUse = up.subUse || n.Subscribed && n.Use != ""
		}
	}
	return t
}

func (t *tree) add(e store.Entry) *node {
	n := &node{Entry: e}
	t.nodes = append(t.nodes, n)
	t.byName[e.Name] = n
	return n
}

// above is the name one level up, "" at the top. With Courier's prefix, INBOX
// is above every other.
func (t *tree) above(name string) string {
	if i := strings.LastIndex(name, delimiter); i >= 0 {
		return name[:i]
	}
	if t.names == courier && name != inbox {
		return inbox
	}
	return ""
}

// listed gives the responses for a mailbox: one, however many patterns it
// matches, but for each of its names that were asked for.
func (t *tree) listed(c *wire.List, n *node, patterns []listPattern) []listed {
	var list []listed
	for _, p := range patterns {
		l, ok := t.matched(c, n, p)
		if ok && !slices.ContainsFunc(list, func(other listed) bool { return other.name == l.name }) {
			list = append(list, l)
		}
	}
	return list
}

// matched says whether and how a mailbox answers a pattern.
func (t *tree) matched(c *wire.List, n *node, p listPattern) (listed, bool) {
	l := listed{name: t.names.canonical(n.Name)}
	if p.alias {
		l.name = t.names.alias(n.Name)
		if _, own := t.byName[l.name]; own && n.Name != l.name { // the mailbox of that very name goes first
			return l, false
		}
	}
	if !p.match(l.name, foldOf(l.name)) {
		return l, false
	}
	if t.beside && strings.HasPrefix(l.name, sharedPrefix) { // which would mean another mailbox
		return l, false
	}
	if c.LSub {
		return l, t.lsub(n, p, &l)
	}
	return l, t.meets(c, n, &l)
}

// meets applies the selection options (RFC 5258 §3.1, RFC 6154 §2) and fills
// in the attributes.
func (t *tree) meets(c *wire.List, n *node, l *listed) bool {
	self := n.Exists || n.parent
	if c.SelectSubscribed || c.SelectSpecialUse {
		self = (!c.SelectSubscribed || n.Subscribed) && (!c.SelectSpecialUse || n.Use != "")
	}
	if c.SelectRecursive {
		l.childInfo = n.below(c)
	}
	l.attrs = n.attrs(c)
	return self || l.childInfo != nil
}

// below is the selection options that something below the name meets.
func (n *node) below(c *wire.List) []string {
	switch {
	case c.SelectSubscribed && c.SelectSpecialUse && n.subUse:
		return []string{"SUBSCRIBED", "SPECIAL-USE"}
	case c.SelectSubscribed && !c.SelectSpecialUse && n.subscribed:
		return []string{"SUBSCRIBED"}
	case c.SelectSpecialUse && !c.SelectSubscribed && n.use:
		return []string{"SPECIAL-USE"}
	}
	return nil
}

// oldUses are the words of XLIST for uses that RFC 6154 gave others.
var oldUses = map[imap.MailboxAttr]imap.MailboxAttr{
	imap.MailboxAttrAll: `\AllMail`, imap.MailboxAttrFlagged: `\Starred`, imap.MailboxAttrJunk: `\Spam`,
}

func (n *node) attrs(c *wire.List) []imap.MailboxAttr {
	var attrs []imap.MailboxAttr
	switch {
	case n.Selectable:
	case c.Extended && !n.Exists:
		attrs = append(attrs, imap.MailboxAttrNonExistent)
	default:
		attrs = append(attrs, imap.MailboxAttrNoSelect)
	}
	if n.parent {
		attrs = append(attrs, imap.MailboxAttrHasChildren)
	} else {
		attrs = append(attrs, imap.MailboxAttrHasNoChildren)
	}
	if n.Use != "" {
		attrs = append(attrs, n.Use)
	}
	if old := oldUses[n.Use]; c.XList && old != "" {
		attrs = append(attrs, old)
	}
	if c.XList && n.Name == inbox {
		attrs = append(attrs, `\Inbox`)
	}
	if n.Subscribed && (c.SelectSubscribed || c.ReturnSubscribed) {
		attrs = append(attrs, imap.MailboxAttrSubscribed)
	}
	return attrs
}

// lsub says how a name answers LSUB. One that is not subscribed answers for
// those below it, if the pattern ends in "%" and so does not reach them.
func (t *tree) lsub(n *node, p listPattern, l *listed) bool {
	if n.Subscribed {
		return true
	}
	l.attrs = []imap.MailboxAttr{imap.MailboxAttrNoSelect}
	return n.subscribed && strings.HasSuffix(p.text, "%")
}

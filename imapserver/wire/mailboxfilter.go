package wire

import "slices"

// FilterKind names a way to choose mailboxes (RFC 5465 §6, RFC 7377 §2.1).
type FilterKind string

// The kinds. Those of the selected mailbox are NOTIFY's first two and, for
// ESEARCH, the first.
const (
	FilterSelected        FilterKind = "SELECTED"
	FilterSelectedDelayed FilterKind = "SELECTED-DELAYED"
	FilterInboxes         FilterKind = "INBOXES"
	FilterPersonal        FilterKind = "PERSONAL"
	FilterSubscribed      FilterKind = "SUBSCRIBED"
	FilterSubtree         FilterKind = "SUBTREE"
	FilterSubtreeOne      FilterKind = "SUBTREE-ONE"
	FilterMailboxes       FilterKind = "MAILBOXES"
)

// MailboxFilter chooses mailboxes. Names is for SUBTREE, SUBTREE-ONE and
// MAILBOXES; they are as the client wrote them.
type MailboxFilter struct {
	Kind  FilterKind
	Names []string
}

// named are the kinds that names follow.
var named = []FilterKind{FilterSubtree, FilterSubtreeOne, FilterMailboxes}

// expectFilter reads a filter-mailboxes of one of the kinds.
func (d *decoder) expectFilter(kinds ...FilterKind) MailboxFilter {
	f := MailboxFilter{Kind: FilterKind(d.expectWord("mailbox filter"))}
	if !slices.Contains(kinds, f.Kind) {
		d.fail("unknown mailbox filter")
		return f
	}
	if !slices.Contains(named, f.Kind) {
		return f
	}
	d.expectSP()
	if next, _ := d.peek(); next != '(' {
		f.Names = []string{d.expectMailbox()}
		return f
	}
	d.list(func() { f.Names = append(f.Names, d.expectMailbox()) })
	if len(f.Names) == 0 {
		d.fail("mailbox name expected")
	}
	return f
}

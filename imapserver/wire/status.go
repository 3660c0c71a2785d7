package wire

import (
	"slices"

	"github.com/emersion/go-imap/v2"
)

// StatusItem is one thing that STATUS asks for.
type StatusItem string

// The items.
const (
	StatusMessages    StatusItem = "MESSAGES"
	StatusRecent      StatusItem = "RECENT"
	StatusUIDNext     StatusItem = "UIDNEXT"
	StatusUIDValidity StatusItem = "UIDVALIDITY"
	StatusUnseen      StatusItem = "UNSEEN"
	StatusDeleted     StatusItem = "DELETED"
	StatusSize        StatusItem = "SIZE"

	StatusDeletedStorage StatusItem = "DELETED-STORAGE"

	StatusHighestModSeq StatusItem = "HIGHESTMODSEQ"
	StatusMailboxID     StatusItem = "MAILBOXID"
	StatusAppendLimit   StatusItem = "APPENDLIMIT"
)

// StatusRow is a word that STATUS knows.
type StatusRow struct {
	Item StatusItem
	RFC  int
	Cap  imap.Cap // the capability that brings it; "" for the base
}

// StatusItems is every word that STATUS knows.
var StatusItems = []StatusRow{
	{StatusMessages, 3501, ""},
	{StatusRecent, 3501, ""},
	{StatusUIDNext, 3501, ""},
	{StatusUIDValidity, 3501, ""},
	{StatusUnseen, 3501, ""},
	{StatusDeleted, 8438, imap.CapStatusSize},
	{StatusSize, 8438, imap.CapStatusSize},
	{StatusDeletedStorage, 9208, CapQuotaStorage},
	{StatusHighestModSeq, 7162, imap.CapCondStore},
	{StatusMailboxID, 8474, imap.CapObjectID},
	{StatusAppendLimit, 7889, capAppendLimit},
}

// parseStatus reads STATUS (RFC 9051 §6.3.11).
func parseStatus(d *decoder) Command {
	c := &Status{Mailbox: d.spMailbox()}
	d.expectSP()
	c.Items = d.expectStatusItems()
	return c
}

// expectStatusItems reads a list of items, each given once.
func (d *decoder) expectStatusItems() []StatusItem {
	items := []StatusItem{}
	d.list(func() {
		item := StatusItem(d.expectWord("item"))
		i := slices.IndexFunc(StatusItems, func(r StatusRow) bool { return r.Item == item })
		if i < 0 {
			d.fail("unknown item")
			return
		}
		d.use(StatusItems[i].Cap)
		if !slices.Contains(items, item) {
			items = append(items, item)
		}
	})
	if len(items) == 0 {
		d.fail("item expected")
	}
	return items
}

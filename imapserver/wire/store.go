package wire

import (
	"strings"

	"github.com/emersion/go-imap/v2"
)

func parseStore(d *decoder) Command    { return d.store(false) }
func parseUIDStore(d *decoder) Command { return d.store(true) }

// store reads STORE (RFC 9051 §6.4.6).
func (d *decoder) store(uid bool) Command {
	d.expectSP()
	c := &Store{Set: d.expectSet(uid)}
	d.expectSP()
	if next, _ := d.peek(); next == '(' {
		modifiers(d, c, StoreModifiers)
		d.expectSP()
	}
	switch {
	case d.take('+'):
		c.Op = StoreAdd
	case d.take('-'):
		c.Op = StoreRemove
	}
	item := d.expectWord("FLAGS")
	item, c.Silent = strings.CutSuffix(item, ".SILENT")
	if item != "FLAGS" {
		d.fail("FLAGS expected")
	}
	d.expectSP()
	c.Flags = d.expectStoreFlags()
	return c
}

func parseCopy(d *decoder) Command    { return d.copy(false, false) }
func parseUIDCopy(d *decoder) Command { return d.copy(true, false) }
func parseMove(d *decoder) Command    { return d.copy(false, true) }
func parseUIDMove(d *decoder) Command { return d.copy(true, true) }

// copy reads COPY and MOVE (RFC 9051 §6.4.7 and §6.4.8).
func (d *decoder) copy(uid, move bool) Command {
	d.expectSP()
	c := &Copy{Set: d.expectSet(uid), Move: move}
	c.Mailbox = d.spMailbox()
	return c
}

func parseExpunge(d *decoder) Command { return &Expunge{} }

// parseUIDExpunge reads UID EXPUNGE (RFC 4315 §2.1).
func parseUIDExpunge(d *decoder) Command {
	d.expectSP()
	set, _ := d.expectSet(true).(imap.UIDSet)
	return &Expunge{UIDs: set}
}

package wire

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// NotifyEvent is something that NOTIFY can tell of (RFC 5465 §5).
type NotifyEvent string

// The events, as the answer to an unknown one lists them.
const (
	EventMessageNew            NotifyEvent = "MessageNew"
	EventMessageExpunge        NotifyEvent = "MessageExpunge"
	EventFlagChange            NotifyEvent = "FlagChange"
	EventMailboxName           NotifyEvent = "MailboxName"
	EventSubscriptionChange    NotifyEvent = "SubscriptionChange"
	EventMailboxMetadataChange NotifyEvent = "MailboxMetadataChange"
	EventServerMetadataChange  NotifyEvent = "ServerMetadataChange"
)

// NotifyRow is an event that NOTIFY knows.
type NotifyRow struct {
	Event   NotifyEvent
	RFC     int
	Message bool // of the messages of a mailbox: the selected one can have it
}

// NotifyEvents is every event that NOTIFY knows. AnnotationChange is not among
// them: there are no annotations of messages.
var NotifyEvents = []NotifyRow{
	{EventMessageNew, 5465, true},
	{EventMessageExpunge, 5465, true},
	{EventFlagChange, 5465, true},
	{EventMailboxName, 5465, false},
	{EventSubscriptionChange, 5465, false},
	{EventMailboxMetadataChange, 5465, false},
	{EventServerMetadataChange, 5465, false},
}

// Notify is NOTIFY; no Groups is NOTIFY NONE.
type Notify struct {
	Status bool // tell the state of all mailboxes first
	Groups []NotifyGroup
}

// NotifyGroup says which events of which mailboxes are told; none of them where
// Events is empty.
type NotifyGroup struct {
	Filter MailboxFilter
	Events []NotifyEvent
	Fetch  []FetchItem // MessageNew of the selected mailbox: what is told of a message
}

// Has tells whether the group has an event.
func (g *NotifyGroup) Has(e NotifyEvent) bool { return slices.Contains(g.Events, e) }

// parseNotify reads NOTIFY (RFC 5465 §8).
func parseNotify(d *decoder) Command {
	d.expectSP()
	c := &Notify{}
	switch d.expectWord("SET or NONE") {
	case "NONE":
		return c
	case "SET":
	default:
		d.fail("SET or NONE expected")
		return c
	}
	d.expectSP()
	if next, _ := d.peek(); next != '(' {
		if d.expectWord("STATUS") != "STATUS" {
			d.fail("STATUS or a group of events expected")
		}
		c.Status = true
		d.expectSP()
	}
	for d.err == nil {
		if len(c.Groups) == d.r.limits.Items {
			d.fail("too many groups of events")
		}
		c.Groups = append(c.Groups, d.expectNotifyGroup())
		if next, _ := d.peek(); next != ' ' {
			break
		}
		d.expectSP()
	}
	d.checkNotify(c)
	return c
}

// expectNotifyGroup reads "(" filter SP events ")".
func (d *decoder) expectNotifyGroup() NotifyGroup {
	d.expect('(', "group of events")
	g := NotifyGroup{Filter: d.expectFilter(FilterSelected, FilterSelectedDelayed, FilterInboxes, FilterPersonal,
		FilterSubscribed, FilterSubtree, FilterMailboxes)}
	d.expectSP()
	if next, _ := d.peek(); next != '(' {
		if d.expectWord("events") != "NONE" {
			d.fail("events or NONE expected")
		}
	} else {
		d.notifyEvents(&g)
	}
	d.expect(')', "end of the group")
	return g
}

func (d *decoder) notifyEvents(g *NotifyGroup) {
	d.expect('(', "events")
	d.enter()
	for d.err == nil {
		e := d.expectNotifyEvent()
		if !g.Has(e) {
			g.Events = append(g.Events, e)
		}
		if d.take(')') {
			break
		}
		d.expectSP()
		if next, _ := d.peek(); e == EventMessageNew && next == '(' {
			d.list(func() { g.Fetch = AddItems(g.Fetch, d.expectFetchItem(false)) })
			if d.take(')') {
				break
			}
			d.expectSP()
		}
	}
	d.leave()
}

// expectNotifyEvent reads an event. One that is unknown is a NO which tells
// those that are known (RFC 5465 §5).
func (d *decoder) expectNotifyEvent() NotifyEvent {
	name := d.expectAtom("event")
	known := make([]string, 0, len(NotifyEvents))
	for _, row := range NotifyEvents {
		if strings.EqualFold(name, string(row.Event)) {
			return row.Event
		}
		known = append(known, string(row.Event))
	}
	if d.err == nil {
		code := imap.ResponseCode("BADEVENT (" + strings.Join(known, " ") + ")")
		d.refuse(imap.StatusResponseTypeNo, code, "unknown event")
	}
	return ""
}

// checkNotify holds a command to what its groups may be (RFC 5465 §5 and §6).
func (d *decoder) checkNotify(c *Notify) {
	selected := 0
	for i := range c.Groups {
		g := &c.Groups[i]
		ofSelected := g.Filter.Kind == FilterSelected || g.Filter.Kind == FilterSelectedDelayed
		switch {
		case g.Has(EventMessageNew) != g.Has(EventMessageExpunge):
			d.fail("MessageNew and MessageExpunge go together")
		case g.Has(EventFlagChange) && !g.Has(EventMessageNew):
			d.fail("FlagChange needs MessageNew and MessageExpunge")
		case g.Fetch != nil && !ofSelected:
			d.fail("FETCH items are for the selected mailbox")
		case ofSelected && slices.ContainsFunc(g.Events, ofMailbox):
			d.fail("the selected mailbox has message events only")
		}
		if ofSelected {
			selected++
		}
	}
	if selected > 1 {
		d.fail("one group for the selected mailbox is all there can be")
	}
}

func ofMailbox(e NotifyEvent) bool {
	i := slices.IndexFunc(NotifyEvents, func(r NotifyRow) bool { return r.Event == e })
	return i >= 0 && !NotifyEvents[i].Message
}

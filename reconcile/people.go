package reconcile

import "slices"

// People is what a plan means to the people who use the host. It is found out
// beside the comparison, of the description that was applied last and of the
// running daemon, and is part of the plan for the reader only: Apply does not go
// by it.
type People struct {
	Sessions  Sessions `json:"sessions"`
	LastKnown bool     `json:"last_known"` // what was applied last could be read: without it, the rest counts nobody

	Users     int      `json:"users"`               // in the description
	Were      int      `json:"were"`                // in the one that was applied last
	Vanish    []string `json:"vanish,omitempty"`    // can no longer log in at all, sorted
	Elsewhere []string `json:"elsewhere,omitempty"` // are sent to another server from now on, sorted
	Password  []string `json:"password,omitempty"`  // log in with another password, sorted
	Moved     []string `json:"moved,omitempty"`     // get a Maildir in another place, whose folders have a UIDVALIDITY of their own, sorted
	Lost      []Loss   `json:"lost,omitempty"`

	// MessagesRemoved is how many messages rules that are new, or stricter than before, remove when they
	// are first carried out; Purges, of whom and from where.
	MessagesRemoved int     `json:"messages_removed"`
	Purges          []Purge `json:"purges,omitempty"`
	PurgesUnknown   string  `json:"purges_unknown,omitempty"` // why they could not all be counted; "" if they were
	Inboxes         []Inbox `json:"inboxes,omitempty"`        // those that are purged by a rule that is new, or stricter
}

// Inbox is an inbox from which mail is going to be removed, with how many messages are old
// enough; they are among Purges too.
type Inbox struct {
	User     string `json:"user"`
	Days     int    `json:"days"` // after a message came in
	Messages int    `json:"messages"`
}

// Purge is the messages of a folder that are old enough to be removed.
type Purge struct {
	User     string `json:"user"`
	Folder   string `json:"folder"`
	Messages int    `json:"messages"`
}

// Sessions are those that a plan ends.
type Sessions struct {
	End     int            `json:"end"`
	On      map[string]int `json:"on,omitempty"`      // by listener
	All     bool           `json:"all,omitempty"`     // it ends every session there is
	Unknown string         `json:"unknown,omitempty"` // why they could not be counted; "" if they were
}

// Loss is a way in that users have had and will no longer have.
type Loss struct {
	What  string `json:"what"` // such as "the listener imaps"
	Users int    `json:"users"`
}

// The brake: a plan by which more users vanish than one would take out by hand is
// more likely a list that was cut short than a wish.
const (
	brakeUsers   = 50 // however many there are
	brakePercent = 10 // of those there were, if it is more than brakeFew
	brakeFew     = 2
)

// Braked tells whether so many users vanish that it has to be confirmed by their
// number: more than 50, more than 2 that are more than a tenth, or everybody.
func (p *People) Braked() bool {
	gone := len(p.Vanish)
	return gone > brakeUsers || gone > brakeFew && gone*100 > p.Were*brakePercent || gone > 0 && p.Users == 0
}

// InboxBraked tells whether mail is about to be removed from inboxes, or whether there is any
// could not be found out: that has to be confirmed by the number of inboxes.
func (p *People) InboxBraked() bool {
	return len(p.Inboxes) > 0 && (p.PurgesUnknown != "" || slices.ContainsFunc(p.Inboxes, func(b Inbox) bool { return b.Messages > 0 }))
}

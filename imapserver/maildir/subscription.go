package maildir

import (
	"bytes"
	"fmt"
	"strings"
)

// SubscriptionsFile is Courier's list of subscribed names, in the top Maildir.
const SubscriptionsFile = "courierimapsubscribed"

// inboxPrefix is what Courier puts before every name but INBOX.
const inboxPrefix = Inbox + "."

// Subscriptions is what a subscriptions file says, in its order. Lines that
// name no mailbox (`shared.bob.Team`) are kept as they are.
type Subscriptions struct {
	lines []subscription
	at    map[subscribed]int // in lines
}

// subscription is one line; name is empty where only the line is known, and both are
// where it was removed.
type subscription struct {
	subscribed
	line string
}

// subscribed is what a line names.
type subscribed struct {
	name  string
	other bool // it is one of another user's mailboxes, full
}

// othersMark is what the names of other users' mailboxes begin with.
const othersMark = "#"

// ParseSubscriptions reads a courierimapsubscribed file. Its lines are full
// names behind "INBOX." in the encoding of the tree.
func ParseSubscriptions(data []byte, enc Encoding) Subscriptions {
	var s Subscriptions
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		sub := subscribed{other: strings.HasPrefix(line, othersMark)}
		if sub.other {
			sub.name, _ = DecodeName("."+line, enc)
		} else {
			sub.name = subscribedName(line, enc)
		}
		if sub.name == "" {
			s.lines = append(s.lines, subscription{line: line})
		} else {
			s.set(sub, true)
		}
	}
	return s
}

func subscribedName(line string, enc Encoding) string {
	if strings.EqualFold(line, Inbox) {
		return Inbox
	}
	if len(line) <= len(inboxPrefix) || !strings.EqualFold(line[:len(inboxPrefix)], inboxPrefix) {
		return ""
	}
	name, err := DecodeName("."+line[len(inboxPrefix):], enc)
	if err != nil && enc == ModifiedUTF7 { // of before the tree was spelt so
		name, err = DecodeName("."+line[len(inboxPrefix):], UTF8)
	}
	if err != nil {
		return ""
	}
	return name
}

// EncodeSubscriptions is the inverse of ParseSubscriptions.
func EncodeSubscriptions(s Subscriptions, enc Encoding) ([]byte, error) {
	var b bytes.Buffer
	for _, l := range s.lines {
		switch {
		case l == subscription{}:
			continue
		case l.name == "":
			b.WriteString(l.line)
		case l.name == Inbox:
			b.WriteString(Inbox)
		default:
			dir, err := EncodeName(l.name, enc)
			if err != nil {
				return nil, fmt.Errorf("encode subscriptions: %w", err)
			}
			if l.other {
				dir = dir[1:] // its dot
			} else {
				b.WriteString(Inbox)
			}
			b.WriteString(dir)
		}
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}

// Names are the subscribed mailboxes of the account, INBOX as "INBOX".
func (s Subscriptions) Names() []string { return s.names(false) }

// Others are the subscribed mailboxes of other users, with their full names.
func (s Subscriptions) Others() []string { return s.names(true) }

func (s Subscriptions) names(other bool) []string {
	var names []string
	for _, l := range s.lines {
		if l.name != "" && l.other == other {
			names = append(names, l.name)
		}
	}
	return names
}

// Len is how many mailboxes are subscribed, of the account and of others.
func (s Subscriptions) Len() int { return len(s.at) }

// Has tells whether the name is subscribed.
func (s Subscriptions) Has(name string) bool {
	_, ok := s.at[subscribed{name: name}]
	return ok
}

// Set adds the name at the end, or removes it, and tells whether that changed
// anything. The name must be one that EncodeName takes, INBOX in capitals.
func (s *Subscriptions) Set(name string, on bool) bool { return s.set(subscribed{name: name}, on) }

// SetOther is Set for the full name of another user's mailbox, which begins with
// "#".
func (s *Subscriptions) SetOther(name string, on bool) bool {
	return s.set(subscribed{name, true}, on)
}

func (s *Subscriptions) set(sub subscribed, on bool) bool {
	i, ok := s.at[sub]
	switch {
	case on == ok:
		return false
	case on:
		if s.at == nil {
			s.at = map[subscribed]int{}
		}
		s.at[sub] = len(s.lines)
		s.lines = append(s.lines, subscription{subscribed: sub})
	default:
		delete(s.at, sub)
		s.lines[i] = subscription{}
	}
	return true
}

package imapserver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
)

const (
	webUsageWithin = 3 * time.Second // or the page does without
	webUsageEvery  = 10 * time.Second
)

// usage says how much mail the user of a token has and may have: it asks a session of that
// user, whose worker may say what it likes of its own. However often the page asks, there
// is not more than one of them in webUsageEvery.
func (d *webDoor) usage(token string) (*control.Usage, error) {
	d.mu.Lock()
	s, ok := d.sessions[token]
	ask := ok && time.Since(s.asked) > webUsageEvery
	if ask {
		s.asked = time.Now()
		d.sessions[token] = s
	}
	d.mu.Unlock()
	if !ask {
		return s.usage, nil
	}
	u, ok := d.auth.User(s.user)
	if !ok {
		return nil, fmt.Errorf("no user %q any more", s.user)
	}
	q, err := usageOf(u, d.begin)
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, ok := d.sessions[token]; ok && err == nil {
		s.usage = q
		d.sessions[token] = s
	}
	return q, err
}

// usageOf asks a session of a user, which begin begins; nil: there is no quota.
func usageOf(u config.User, begin func(config.User, *os.File) error) (*control.Usage, error) {
	ours, theirs, err := handoff.StreamPair()
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	if err := begin(u, theirs); err != nil {
		return nil, err
	}
	ours.SetDeadline(time.Now().Add(webUsageWithin))
	if _, err := io.WriteString(ours, "a GETQUOTAROOT INBOX\r\nb LOGOUT\r\n"); err != nil {
		return nil, err
	}
	said, err := io.ReadAll(io.LimitReader(ours, 64<<10))
	if err != nil {
		return nil, err
	}
	if !strings.Contains(string(said), "\r\na OK ") {
		return nil, errors.New("the session does not say")
	}
	return readUsage(string(said)), nil
}

// readUsage takes the numbers out of a QUOTA response (RFC 9208 §4.2.1).
func readUsage(said string) *control.Usage {
	_, list, ok := strings.Cut(said, "\r\n* QUOTA ")
	if _, list, _ = strings.Cut(list, "("); !ok {
		return nil
	}
	list, _, _ = strings.Cut(list, ")")
	var q control.Usage
	for words := strings.Fields(list); len(words) >= 3; words = words[3:] {
		used, limit := int64(0), int64(0)
		fmt.Sscan(words[1]+" "+words[2], &used, &limit) // or what is no number is none
		switch words[0] {
		case "STORAGE":
			q.Storage, q.StorageLimit = used*1024, limit*1024
		case "MESSAGE":
			q.Messages, q.MessagesLimit = used, limit
		}
	}
	return &q
}

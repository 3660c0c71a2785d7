package imapserver

import (
	"crypto/rand"
	"errors"
	"net/netip"
	"sync"
	"time"

	"mailstead/imapserver/handoff"
)

// The bounds of tickets.
const (
	ticketLife = 30 * time.Second // a login claims its session at once
	maxTickets = 4096             // of one login; connections that are not logged in are fewer
)

// grant is what a ticket stands for: who has logged in, and on which connection.
// It is auth's own knowledge; of the login that presents the ticket nothing is
// taken but where the session is to speak to.
type grant struct {
	user, id string
	remote   netip.Addr
	tls      bool
	until    time.Time
}

// tickets are those of one login. One is good for one session, for ticketLife,
// and over the channel alone on which its password was checked: it is in the
// table of that channel, which goes with it.
type tickets struct {
	mu  sync.Mutex
	all map[string]grant
}

var errTicket = errors.New("no such ticket")

// issue makes a ticket of a verdict on credentials.
func (t *tickets) issue(user string, c *handoff.Credentials, now time.Time) (string, error) {
	ticket := rand.Text()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[string]grant{}
	}
	if len(t.all) >= maxTickets {
		t.sweep(now)
	}
	if len(t.all) >= maxTickets {
		return "", errors.New("too many logins that have claimed no session")
	}
	t.all[ticket] = grant{user: user, id: c.ID, remote: c.Remote, tls: c.TLS, until: now.Add(ticketLife)}
	return ticket, nil
}

func (t *tickets) sweep(now time.Time) {
	for ticket, g := range t.all {
		if now.After(g.until) {
			delete(t.all, ticket)
		}
	}
}

// claim takes a ticket back for what it stands for.
func (t *tickets) claim(ticket string, now time.Time) (grant, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g, ok := t.all[ticket]
	delete(t.all, ticket)
	if !ok || now.After(g.until) {
		return grant{}, errTicket
	}
	return g, nil
}

package auth

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// register is a directory of users whose password follows from their name. It is
// slow now and then, so that answers come in another order than questions.
type register struct{ queue *queue }

func (r *register) line() *queue { return r.queue }

func (r *register) check(_ context.Context, c *handoff.Credentials) (config.User, finding) {
	name := strings.ToLower(c.User)
	if rand.IntN(8) == 0 {
		for range rand.IntN(2000) {
			name = strings.Clone(name)
		}
	}
	switch {
	case !strings.HasPrefix(name, "u"):
		return config.User{}, unknown
	case c.Password != "pw-"+name:
		return config.User{}, refused.because("wrong password")
	}
	return config.User{Name: name, Directory: "register", Maildir: "/srv/" + name, UID: 2000 + number(name[1:])}, good
}

// TestNobodyElse logs a thousand users in at once, with right and wrong passwords and
// in capitals, while what is remembered of them is too little for all (T15). Nobody
// is ever given what belongs to somebody else.
func TestNobodyElse(t *testing.T) {
	logins := int64(20_000)
	if testing.Short() {
		logins = 5000
	}
	if s := os.Getenv("MAILSTEAD_LOGINS"); s != "" {
		logins, _ = strconv.ParseInt(s, 10, 64)
	}
	l := pamLimits()
	l.Table, l.SourceMinute, l.SourceDay, l.AccountMinute, l.AccountDay = 700, 1e12, 1e12, 1e12, 1e12
	a, _ := newAuth(t, l, nil, virtual(t, "vera", "vera-pw"))
	a.table.Load().directories = []backend{&register{newQueue(64, 1000)}}
	a.log = slog.New(slog.DiscardHandler)
	var left, in, lost, wrong atomic.Int64
	left.Store(logins)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				n := rand.IntN(1000)
				name := fmt.Sprintf("u%d", n)
				typed, password := name, "pw-"+name
				if rand.IntN(2) == 0 {
					typed = strings.ToUpper(name)
				}
				right := rand.IntN(2) == 0
				if !right {
					password = fmt.Sprintf("pw-u%d", (n+1+rand.IntN(999))%1000) // somebody else's
				}
				v := a.Authenticate(context.Background(), &handoff.Credentials{ID: "id", User: typed, Password: password, Remote: from("192.0.2.1"), TLS: true})
				if right != (v.User == name) || v.User != "" && v.User != name {
					wrong.Add(1)
				}
				if v.User == "" {
					continue
				}
				in.Add(1)
				// Only what a session is begun with counts, and it may be forgotten: then
				// there is no session.
				switch row, ok := a.User(v.User); {
				case !ok:
					lost.Add(1)
				case row.Name != name || row.UID != 2000+n || row.Maildir != "/srv/"+name:
					wrong.Add(1)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d logins, %d good, %d rows forgotten before they were asked for, %d of somebody else", logins, in.Load(), lost.Load(), wrong.Load())
	if wrong.Load() > 0 || in.Load() < logins/4 {
		t.Errorf("%d of %d logins were somebody else's; %d were good", wrong.Load(), logins, in.Load())
	}
}

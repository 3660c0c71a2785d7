package auth

import (
	"context"
	"errors"
	"strings"
	"testing"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// listed is a directory that knows some users; "down" it is not.
type listed struct {
	directory
	queue *queue
	down  bool
	users map[string]config.User
}

func (l listed) line() *queue { return l.queue }

func (l listed) find(_ context.Context, c *handoff.Credentials) (config.User, finding) {
	u, ok := l.users[c.User]
	switch {
	case l.down:
		return u, unavailable(errors.New("nobody answers"))
	case !ok:
		return u, unknown
	}
	return u, good
}

// mute says nothing without a password.
type mute struct {
	directory
	queue *queue
}

func (m mute) line() *queue { return m.queue }

// TestFind: directories are asked in their order; the failure of one, or one that does
// not say, leaves it open whose a name is, and a name of the table is the table's.
func TestFind(t *testing.T) {
	a, _ := newAuth(t, Limits{Table: 16, Queue: 4, Remember: 1 << 40}, nil, virtual(t, "alice", "right"))
	q := newQueue(1, 4)
	carol := config.User{Name: "carol", Directory: "people", UID: 500, GID: 500, Maildir: "/m/carol"}
	dora := config.User{Name: "dora", Directory: "more", UID: 500, GID: 500, Maildir: "/m/dora"}
	people := listed{queue: q, users: map[string]config.User{"carol": carol, "alice": carol, "Alice": carol, "fred": {Name: "alice", Directory: "people"}, "gina": {Name: "Alice", Directory: "people"}}}
	more := listed{queue: q, users: map[string]config.User{"dora": dora}}
	with := func(all ...directory) {
		t := a.table.Load()
		t.directories = nil
		for _, d := range all {
			t.directories = append(t.directories, configured{directory: d})
		}
	}
	for what, tt := range map[string]struct {
		directories []directory
		name        string
		user        string
		err         string
	}{
		"the first":                       {[]directory{people, more}, "carol", "carol", ""},
		"the second":                      {[]directory{people, more}, "dora", "dora", ""},
		"nobody":                          {[]directory{people, more}, "eve", "", ErrUnknown.Error()},
		"of the table":                    {[]directory{people, more}, "alice", "", ErrUnknown.Error()},
		"of the table, in capitals":       {[]directory{people, more}, "Alice", "", ErrUnknown.Error()},
		"no name for a directory":         {[]directory{people, more}, "*", "", ErrUnknown.Error()},
		"one that does not answer":        {[]directory{listed{queue: q, down: true}, more}, "dora", "", "nobody answers"},
		"behind the one that knows":       {[]directory{people, listed{queue: q, down: true}}, "carol", "carol", ""},
		"one that does not say":           {[]directory{mute{queue: q}, more}, "dora", "", ErrUntold.Error()},
		"one that calls a user as listed": {[]directory{people}, "fred", "", "who is a user of the description"},
		"and that in capitals":            {[]directory{people}, "gina", "", "who is a user of the description"},
	} {
		with(tt.directories...)
		u, err := a.Find(t.Context(), tt.name)
		if tt.err == "" && (err != nil || u.Name != tt.user) || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: %+v %v", what, u, err)
		}
	}
	if _, known := a.User("carol"); known {
		t.Error("who was found may log in by an app password, as if they had logged in")
	}
	with(mute{queue: q})
	if err := a.learn(a.table.Load(), &handoff.Credentials{User: "dora"}, dora); err != nil {
		t.Fatal(err)
	}
	if u, err := a.Find(t.Context(), "dora"); err != nil || u.Maildir != dora.Maildir {
		t.Errorf("who has logged in lately: %+v %v", u, err)
	}
}

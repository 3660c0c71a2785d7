package imapserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/login"
)

// lookTimeout is how long a worker may take to say what its sessions do. One that
// hangs is shown without.
const lookTimeout = 2 * time.Second

// maxDoing bounds the sessions of which a worker may tell: those of one user are fewer.
const maxDoing = 20_000

// overseer is a server that can show its connections and end one.
type overseer interface {
	// connections gives those that are logged in: of a user if it is not "", and the
	// one that id names if that is not.
	connections(ctx context.Context, user, id string) ([]control.Connection, error)
	// doing gives what the sessions of a user who is named do, in connections of which
	// it knows less than a login does.
	doing(ctx context.Context, user, id string) []control.Connection
	// endConnection ends one; false if there is none of that name.
	endConnection(ctx context.Context, id string) (bool, error)
}

// aboutSessions adds to a status who is connected.
func (r *running) aboutSessions(ctx context.Context, q control.Request, s *control.Status) error {
	o := r.server.(overseer)
	all, err := o.connections(ctx, q.User, q.ID)
	if err != nil {
		return err
	}
	if q.Explain {
		user := q.User
		if user == "" && len(all) == 1 {
			user = all[0].User
		}
		if user == "" && q.ID == "" {
			return errors.New("whose sessions, or which one, are to be explained?")
		}
		if user != "" {
			all = explain(all, o.doing(ctx, user, q.ID))
		}
	} else {
		nameClients(ctx, o, all)
	}
	s.Connected = all
	return noneSuch(len(all) > 0, q.ID)
}

// maxNamed is of how many users at once the workers are asked what their clients are.
const maxNamed = 50

// nameClients adds what clients have said of themselves since their login, where
// they had said nothing before, as most do: their workers know.
func nameClients(ctx context.Context, o overseer, all []control.Connection) {
	asked := map[string][]control.Connection{}
	for _, c := range all {
		if c.Client == "" && len(asked) < maxNamed {
			asked[c.User] = nil
		}
	}
	var mu sync.Mutex
	var busy sync.WaitGroup
	for _, user := range slices.Collect(maps.Keys(asked)) {
		busy.Go(func() {
			doing := o.doing(ctx, user, "")
			mu.Lock()
			defer mu.Unlock()
			asked[user] = doing
		})
	}
	busy.Wait()
	for i, c := range all {
		for _, d := range asked[c.User] {
			if c.Client == "" && d.ID == c.ID && d.Doing != nil {
				all[i].Client = d.Doing.Client
			}
		}
	}
}

// noneSuch is the error where there is no connection of that name.
func noneSuch(found bool, id string) error {
	if !found && id != "" {
		return fmt.Errorf("there is no session %q any more", id)
	}
	return nil
}

// endSession ends the connection that is named.
func (r *running) endSession(ctx context.Context, id string) error {
	if id == "" {
		return errors.New("which session is to be ended?")
	}
	found, err := r.server.(overseer).endConnection(ctx, id)
	if found {
		r.log.Info("session ended as asked for", "session", id)
	}
	return errors.Join(err, noneSuch(found || err != nil, id))
}

// connection is what a login says of one.
func connection(s login.Session) control.Connection {
	c := control.Connection{ID: s.ID, User: s.User, Listener: s.Listener, TLS: s.TLS, Client: s.Client, Began: s.Began}
	if s.Address.IsValid() {
		c.Address = s.Address.String()
	}
	return c
}

func connectionsOf(all []login.Session, id string) []control.Connection {
	var some []control.Connection
	for _, s := range all {
		if id == "" || s.ID == id {
			some = append(some, connection(s))
		}
	}
	return some
}

func (i *Inline) connections(_ context.Context, user, id string) ([]control.Connection, error) {
	return connectionsOf(i.front.login.List(user), id), nil
}

func (i *Inline) doing(_ context.Context, user, id string) []control.Connection {
	return i.mail.live.doing(user, id)
}

func (i *Inline) endConnection(_ context.Context, id string) (bool, error) {
	return i.front.login.CloseSession(id), nil
}

func (p *Parted) connections(ctx context.Context, user, id string) ([]control.Connection, error) {
	var mu sync.Mutex
	var all []control.Connection
	err := p.each(func(d *door) error {
		_, state, err := d.query(ctx, &handoff.Query{Sessions: true, User: user, ID: id})
		mu.Lock()
		defer mu.Unlock()
		for _, c := range state.Connected {
			// Which listener it is, is not the login's to say.
			if c.Listener = d.hello.Listener; (user == "" || c.User == user) && (id == "" || c.ID == id) {
				all = append(all, c)
			}
		}
		return err
	})
	sortConnections(all)
	return all, err
}

func (p *Parted) doing(ctx context.Context, user, id string) []control.Connection {
	u, ok := p.auth.User(user)
	if !ok {
		return nil // whose sessions are about to be ended
	}
	return p.spawn.look(ctx, &handoff.Look{UID: u.UID, GID: u.GID, User: user, ID: id})
}

// look asks the worker of a uid; it gives nothing where there is none, or that does
// not answer.
func (l *spawnLink) look(ctx context.Context, m *handoff.Look) []control.Connection {
	ours, theirs, err := handoff.Pair()
	if err != nil {
		return nil
	}
	defer ours.Close()
	defer time.AfterFunc(lookTimeout, func() { ours.Close() }).Stop()
	defer context.AfterFunc(ctx, func() { ours.Close() })()
	m.Answer = theirs
	l.tell(m)
	theirs.Close() // without a worker, that was the last of its end
	var all []control.Connection
	for len(all) < maxDoing {
		answer, err := ours.Receive()
		d, ok := answer.(*handoff.Doing)
		if err != nil || !ok {
			break
		}
		var c control.Connection
		if json.Unmarshal(d.Session, &c) == nil && c.User == m.User && c.Doing != nil {
			all = append(all, c)
		}
	}
	return all
}

func (p *Parted) endConnection(ctx context.Context, id string) (bool, error) {
	all, err := p.connections(ctx, "", id)
	if len(all) == 0 {
		return false, err
	}
	return true, p.each(func(d *door) error {
		if slices.ContainsFunc(all, func(c control.Connection) bool { return c.Listener == d.hello.Listener }) {
			return d.Send(&handoff.End{Session: id})
		}
		return nil
	})
}

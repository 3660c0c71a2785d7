package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailstead/imapserver/control"
	"mailstead/imapserver/maildir"
	"mailstead/reconcile"
	"mailstead/render"
	"mailstead/schema"
)

// impact finds out what a plan means to people. It asks the running daemon, and
// compares the description with the one that was applied last; what it may not
// ask or read, it says.
func (l *look) impact(ctx context.Context, plan *reconcile.Plan) *reconcile.People {
	p := l.lastAndNow()
	status, err := control.Ask(ctx, render.ControlSocket(l.host.Paths), control.Request{Verb: control.VerbStatus})
	switch {
	case errors.Is(err, control.ErrNotRunning):
	case err != nil:
		p.Sessions = ended(plan.Changes, control.Status{})
		p.Sessions.Unknown = err.Error()
	default:
		p.Sessions = ended(plan.Changes, status)
	}
	l.countPurges(ctx, p)
	return p
}

// purgeTime is what counting may take: a plan is waited for.
const purgeTime = 20 * time.Second

// countPurges counts what rules that are new would remove: it asks the daemon, as
// each of the users. Nothing is removed from what is not there yet.
func (l *look) countPurges(ctx context.Context, p *reconcile.People) {
	was, _, err := readApplied(l.host.Paths.State)
	if err != nil {
		was = &schema.Host{} // every rule is new
	}
	rules := newRules(was, l.host)
	if len(rules) == 0 {
		return
	}
	for _, r := range rules {
		if r.Inbox {
			p.Inboxes = append(p.Inboxes, reconcile.Inbox{User: r.User, Days: r.Days})
		}
	}
	there := map[string]bool{}
	for _, u := range was.Users {
		there[u.Name] = true
	}
	rules = slices.DeleteFunc(rules, func(r render.PurgeRule) bool { return !there[r.User] })
	ctx, cancel := context.WithTimeout(ctx, purgeTime)
	defer cancel()
	counted, err := purger{socket: render.ControlSocket(l.host.Paths)}.run(ctx, rules)
	if err != nil {
		p.PurgesUnknown = strings.Split(err.Error(), "\n")[0]
	}
	for _, c := range counted {
		if c.Messages > 0 {
			p.MessagesRemoved += c.Messages
			p.Purges = append(p.Purges, reconcile.Purge{User: c.User, Folder: c.Folder, Messages: c.Messages})
			if i := slices.IndexFunc(p.Inboxes, func(b reconcile.Inbox) bool { return b.User == c.User }); i >= 0 && c.Folder == maildir.Inbox {
				p.Inboxes[i].Messages = c.Messages
			}
		}
	}
}

// lastAndNow compares the description with what was applied last. Where only the
// list of users is left of that, it tells at least who vanishes.
func (l *look) lastAndNow() *reconcile.People {
	was, _, err := readApplied(l.host.Paths.State)
	if err == nil {
		p := affected(was, l.host)
		p.LastKnown = true
		return p
	}
	names, err := knownUsers(l.host.Paths)
	last := &schema.Host{Listeners: l.host.Listeners}
	for _, name := range names {
		last.Users = append(last.Users, schema.User{Name: name})
	}
	p := affected(last, l.host)
	p.Password, p.Moved, p.Elsewhere = nil, nil, nil
	// A host on which nothing was applied is known to have had nobody.
	p.LastKnown = errors.Is(err, fs.ErrNotExist)
	return p
}

// ended counts the sessions that changes end: all of them if one restarts what
// has the workers, else those on the listeners that move.
func ended(changes []reconcile.Change, served control.Status) (s reconcile.Sessions) {
	moved := map[string]bool{}
	for _, c := range changes {
		s.All = s.All || c.Impact == reconcile.Restart
		if c.Impact == reconcile.Rebind {
			for _, name := range movedListeners(c) {
				moved[name] = true
			}
		}
	}
	for name, n := range served.On {
		if n == 0 || !s.All && !moved[name] {
			continue
		}
		if s.On == nil {
			s.On = map[string]int{}
		}
		s.On[name] = n
		s.End += n
	}
	return s
}

// movedListeners names the listeners that a change concerns: whose service or
// socket it starts anew, or whose attributes it alters.
func movedListeners(c reconcile.Change) (names []string) {
	if c.Ref.Kind == "unit" {
		for _, unit := range []string{c.Ref.Name, c.Want.Get("service"), c.Have.Get("service")} {
			if name, ok := render.ListenerOf(unit); ok {
				return []string{name}
			}
		}
		return nil
	}
	for _, r := range []*reconcile.Resource{c.Have, c.Want} {
		if r == nil {
			continue
		}
		for _, a := range r.Attrs {
			if name, ok := strings.CutPrefix(a.Name, "listener "); ok && c.Have.Get(a.Name) != c.Want.Get(a.Name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// affected compares what was applied last with what is wanted. It is pure.
func affected(was, want *schema.Host) *reconcile.People {
	p := &reconcile.People{Users: len(want.Users), Were: len(was.Users)}
	now := make(map[string]*schema.User, len(want.Users))
	for i := range want.Users {
		now[want.Users[i].Name] = &want.Users[i]
	}
	stay := 0
	for _, old := range was.Users {
		u, ok := now[old.Name]
		if !ok {
			p.Vanish = append(p.Vanish, old.Name)
			continue
		}
		stay++
		if u.Elsewhere != "" && u.Elsewhere != old.Elsewhere {
			p.Elsewhere = append(p.Elsewhere, u.Name)
		}
		if credential(old) != credential(*u) {
			p.Password = append(p.Password, u.Name)
		}
		if mailPlace(old) != mailPlace(*u) {
			p.Moved = append(p.Moved, u.Name)
		}
	}
	for _, list := range [][]string{p.Vanish, p.Elsewhere, p.Password, p.Moved} {
		slices.Sort(list)
	}
	if stay > 0 {
		for _, what := range lostWays(was.Listeners, want.Listeners) {
			p.Lost = append(p.Lost, reconcile.Loss{What: what, Users: stay})
		}
	}
	return p
}

// credential is what a user's password is checked against: a hash, or the host's
// account.
func credential(u schema.User) string {
	if u.Virtual != nil {
		return string(u.Virtual.PasswordHash)
	}
	return "" // no hash is empty
}

// mailPlace is where the description says that a user's mail is.
func mailPlace(u schema.User) string {
	if u.System != nil {
		return u.System.Home + "\x00" + u.Maildir
	}
	return u.Maildir
}

// loginMethods are the capabilities by which clients log in (RFC 9051 §6.2).
var loginMethods = []string{"AUTH=PLAIN", "AUTH=LOGIN"}

// lostWays says by which ways clients were able to come in and will not be. A
// client that is set up for a listener finds it by its port, and by how TLS
// starts there.
func lostWays(was, want []schema.Listener) (lost []string) {
	now := make(map[string]schema.Listener, len(want))
	for _, l := range want {
		now[l.Name] = l
	}
	for _, old := range was {
		l, ok := now[old.Name]
		switch {
		case !ok:
			lost = append(lost, fmt.Sprintf("the listener %s (%s)", old.Name, listenAddress(old)))
			continue
		case listenAddress(l) != listenAddress(old):
			lost = append(lost, fmt.Sprintf("the listener %s at %s, which moves to %s", old.Name, listenAddress(old), listenAddress(l)))
		case l.TLS != old.TLS:
			lost = append(lost, fmt.Sprintf("the listener %s with %q, which becomes %q", old.Name, old.TLS, l.TLS))
		}
		for _, method := range loginMethods {
			if slices.Contains(l.Capabilities.Off, method) && !slices.Contains(old.Capabilities.Off, method) {
				lost = append(lost, fmt.Sprintf("the login method %s on the listener %s", method, l.Name))
			}
		}
	}
	return lost
}

func listenAddress(l schema.Listener) string {
	return net.JoinHostPort(l.Address, strconv.Itoa(l.Port))
}

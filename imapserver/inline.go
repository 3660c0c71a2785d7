package imapserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"reflect"

	"mailstead/imapserver/auth"
	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/login"
)

// Options say how the daemon runs; the zero value of each is what it runs with
// in earnest.
type Options struct {
	Log   *slog.Logger  // nil: nothing is logged
	Login *login.Limits // nil: login.Default
	Auth  *auth.Limits  // nil: auth.Default
}

func (o Options) log() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}

// Inline is the whole daemon in one process. Its methods may be called from
// many goroutines.
type Inline struct {
	log   *slog.Logger
	front *front
	mail  *mail
	heard *hearing

	traces tracings

	ctx  context.Context // of the sessions
	stop context.CancelFunc
}

// NewInline makes a daemon that serves by s from Start on.
func NewInline(s *Settings, o Options) (*Inline, error) {
	i := &Inline{log: o.log(), mail: newMail(o.log())}
	i.heard = newHearing(o.log(), s.Config.Record, func(user string, remote netip.Addr) { i.front.auth.Fault(user, remote) })
	i.mail.reports.listen(func(t *told) error {
		i.heard.take(t, func(string) bool { return true })
		return nil
	})
	i.ctx, i.stop = context.WithCancel(context.Background())
	checkService(s.Config.PAM, i.log)
	i.front = newFront(o, &i.mail.reports.Counts, i, &localHelpers{log: i.log, pam: func() *config.PAM { return i.front.settings.Load().Config.PAM }})
	if err := i.front.apply(s); err != nil {
		i.Stop()
		return nil, err
	}
	i.share(s)
	return i, nil
}

// share says who shares mail with each other: everyone has the same uid.
func (i *Inline) share(s *Settings) {
	if len(s.Users) > 0 {
		i.mail.neighbours.Update(s.neighbours(identityOf(&s.Users[0])))
	}
}

// Begin is handoff.Host's.
func (i *Inline) Begin(o *handoff.Open) (serve func(*handoff.Client), err error) {
	if i.front.proxied.Has(o.Listener) {
		return i.front.proxied.Begin(o)
	}
	session, err := i.session(o)
	return func(c *handoff.Client) { i.mail.serve(i.ctx, session, c, c.GiveBack) }, err
}

func (i *Inline) session(o *handoff.Open) (*handoff.Session, error) {
	u, ok := i.front.auth.User(o.User)
	if !ok {
		return nil, fmt.Errorf("no user %q any more", o.User)
	}
	return i.sessionOf(o, u)
}

func (i *Inline) sessionOf(o *handoff.Open, u config.User) (*handoff.Session, error) {
	if u.Elsewhere != "" {
		return nil, fmt.Errorf("the mail of %q is on another server", o.User)
	}
	session := i.front.settings.Load().session(o, u)
	i.traces.join(session)
	return session, nil
}

// Session begins a session of a user with whoever has the other end of stream,
// which is ours from then on.
func (i *Inline) Session(u config.User, stream *os.File) error {
	session, err := i.sessionOf(ownSession(u.Name, stream), u)
	if err != nil {
		stream.Close()
		return err
	}
	i.mail.start(i.ctx, session)
	return nil
}

// Visit gives a listener a client, over the other end of stream, which is ours from
// then on.
func (i *Inline) Visit(listener string, stream *os.File) error {
	if _, ok := i.front.settings.Load().listener(listener); !ok {
		stream.Close()
		return errors.New("there is none of that name")
	}
	return i.front.login.Visit(stream, listener)
}

// Start begins to serve. The listeners are closed by Stop.
func (i *Inline) Start(_ context.Context, l Listeners) error {
	i.front.start(l)
	return nil
}

// Failed tells what has ended the service.
func (i *Inline) Failed() <-chan error { return i.front.failed }

// Stop ends everything: clients get BYE and stopTimeout to read it.
func (i *Inline) Stop() {
	i.stop()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	i.front.close(ctx)
	i.mail.close()
	i.mail.reports.flush()
	i.heard.close()
}

// Reload goes over to s, or changes nothing.
func (i *Inline) Reload(s *Settings) error {
	old := i.front.settings.Load()
	if err := i.front.reload(s); err != nil {
		return err
	}
	if !reflect.DeepEqual(old.Config.PAM, s.Config.PAM) {
		checkService(s.Config.PAM, i.log)
	}
	i.share(s)
	return nil
}

// Status tells what is being served.
func (i *Inline) Status(context.Context) (control.Status, error) { return i.front.status(), nil }

// SelfTest goes through the accept path.
func (i *Inline) SelfTest(ctx context.Context) error { return i.front.login.SelfTest(ctx) }

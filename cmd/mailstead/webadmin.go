package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"mailstead/imapserver/control"
	"mailstead/reconcile/web"
	"mailstead/render"
	"mailstead/schema"
)

// newWebAdminCommand is what systemd starts for each request of the web page that
// needs root. It is the other side of who has taken the page over.
func newWebAdminCommand() *cobra.Command {
	var state string
	cmd := &cobra.Command{
		Use:    "web-admin",
		Short:  "answer one request of the web page",
		Long:   "Answers one request of the web page on standard input, as systemd starts it. It\nis not for people." + exitStatus(exitDone, exitFailed),
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := socketOnStdin()
			if err != nil {
				return err
			}
			defer c.Close()
			log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
			return answerAdmin(cmd.Context(), c, state, log)
		},
	}
	addState(cmd, &state)
	return cmd
}

// answerAdmin reads a request, and answers it.
func answerAdmin(ctx context.Context, c io.ReadWriter, state string, log *slog.Logger) error {
	var r web.AdminRequest
	d := json.NewDecoder(io.LimitReader(c, web.MaxAdminRequest))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	host, _, err := readApplied(state)
	if err != nil {
		return err
	}
	a := webDesk{host: host, log: log, now: time.Now()}.answer(ctx, r)
	return json.NewEncoder(c).Encode(a)
}

// webDesk answers requests of admins for the host as it was applied.
type webDesk struct {
	host *schema.Host
	log  *slog.Logger
	now  time.Time
}

func (d webDesk) answer(ctx context.Context, r web.AdminRequest) (a web.AdminAnswer) {
	gate, err := openWebGate(d.host)
	if err != nil {
		return d.failed(r, a, err)
	}
	if r.Do == web.AdminLogin {
		a.Token, a.Name, err = gate.login(r, d.now)
		d.note(r, err)
		return d.failed(r, a, err)
	}
	if a.Name, err = gate.token(r.Token, d.now); err != nil {
		return web.AdminAnswer{Over: true, Error: err.Error()}
	}
	switch r.Do {
	case web.AdminStatus:
		a.Status, err = d.status(ctx)
	default:
		err = fmt.Errorf("there is no such request: %q", r.Do)
	}
	return d.failed(r, a, err)
}

// note writes a login into the log: the address first, as auth does.
func (d webDesk) note(r web.AdminRequest, err error) {
	if err == nil {
		d.log.Info("admin logged in", "addr", r.Remote, "name", r.Name)
		return
	}
	d.log.Warn("login failed", "addr", r.Remote, "user", brief(r.Name), "mechanism", "web-admin", "reason", err)
}

// failed gives an answer its error, in words for people.
func (d webDesk) failed(r web.AdminRequest, a web.AdminAnswer, err error) web.AdminAnswer {
	if err != nil {
		a.Error = err.Error()
		for _, h := range hints(err) {
			a.Error += " (" + h + ")"
		}
	}
	return a
}

// status is what the daemon serves.
func (d webDesk) status(ctx context.Context) (*web.Status, error) {
	s := &web.Status{Host: d.host.Name}
	answer, err := control.Ask(ctx, render.ControlSocket(d.host.Paths), control.Request{Verb: control.VerbStatus})
	if err != nil {
		s.Problem = err.Error()
		return s, nil
	}
	s.Version, s.Sessions, s.Problem = answer.Version, answer.Sessions, answer.Error
	for _, l := range answer.Listeners {
		s.Listeners = append(s.Listeners, web.Listener{Name: l.Name, Address: l.Address, TLS: l.TLS, Sessions: answer.On[l.Name]})
	}
	for _, b := range answer.Bundles {
		c := web.Certificate{Name: b.Name, Names: b.Names, Fingerprint: b.Fingerprint}
		if c.NotAfter, err = time.Parse(time.RFC3339, b.NotAfter); err == nil {
			c.Days = int(c.NotAfter.Sub(d.now).Hours() / 24)
		}
		s.Certificates = append(s.Certificates, c)
	}
	l := &look{host: d.host}
	s.Notes = l.certificateNotes(d.now)
	return s, nil
}

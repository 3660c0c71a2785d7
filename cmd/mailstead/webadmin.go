package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mailstead/imapserver"
	"mailstead/reconcile/desired"
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
			if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil { // it sees passwords
				return fmt.Errorf("forbid a core: %w", err)
			}
			c, err := socketOnStdin()
			if err != nil {
				return err
			}
			defer c.Close()
			return answerAdmin(cmd.Context(), c, state, imapserver.NewLog(os.Stderr))
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
	host, opts, err := readApplied(state)
	if err != nil {
		return err
	}
	answers := json.NewEncoder(c)
	say := func(text string) { _ = answers.Encode(web.AdminAnswer{Said: text}) } // whether or not the page is there to hear it
	a := webDesk{host: host, opts: opts, description: render.Description, log: log, now: time.Now(), say: say}.answer(ctx, r)
	return answers.Encode(a)
}

// webDesk answers requests of admins for the host as it was applied.
type webDesk struct {
	host        *schema.Host
	opts        desired.Options
	description string // the directory of the description that is shown and changed
	log         *slog.Logger
	now         time.Time
	say         func(string) // tells the page what is being done, lines of text
}

func (d webDesk) answer(ctx context.Context, r web.AdminRequest) (a web.AdminAnswer) {
	gate, err := openWebGate(d.host)
	if err != nil {
		return d.failed(a, err)
	}
	if err := gate.sweep(d.now, maxProposals); err != nil {
		d.log.Error("old proposals not removed", "err", err)
	}
	if r.Do == web.AdminLogin {
		a.Token, a.Name, err = gate.login(r, d.now)
		d.note(r, a.Name, err)
		a.Wrong = wrongLogin(err)
		if err != nil && len(r.Certificate) == 0 {
			err = errWebRefused // why, is for the log: strangers ask who is an admin, and what the host has
		}
		return d.failed(a, err)
	}
	if a.Name, err = gate.token(r.Token, d.now); err != nil {
		return web.AdminAnswer{Over: true, Error: err.Error()}
	}
	switch r.Do {
	case web.AdminStatus:
		a.Status, err = d.status(ctx)
	case web.AdminSessions:
		a.Sessions, err = d.sessions(ctx, r.Find)
	case web.AdminEndSession:
		err = d.endSession(ctx, a.Name, r.Session)
	case web.AdminUsers:
		a.Users, err = d.users(r.Find)
	case web.AdminUsage:
		a.Usage, err = d.usage(ctx, r.Find)
	case web.AdminDrift:
		a.Drift, err = d.drift(ctx)
	case web.AdminHistory:
		a.History, err = d.history()
	case web.AdminHosts:
		a.Hosts, err = d.hosts()
	case web.AdminPropose:
		if r.Change == nil {
			err = errors.New("there is no change to propose")
			break
		}
		a.Proposal, err = d.propose(ctx, gate, a.Name, *r.Change)
	case web.AdminApply:
		a.Outcome, err = d.applyProposal(ctx, gate, a.Name, r.Proposal, r.Code)
		if err != nil && !errors.Is(err, errEdited) { // it was not tried, and can be
			if p, gone := gate.proposal(r.Proposal, d.now); gone == nil {
				a.Proposal = &p.Proposal
			}
		}
	default:
		err = fmt.Errorf("there is no such request: %q", r.Do)
	}
	return d.failed(a, err)
}

// note writes a login into the log, with the reason, which the page is not told. The
// line that fail2ban reads is the page's, whose unit has one name.
func (d webDesk) note(r web.AdminRequest, name string, err error) {
	if err == nil {
		d.log.Info("admin logged in", "addr", r.Remote, "name", name)
		return
	}
	d.log.Warn("admin refused", "addr", r.Remote, "user", brief(r.Name), "mechanism", "web-admin", "reason", err)
}

// failed gives an answer its error, in words for people.
func (d webDesk) failed(a web.AdminAnswer, err error) web.AdminAnswer {
	if err != nil {
		a.Error = err.Error()
		for _, h := range hints(err) {
			a.Error += "; " + h
		}
	}
	return a
}

package login

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/handoff"
	"mailstead/imapserver/metrics"
	"mailstead/imapserver/sasl"
	"mailstead/imapserver/wire"
)

// loginCommand is LOGIN.
func (c *conn) loginCommand(ctx context.Context, tag string, cmd *wire.Login) (*relay, error) {
	if c.phase == wire.PhaseNoTLS {
		return nil, c.privacy(tag)
	}
	return c.check(ctx, tag, "", sasl.Credentials{User: cmd.User, Password: cmd.Password})
}

// privacy refuses a password in the clear (RFC 5530 §3). Whoever listens has
// seen it by then; the client should know.
func (c *conn) privacy(tag string) error {
	c.log.Warn("login failed", "reason", "not under TLS")
	c.refusal(metrics.NoTLS)
	return c.refuse(tag, string(imap.ResponseCodePrivacyRequired), "Login is possible under TLS only.")
}

// refuse answers a login that has failed, and ends a connection on which too
// many have.
func (c *conn) refuse(tag, code, text string) error {
	c.failures++
	c.w.Status(tag, imap.StatusResponseTypeNo, imap.ResponseCode(code), text)
	if c.failures >= c.settings.limits.Failures {
		return c.bye("Too many failed logins.")
	}
	return nil
}

// authenticate is AUTHENTICATE (RFC 9051 §6.2.2).
func (c *conn) authenticate(ctx context.Context, tag string, cmd *wire.Authenticate) (*relay, error) {
	if c.phase == wire.PhaseNoTLS {
		return nil, c.privacy(tag)
	}
	if c.offers(cmd.Mechanism) {
		return c.exchange(ctx, tag, cmd)
	}
	m, ok := sasl.New(cmd.Mechanism)
	if !ok || c.off(imap.AuthCap(cmd.Mechanism)) {
		return nil, &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeCannot, Text: "There is no such mechanism here."}
	}
	response := cmd.Initial
	for {
		challenge, done, err := m.Next(response)
		if err != nil {
			return c.refusedResponse(ctx, tag, cmd.Mechanism, err)
		}
		if done {
			return c.check(ctx, tag, cmd.Mechanism, m.Credentials())
		}
		c.w.Continue(base64.StdEncoding.EncodeToString(challenge))
		if response, err = c.r.ReadSASL(); err != nil {
			return nil, err
		}
	}
}

// refusedResponse answers what a mechanism does not take. Bad syntax counts as
// a bad command.
func (c *conn) refusedResponse(ctx context.Context, tag, mechanism string, err error) (*relay, error) {
	if errors.Is(err, sasl.ErrSyntax) {
		return nil, &imap.Error{Type: imap.StatusResponseTypeBad, Text: "The " + err.Error() + "."}
	}
	return c.refusedUnasked(ctx, tag, mechanism, err, "Authentication failed: "+err.Error()+".")
}

// refusedUnasked refuses what auth need not be asked about.
func (c *conn) refusedUnasked(ctx context.Context, tag, mechanism string, err error, text string) (*relay, error) {
	c.log.Warn("login failed", "reason", err)
	return c.decided(ctx, tag, mechanism, handoff.Verdict{Code: string(imap.ResponseCodeAuthenticationFailed), Text: text})
}

// check has auth look at the credentials and opens the session.
func (c *conn) check(ctx context.Context, tag, mechanism string, creds sasl.Credentials) (*relay, error) {
	if err := c.w.Flush(); err != nil {
		return nil, err
	}
	c.attempt = cmp.Or(creds.For, creds.User)
	if err := sasl.Check(creds); err != nil { // longer, it might not fit into a message to auth
		return c.refusedUnasked(ctx, tag, mechanism, err, "Authentication failed.") // as auth has it
	}
	told := c.credentials(mechanism, nil)
	told.User, told.Password, told.For = creds.User, creds.Password, creds.For
	return c.decided(ctx, tag, mechanism, c.server.auth.Authenticate(ctx, told))
}

// decided acts on what auth has said.
func (c *conn) decided(ctx context.Context, tag, mechanism string, v handoff.Verdict) (*relay, error) {
	result := "refused"
	defer func() { c.server.counts.Add(metrics.Logins, 1, c.listener, cmp.Or(mechanism, "command"), result) }()
	c.attempt = cmp.Or(v.User, v.Tried, c.attempt)
	if v.User == "" && v.Elsewhere == "" {
		c.refusal(cmp.Or(refusalOf[imap.ResponseCode(v.Code)], metrics.WrongCredentials))
	}
	if v.Code == string(imap.ResponseCodeUnavailable) {
		result = "unavailable"
	}
	switch {
	case v.Syntax:
		return nil, &imap.Error{Type: imap.StatusResponseTypeBad, Text: v.Text}
	case v.Elsewhere != "":
		return nil, c.refer(tag, v)
	case v.User == "":
		return nil, c.refuse(tag, v.Code, v.Text)
	}
	r, err := c.open(ctx, tag, v)
	if err != nil {
		if result = "unavailable"; err.Code == imap.ResponseCodeLimit {
			result = "limited"
		}
		return nil, err
	}
	result = "ok"
	c.tell()
	c.log.Info("login", "user", v.User, "by", v.By, "mechanism", mechanism, "tls", c.tlsVersion(), "client", c.client)
	return r, nil
}

// refusalOf says how a refusal of auth's is counted. Everything else has to do with who
// the client says it is.
var refusalOf = map[imap.ResponseCode]string{imap.ResponseCodeLimit: metrics.Guessing, imap.ResponseCodeUnavailable: metrics.Unchecked}

// refusal counts what has come to nothing.
func (c *conn) refusal(reason string) { c.server.counts.Add(metrics.Refusals, 1, c.listener, reason) }

// refer sends a client to the server that has the user's mail (RFC 2221 §4.1).
func (c *conn) refer(tag string, v handoff.Verdict) error {
	code := "REFERRAL " + v.Elsewhere
	if c.off(imap.CapLoginReferrals) {
		code = ""
	}
	return c.refuse(tag, code, v.Text)
}

// open begins a session: in this process, or in a worker that takes the other
// end of a connection without TLS.
func (c *conn) open(ctx context.Context, tag string, v handoff.Verdict) (*relay, *imap.Error) {
	user := v.User
	r := &relay{user: user, listener: c.listener, source: handoff.Source(c.addr), client: c.nc, login: &pending{id: c.id, tag: tag}, phase: c.phase, leaf: c.leaf, failures: c.failures}
	r.about = &about{id: c.id, address: c.addr, tls: c.tlsVersion(), client: c.client, began: time.Now()}
	o := &handoff.Open{ID: c.id, User: user, Tag: tag, Listener: c.listener, Remote: c.addr, TLS: c.phase == wire.PhaseTLS, Client: c.client, Ticket: v.Ticket}
	if c.server.host == nil {
		var err error
		if r.worker, o.Stream, err = handoff.StreamPair(); err != nil {
			return nil, c.unavailable(user, err)
		}
		r.token = handoff.NewToken()
		o.Token = r.token
	}
	if why := c.server.sessions.add(r); why != "" {
		if o.Stream != nil {
			o.Stream.Close()
			r.worker.Close()
		}
		c.refusal(fullness[why])
		c.log.Warn("login refused", "user", user, "reason", "too many sessions "+why)
		return nil, &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeLimit, Text: "Too many connections " + why + "."}
	}
	if err := c.hand(ctx, r, o); err != nil {
		c.server.sessions.remove(r)
		return nil, c.unavailable(user, err)
	}
	return r, nil
}

// hand gives a session to whom it belongs, with what the client has sent already.
func (c *conn) hand(ctx context.Context, r *relay, o *handoff.Open) (err error) {
	if host := c.server.host; host != nil {
		r.ahead = bytes.Clone(c.r.Buffered())
		r.serve, err = host.Begin(o)
		return err
	}
	if _, err = r.worker.Write(c.r.Buffered()); err != nil {
		o.Stream.Close()
	} else {
		r.login.hangs, err = c.server.opener.Open(ctx, o)
	}
	if err != nil {
		r.worker.Close()
	}
	return err
}

// unavailable is the answer to a good login for which there is no worker.
func (c *conn) unavailable(user string, err error) *imap.Error {
	c.refusal(metrics.NoWorker)
	c.log.Error("login without a worker", "user", user, "err", err)
	return &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodeUnavailable, Text: "Temporary failure. Try again later."}
}

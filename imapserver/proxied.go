package imapserver

import (
	"context"
	"log/slog"

	"mailstead/imapserver/auth"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/proxy"
)

// proxied is the listeners that stand in front of other servers: who logs in there is
// judged by those. Guesses are counted here, since servers see but the proxy's address.
type proxied struct {
	*proxy.Proxy
	auth *auth.Auth
}

// newProxied makes one that has its connections to servers made by dial.
func newProxied(log *slog.Logger, limits auth.Limits, dial proxy.Dial) *proxied {
	p := &proxied{Proxy: proxy.New(log, dial)}
	p.auth = auth.New(auth.Options{Log: log, Limits: limits, Remote: p.Proxy})
	return p
}

// Authenticate is handoff.Authenticator's.
func (p *proxied) Authenticate(ctx context.Context, c *handoff.Credentials) handoff.Verdict {
	return p.auth.Authenticate(ctx, c)
}

// Mechanisms is handoff.Authenticator's: the server wants the password itself.
func (p *proxied) Mechanisms(string) []string { return nil }

// Close ends sessions and logins.
func (p *proxied) Close() {
	p.Proxy.Close()
	p.auth.Close()
}

// besides is auth for all listeners of one process.
type besides struct {
	*auth.Auth
	proxied *proxied
}

// Authenticate is handoff.Authenticator's.
func (b besides) Authenticate(ctx context.Context, c *handoff.Credentials) handoff.Verdict {
	if b.proxied.Has(c.Listener) {
		return b.proxied.Authenticate(ctx, c)
	}
	return b.Auth.Authenticate(ctx, c)
}

// Mechanisms is handoff.Authenticator's.
func (b besides) Mechanisms(listener string) []string {
	if b.proxied.Has(listener) {
		return nil
	}
	return b.Auth.Mechanisms(listener)
}

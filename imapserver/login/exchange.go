package login

import (
	"cmp"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"slices"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/handoff"
	"mailstead/imapserver/wire"
)

// external needs a certificate of the client's.
const external = "EXTERNAL"

// offers tells whether auth drives a mechanism for this connection as it is.
func (c *conn) offers(mechanism string) bool {
	name := imap.AuthCap(mechanism)
	if mechanism == external && len(c.certificates()) == 0 {
		return false
	}
	return wire.OfferedIn(c.phase, name) && !c.off(name) && slices.Contains(c.server.auth.Mechanisms(c.listener), mechanism)
}

// exchange carries responses and challenges between the client and auth, of which
// this side understands nothing: neither password nor key is ever here.
func (c *conn) exchange(ctx context.Context, tag string, cmd *wire.Authenticate) (*relay, error) {
	c.attempt = ""
	part := &handoff.Exchange{Response: cmd.Initial, Bindings: c.bindings()}
	if cmd.Mechanism == external {
		part.Certificates = c.certificates()
	}
	for {
		if err := c.w.Flush(); err != nil {
			return nil, err
		}
		v := c.server.auth.Authenticate(ctx, c.credentials(cmd.Mechanism, part))
		if v.Exchange == "" {
			return c.decided(ctx, tag, cmd.Mechanism, v)
		}
		c.attempt = cmp.Or(v.Tried, c.attempt)
		c.w.Continue(base64.StdEncoding.EncodeToString([]byte(v.Challenge)))
		response, err := c.r.ReadSASL()
		if err != nil {
			c.server.auth.Authenticate(ctx, c.credentials(cmd.Mechanism, &handoff.Exchange{ID: v.Exchange, Cancelled: true}))
			return nil, err
		}
		part = &handoff.Exchange{ID: v.Exchange, Response: response}
	}
}

// credentials begins what auth is told of a login.
func (c *conn) credentials(mechanism string, part *handoff.Exchange) *handoff.Credentials {
	return &handoff.Credentials{
		ID: c.id, Listener: c.listener, Mechanism: mechanism,
		Remote: c.addr, TLS: c.phase == wire.PhaseTLS, AtOnce: slices.Contains(c.proxy, wire.ProxyDelays), Shared: slices.Contains(c.proxy, wire.ProxyShared), Exchange: part,
	}
}

// bindings is what an exchange may be bound to (RFC 5056), by name.
func (c *conn) bindings() map[string][]byte {
	t, ok := c.nc.(*tls.Conn)
	if !ok {
		return nil
	}
	state := t.ConnectionState()
	all := map[string][]byte{}
	// RFC 9266 §2. It is refused where the keys would not be of this connection alone.
	if material, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32); err == nil {
		all["tls-exporter"] = material
	}
	if sum, err := endPoint(c.leaf); err == nil {
		all["tls-server-end-point"] = sum
	}
	return all
}

// endPoint is the digest of a certificate by that of its signature, or by SHA-256
// where that one is weak (RFC 5929 §4.1).
func endPoint(leaf *x509.Certificate) ([]byte, error) {
	h := crypto.SHA256
	switch leaf.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		h = crypto.SHA384
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		h = crypto.SHA512
	case x509.PureEd25519:
		return nil, errors.New("RFC 5929 has no digest for a signature without one")
	}
	sum := h.New()
	sum.Write(leaf.Raw)
	return sum.Sum(nil), nil
}

// certificates is the client's certificate with its chain, or nil.
func (c *conn) certificates() [][]byte {
	t, ok := c.nc.(*tls.Conn)
	if !ok {
		return nil
	}
	var chain [][]byte
	for _, each := range t.ConnectionState().PeerCertificates {
		chain = append(chain, each.Raw)
	}
	return chain
}

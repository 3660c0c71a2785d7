package login

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/config"
	"mailstead/imapserver/metrics"
	"mailstead/imapserver/wire"
)

// conn is a connection before its login. One goroutine owns it.
type conn struct {
	server   *Server
	settings *settings // as of the accept, then of STARTTLS
	nc       net.Conn  // the *tls.Conn once there is TLS
	listener string
	id       string
	peer     netip.Addr // who has connected
	addr     netip.Addr // the client: peer, unless that is a proxy
	proxy    []string   // what that says of itself (wire.IDProxy)
	plain    *slog.Logger
	log      *slog.Logger // plain, with what is of this connection: see from

	phase    wire.Phase
	leaf     *x509.Certificate // that the server has shown; nil without TLS
	r        *wire.Reader
	w        *wire.Writer
	bad      int    // commands that were answered BAD
	failures int    // logins that were refused
	client   string // of ID: name and version
	attempt  string // as whom the client has tried to log in last, as far as is known

	recording *recording // nil: nobody watches
}

// errEnd ends the connection in an orderly way; what there was to say has been
// written.
type errEnd struct{ reason string }

func (e errEnd) Error() string { return e.reason }

// run speaks with the client until it is logged in, which gives the relay, or
// leaves, which gives the reason.
func (c *conn) run(ctx context.Context, back *relay) (*relay, string) {
	if back == nil {
		if err := c.begin(ctx); err != nil {
			return nil, err.Error()
		}
	} else {
		c.resume(back)
	}
	r, err := c.commands(ctx)
	if r == nil {
		c.w.Flush()
		return nil, c.reason(err)
	}
	return r, ""
}

// begin is what comes before the first command.
func (c *conn) begin(ctx context.Context) error {
	mode := c.settings.modes[c.listener]
	if c.listener == selfTest {
		mode = config.Plain
	}
	switch mode {
	case config.Implicit:
		if err := c.startTLS(ctx); err != nil {
			return err
		}
	case config.STARTTLS:
		c.phase = wire.PhaseNoTLS
	case config.Plain:
		c.phase = wire.PhaseClear
	default:
		return errEnd{"the listener is not in the configuration any more"}
	}
	c.reset()
	c.greet()
	return nil
}

// resume goes on after UNAUTHENTICATE (RFC 8437): TLS stays, and so do the count of
// logins that were refused and the client's address. A proxy does not log in twice, so
// who speaks now may be its client, who must not name another.
func (c *conn) resume(back *relay) {
	c.phase, c.leaf, c.failures = back.phase, back.leaf, back.failures
	c.peer = back.about.address
	c.from(back.about.address)
	c.w = wire.NewWriter(c.line())
	c.r = wire.NewReader(io.MultiReader(bytes.NewReader(back.rest), c.line()), c.w, &wire.PreAuth)
	back.rest = nil
}

// reset makes a reader and a writer for the connection as it is now. Nothing
// that was read before is left.
func (c *conn) reset() {
	c.w = wire.NewWriter(c.line())
	c.r = wire.NewReader(&sniffer{src: c.line()}, c.w, &wire.PreAuth)
}

// without is the capabilities that the table has and this connection has not.
func (c *conn) without() []imap.Cap {
	off := c.settings.off[c.listener]
	if c.phase != wire.PhaseTLS && len(c.settings.of(c.listener).bundles) == 0 {
		off = append(slices.Clip(off), imap.CapStartTLS)
	}
	driven := c.server.auth.Mechanisms(c.listener)
	for _, name := range wire.Driven {
		if !slices.Contains(driven, name) || name == external && len(c.certificates()) == 0 {
			off = append(slices.Clip(off), imap.AuthCap(name))
		}
	}
	return off
}

// off tells whether a capability is switched off on the listener.
func (c *conn) off(name imap.Cap) bool { return slices.Contains(c.settings.off[c.listener], name) }

// ours are the capabilities of what happens before the login, which a server behind a
// proxy has no part in.
var ours = []imap.Cap{imap.CapSASLIR, imap.CapStartTLS, imap.CapLoginDisabled, imap.AuthCap("PLAIN"), imap.AuthCap("LOGIN")}

func (c *conn) capabilities() string {
	if o := c.server.offer(c.listener); o != nil {
		all, without := o.Capabilities, c.without()
		for _, name := range ours {
			if wire.OfferedIn(c.phase, name) && !slices.Contains(without, name) {
				all = append(slices.Clip(all), string(name))
			}
		}
		return "CAPABILITY " + strings.Join(all, " ")
	}
	return string(wire.AppendCapabilities([]byte("CAPABILITY "), c.phase, c.without()...))
}

func (c *conn) greet() {
	text := "Mailstead ready."
	if o := c.server.offer(c.listener); o != nil {
		text = o.Text
	}
	c.w.Status("*", imap.StatusResponseTypeOK, imap.ResponseCode(c.capabilities()), text)
}

// commands reads and executes until a login or an error.
func (c *conn) commands(ctx context.Context) (*relay, error) {
	for {
		req, err := c.r.ReadCommand(wire.NotAuthenticated)
		if err == nil {
			var r *relay
			r, err = c.execute(ctx, req)
			if r != nil {
				return r, nil
			}
		}
		var refused *imap.Error
		switch {
		case err == nil:
		case errors.As(err, &refused):
			if foreign(req.Tag) {
				return nil, errForeign
			}
			c.w.Error(req.Tag, refused)
			if refused.Type == imap.StatusResponseTypeBad {
				c.bad++
			}
			if c.bad >= wire.PreAuth.Bad {
				return nil, c.bye("Too many bad commands.")
			}
		default:
			return nil, err
		}
		c.tell()
		if c.server.ctx.Err() != nil {
			return nil, c.bye(shutdownText)
		}
	}
}

const (
	shutdownText = "The server is shutting down."
	lifetimeText = "Too long without a login."
)

// bye says BYE and gives the error that ends the connection.
func (c *conn) bye(text string) error {
	c.w.Status("*", imap.StatusResponseTypeBye, "", text)
	return errEnd{text}
}

// reason says for the log why the connection has ended, and BYE where the
// client should hear it.
func (c *conn) reason(err error) string {
	var bye *wire.ByeError
	var end errEnd
	switch {
	case errors.As(err, &end):
		return end.reason
	case errors.As(err, &bye):
		c.w.Status("*", imap.StatusResponseTypeBye, "", bye.Text)
		c.w.Flush()
		return bye.Text
	case errors.Is(err, os.ErrDeadlineExceeded):
		text := lifetimeText
		if c.server.ctx.Err() != nil {
			text = shutdownText
		}
		c.nc.SetWriteDeadline(time.Now().Add(time.Second))
		c.bye(text)
		c.w.Flush()
		return text
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the client has left"
	}
	return err.Error()
}

// execute runs one command. An *imap.Error is its answer, others end the
// connection.
func (c *conn) execute(ctx context.Context, req wire.Request) (*relay, error) {
	if slices.ContainsFunc(req.Uses, c.off) {
		return nil, &imap.Error{Type: imap.StatusResponseTypeBad, Text: "Not possible here."}
	}
	switch cmd := req.Command.(type) {
	case wire.Capability:
		c.w.Raw("* " + c.capabilities() + "\r\n")
		c.ok(req.Tag, "Done.")
	case wire.Noop:
		c.ok(req.Tag, "Done.")
	case *wire.ID:
		c.identify(cmd)
		c.ok(req.Tag, "Done.")
	case wire.Logout:
		c.w.Status("*", imap.StatusResponseTypeBye, "", "Good bye.")
		c.ok(req.Tag, "Done.")
		return nil, errEnd{"logout"}
	case wire.StartTLS:
		return nil, c.upgrade(ctx, req.Tag)
	case *wire.Login:
		return c.loginCommand(ctx, req.Tag, cmd)
	case *wire.Authenticate:
		return c.authenticate(ctx, req.Tag, cmd)
	default:
		return nil, &imap.Error{Type: imap.StatusResponseTypeBad, Text: "Not before login."}
	}
	return nil, nil
}

func (c *conn) ok(tag, text string) { c.w.Status(tag, imap.StatusResponseTypeOK, "", text) }

// identify is ID (RFC 2971). What the client says of itself goes to the log
// with its login.
func (c *conn) identify(id *wire.ID) {
	c.client = id.Client()
	c.originate(id)
	c.w.Raw("* ID (\"name\" \"Mailstead\")\r\n")
}

// originate takes the client's address from a proxy in front of us: it counts for
// guesses and sessions from then on, and the log of refusals has it.
func (c *conn) originate(id *wire.ID) {
	said := id.Value(wire.IDOrigin)
	if said == "" || !c.settings.fromProxy(c.listener, c.peer) {
		return
	}
	if addr, err := netip.ParseAddr(said); err == nil {
		addr = addr.Unmap().WithZone("")
		c.log.Info("client of a proxy", "client", addr)
		c.from(addr)
		if len(id.Params) == wire.IDsOfProxy { // one of another kind may pass on what its client says
			c.proxy = strings.Fields(id.Value(wire.IDProxy))
		}
	}
}

// from says where the client is, to what counts and to the log.
func (c *conn) from(addr netip.Addr) {
	c.addr, c.proxy, c.log = addr, nil, named(c.plain, addr, c.id, c.listener)
}

// upgrade is STARTTLS (RFC 9051 §6.2.1). Whoever has sent anything behind it
// in the clear cannot be told from someone in the middle of the connection who
// has, so that ends it; and nothing that was said in the clear counts any more.
func (c *conn) upgrade(ctx context.Context, tag string) error {
	if c.phase == wire.PhaseTLS {
		return &imap.Error{Type: imap.StatusResponseTypeBad, Text: "TLS is active already."}
	}
	c.settings = c.server.settings.Load() // a reload may have come since the accept
	if len(c.settings.of(c.listener).bundles) == 0 {
		return &imap.Error{Type: imap.StatusResponseTypeBad, Text: "TLS is not available here."}
	}
	if len(c.r.Buffered()) > 0 {
		return errEnd{"octets in the clear after STARTTLS"}
	}
	c.ok(tag, "Begin TLS now.")
	if err := c.w.Flush(); err != nil {
		return err
	}
	if err := c.startTLS(ctx); err != nil {
		return err
	}
	c.client = ""
	c.from(c.peer)
	c.reset()
	return nil
}

// startTLS makes the handshake.
func (c *conn) startTLS(ctx context.Context) error {
	certificates := c.settings.of(c.listener)
	t := tls.Server(c.nc, certificates.outer)
	if err := t.HandshakeContext(ctx); err != nil {
		if c.server.ctx.Err() != nil {
			return errEnd{shutdownText}
		}
		c.refusal(handshakeFault(err))
		return errEnd{"TLS: " + err.Error()}
	}
	c.nc, c.phase = t, wire.PhaseTLS
	c.leaf = certificates.bundles[certificates.find(t.ConnectionState().ServerName)].Certificate.Leaf
	return nil
}

// handshakeFault says how a handshake that has failed is counted. crypto/tls has no
// types for what a client says by an alert (RFC 8446 §6.2), nor for what the two have
// not in common.
func handshakeFault(err error) string {
	text := err.Error()
	switch alert, said := strings.CutPrefix(text, "remote error: tls: "); {
	case said && strings.Contains(alert, "certificate"):
		return metrics.TLSCertificate
	case strings.Contains(text, "unsupported versions"), strings.Contains(text, "protocol version not supported"),
		strings.Contains(text, "no cipher suite supported"), strings.Contains(text, "unsupported application protocols"):
		return metrics.TLSVersion
	}
	return metrics.TLSOther
}

func (c *conn) tlsVersion() string { return tlsName(c.nc) }

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailstead/reconcile"
	"mailstead/reconcile/doctor"
	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
)

// maxHandshakes is how many names are asked for at one address of a listener from
// outside: the daemon takes no more than a few hundred connections in a minute from
// one, and others still have to get in.
const maxHandshakes = 60

// maxGreeting bounds what a server may say before TLS, in octets: whoever has the
// port may have no end.
const maxGreeting = 64 << 10

// shortConn ends after so many octets have been read.
type shortConn struct {
	net.Conn
	left int
}

func (c *shortConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("it says more than %d octets", maxGreeting)
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// visit is what a client sees of one listener at one address.
type visit struct {
	*checkup
	of       schema.Listener // as the description has it
	listener schema.Listener // the same, at the address that is looked at
	inside   bool            // what is installed is known
	names    []aName
	mends    []string // resources that may be behind what is found
}

func (v *visit) String() string {
	return fmt.Sprintf("listener %s at %s", v.of.Name, net.JoinHostPort(v.listener.Address, strconv.Itoa(v.of.Port)))
}

func (v *visit) found(code doctor.Code, seen string, mends ...string) {
	f := doctor.New(code, v.String(), seen).At(v.of.Origin.String())
	f.Mends = append(mends, v.mends...)
	v.Add(f)
}

// look connects, asks what there is before TLS, and then for each name.
func (v *visit) look(ctx context.Context) {
	if !v.greet(ctx) || v.of.TLS == schema.Plain {
		return
	}
	names := v.names
	if !v.inside && len(names) > maxHandshakes {
		v.Skip(fmt.Sprintf("names at %s", v), fmt.Sprintf("%d of %d are enough for one look", maxHandshakes, len(names)))
		names = names[:maxHandshakes]
	}
	for _, n := range names {
		if ctx.Err() != nil || !v.certificate(ctx, n) {
			return // what fails for one name, fails for the others
		}
	}
}

// greet looks at the first answers, without TLS where that comes later. False says
// that there is nothing more to look at.
func (v *visit) greet(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := dialListener(ctx, v.listener)
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT):
		return false // the host has no address of that family
	case err != nil:
		v.found(doctor.ListenerUnreachable, reason(err))
		return false
	}
	defer conn.Close()
	if v.of.TLS == schema.Implicit {
		return true
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c := imapclient.New(&shortConn{conn, maxGreeting}, nil)
	defer c.Close()
	err = c.WaitGreeting()
	var caps imap.CapSet
	if err == nil {
		caps, err = c.Capability().Wait()
	}
	switch {
	case err != nil:
		v.found(doctor.ListenerStrange, "it does not greet as an IMAP server: "+reason(err))
		if f := &v.Findings[len(v.Findings)-1]; v.inside {
			unit := render.LoginUnit(v.of.Name)
			*f = f.Do(fmt.Sprintf("Find out what listens there (ss -ltnp). If that is %s, or systemd for it, it hangs or ends before it answers: journalctl -u %s, then systemctl restart %s. End anything else.", unit, unit, unit))
		}
		return false
	case !caps.Has(imap.CapIMAP4rev1) && !caps.Has(imap.CapIMAP4rev2):
		v.found(doctor.ListenerStrange, "it does not offer IMAP4rev1")
		return false
	}
	return v.of.TLS == schema.Plain || v.beforeTLS(caps)
}

// beforeTLS looks at what is offered before TLS (RFC 9051 §7.2.2).
func (v *visit) beforeTLS(caps imap.CapSet) bool {
	if !caps.Has(imap.CapLoginDisabled) {
		v.found(doctor.LoginBeforeTLS, "CAPABILITY before TLS has no LOGINDISABLED")
	} else if len(caps.AuthMechanisms()) > 0 {
		v.found(doctor.LoginBeforeTLS, fmt.Sprintf("CAPABILITY before TLS offers AUTH=%s", caps.AuthMechanisms()[0]))
	}
	if !caps.Has(imap.CapStartTLS) {
		v.found(doctor.StarttlsMissing, "CAPABILITY has no STARTTLS")
		return false
	}
	return true
}

// certificate looks at what is served for a name. False says that there is no TLS.
func (v *visit) certificate(ctx context.Context, n aName) bool {
	var have reconcile.Certificate
	if v.inside {
		if have = v.l.facts.Certificates[n.certificate.Name]; have.Installed == "" {
			return true // there is none yet: it waits, or has to be applied
		}
	}
	sni := sniName(n.name)
	chain, err := servedChain(ctx, dialListener, v.listener, sni)
	if err != nil {
		v.found(doctor.TLSFails, fmt.Sprintf("%s: %s", n.name, reason(err)))
		return false
	}
	served := doctor.Served{Listener: v.String(), Name: sni, Chain: chain, SelfSigned: n.certificate.SelfSigned != nil, Origin: n.certificate.Origin.String()}
	if n.told {
		v.told(n, served)
		return true
	}
	v.Add(served.Judge(nil, v.now)...)
	if got := fingerprint(chain[0]); v.inside && got != have.Installed {
		v.found(doctor.CertificateOther, fmt.Sprintf("%s: the certificate %s is served, and %s is installed", n.name, show(got), show(have.Installed)),
			kind.CertificateRef(n.certificate.Name).String())
	}
	return true
}

// told says that what is served does not have the name that mail programs are told;
// only a note where the description says nothing of what they are told.
func (v *visit) told(n aName, served doctor.Served) {
	for _, f := range served.Judge(nil, v.now) {
		if f.Code != doctor.CertificateName {
			continue // said of the names that it is for
		}
		f.Seen += "; mail programs are told this name (mailstead profile)"
		f = f.Do("Have a certificate issued that has it, or say which name they are to be told: profiles: server.")
		if v.host.Profiles == nil {
			f = f.As(doctor.Note)
		}
		v.Add(f)
	}
}

// reason is an error of the network in few words.
func reason(err error) string {
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		return fmt.Sprintf("no answer within %v", probeTimeout)
	case errors.As(err, &op) && op.Op == "dial":
		return op.Err.Error()
	}
	return err.Error()
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

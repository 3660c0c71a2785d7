package desired

import (
	"fmt"
	"path"
	"strings"

	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
)

// certificate is one of the description with what its source holds now.
type certificate struct {
	want   schema.Certificate
	spec   kind.CertificateSpec
	have   reconcile.Certificate
	usable bool   // there will be a bundle to serve
	serves string // fingerprint of that bundle; "" if this plan makes it, or nobody may look
	chain  string // digest of its whole chain; "" likewise
}

// waiting is a listener that cannot be served yet.
type waiting struct {
	listener schema.Listener
	block    reconcile.Block
}

// spec says where a certificate comes from and where its bundle goes.
func spec(c schema.Certificate, paths schema.Paths) kind.CertificateSpec {
	s := kind.CertificateSpec{Name: c.Name, Names: c.Names, Bundle: render.BundleFile(paths, c.Name), Stitched: c.Stitched}
	switch {
	case c.Certbot != nil:
		live := path.Join(paths.Letsencrypt, "live", c.Certbot.Lineage)
		s.Source, s.Certificate, s.Key = kind.Certbot, path.Join(live, "fullchain.pem"), path.Join(live, "privkey.pem")
	case c.Files != nil:
		s.Source, s.Certificate, s.Key = kind.Files, c.Files.Certificate, c.Files.Key
	case c.SelfSigned != nil:
		s.Source, s.Days = kind.SelfSigned, c.SelfSigned.Days
	}
	return s
}

// look says what a certificate's source means for what can be served.
func look(c certificate) certificate {
	h := c.have
	switch {
	case h.Unreadable != "":
		c.usable, c.serves, c.chain = true, h.Installed, h.InstalledChain
	case h.Missing != "" || h.Fault != "":
		c.usable, c.serves, c.chain = h.Installed != "", h.Installed, h.InstalledChain
	default:
		c.usable, c.serves, c.chain = true, h.Fingerprint, h.Chain
	}
	return c
}

// listeners finds out which of them can be served: one that speaks TLS needs a
// certificate, any of the host's.
func (b *builder) listeners() {
	var missing []certificate
	for _, want := range b.host.TLS.Certificates {
		c := look(certificate{want: want, spec: spec(want, b.paths), have: b.facts.Certificates[want.Name]})
		c.spec.Group = b.service.group
		b.certs = append(b.certs, c)
		if !c.usable {
			missing = append(missing, c)
		}
	}
	none := len(missing) == len(b.certs)
	for _, l := range b.host.Listeners {
		switch {
		case l.TLS == schema.Plain || !none:
			b.serve = append(b.serve, l)
		case len(missing) == 0:
			b.fault(schema.CodeMissing, l.Origin, fmt.Sprintf("listener %s: there is no certificate for it", l.Name), "name one with tls: certificates:")
		default:
			b.waiting = append(b.waiting, waiting{l, waitFor(missing)})
		}
	}
}

// waitFor tells the operator what the first of the missing certificates waits
// for; the others stand in the plan themselves.
func waitFor(missing []certificate) reconcile.Block {
	names := make([]string, len(missing))
	block := reconcile.Block{}
	for i, c := range missing {
		names[i] = c.want.Name
		if block.Command == "" {
			block.Command = c.have.Command
		}
	}
	block.Reason = "waits for the certificate " + strings.Join(names, " or ")
	return block
}

// Certificates lists the certificates of the host alone, for one on which the
// rest of the description cannot be: they are renewed all the same.
func Certificates(host *schema.Host, facts reconcile.Facts, opts Options) ([]reconcile.Resource, error) {
	b := newBuilder(host, facts, opts)
	b.accounts()
	b.listeners()
	if len(b.faults) > 0 {
		b.sortFaults()
		return nil, b.faults
	}
	for _, step := range []func() error{b.check, b.addCertificates} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("build %s: %w", host.Name, err)
		}
	}
	return b.out, nil
}

func (b *builder) addCertificates() error {
	for _, c := range b.certs {
		b.add(kind.Certificate(c.spec, c.have, c.want.Origin.String()), b.groupNeeds()...)
	}
	return nil
}

// groupNeeds are the accounts that must be there before a file can have their group.
func (b *builder) groupNeeds() []reconcile.Ref {
	if b.service.group == "" {
		return nil
	}
	return b.service.needs
}

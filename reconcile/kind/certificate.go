package kind

import (
	"strconv"
	"strings"

	"mailstead/reconcile"
)

// Certificate is a bundle that the daemon reads, kept equal to its source. Have
// is what the facts say of the source; a source that is missing or faulty blocks
// the resource, and the bundle that is there stays.
func Certificate(c CertificateSpec, have reconcile.Certificate, origin string) reconcile.Resource {
	r := reconcile.Resource{
		Ref:        CertificateRef(c.Name),
		Origin:     origin,
		Unreadable: have.Unreadable,
		Attrs: []reconcile.Attr{
			{Name: "source", Value: string(c.Source), Impact: reconcile.Live},
			{Name: "names", Value: strings.Join(c.Names, " "), Impact: reconcile.Reload},
		},
	}
	switch {
	case have.Unreadable != "":
	case have.Missing != "":
		r.Blocked = &reconcile.Block{Reason: have.Missing, Command: have.Command}
	case have.Fault != "":
		r.Blocked = &reconcile.Block{Reason: have.Fault}
	}
	add := func(name, value string, impact reconcile.Impact) {
		r.Attrs = append(r.Attrs, reconcile.Attr{Name: name, Value: value, Impact: impact})
	}
	if c.Source == SelfSigned {
		add("days", strconv.Itoa(c.Days), reconcile.Live)
		add("renewal", renewalNotDue, reconcile.Reload)
	} else {
		add("certificate", c.Certificate, reconcile.Live)
		add("key", c.Key, reconcile.Live)
		add("fingerprint", have.Fingerprint, reconcile.Reload)
		add("chain", have.Chain, reconcile.Reload)
	}
	add("bundle", c.Bundle, reconcile.Reload)
	if c.Group != "" {
		add("group", c.Group, reconcile.Live)
	}
	add("state", bundleGood, reconcile.Reload)
	if c.Stitched != "" {
		add("stitched", c.Stitched, reconcile.Live)
	}
	return r
}

// CertificateRef names the certificate of that name in the description.
func CertificateRef(name string) reconcile.Ref {
	return reconcile.Ref{Kind: "certificate", Name: name}
}

const (
	renewalNotDue = "not due"
	bundleGood    = "good"
)

package main

import (
	"cmp"
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"mailstead/reconcile/doctor"
	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
)

// aName is a name for which a certificate is to be served.
type aName struct {
	name        string // as the description has it, perhaps a pattern
	certificate schema.Certificate
	told        bool // no certificate is for it, and mail programs are told it all the same
}

// namesOf gives the names of a host's certificates.
func namesOf(host *schema.Host) (all []aName) {
	for _, c := range host.TLS.Certificates {
		for _, n := range c.Names {
			all = append(all, aName{name: n, certificate: c})
		}
	}
	return all
}

// namesAt gives those that clients ask a listener for, with that by which mail programs
// are told to reach the host (profile.Server) where no certificate is for it.
func namesAt(host *schema.Host, l schema.Listener) []aName {
	all, told := namesOf(host), host.Name
	if host.Profiles != nil {
		told = cmp.Or(host.Profiles.Server, told)
	}
	_, rest, _ := strings.Cut(told, ".")
	if !l.Public() || slices.ContainsFunc(all, func(n aName) bool { return n.name == told || n.name == "*."+rest }) {
		return all
	}
	for _, c := range host.TLS.Certificates {
		if c.Name == host.TLS.Default { // which whoever asks for that name gets
			all = append(all, aName{told, c, true})
		}
	}
	return all
}

// dnsNames gives the names that are to lead to the host.
func dnsNames(host *schema.Host) (all []doctor.Name) {
	for _, n := range namesOf(host) {
		if !strings.HasPrefix(n.name, "*.") {
			all = append(all, doctor.Name{Name: n.name, Origin: n.certificate.Origin.String()})
		}
	}
	if len(all) == 0 {
		all = append(all, doctor.Name{Name: host.Name, Origin: host.Origin.String()})
	}
	return all
}

// fromInside looks at each listener over the loopback, or at its own address.
func (u *checkup) fromInside(ctx context.Context) {
	looked := 0
	for _, l := range u.host.Listeners {
		if ctx.Err() != nil || u.waits(kind.UnitRef(render.SocketUnit(l.Name))) {
			continue // which is told as such
		}
		looked++
		v := visit{checkup: u, of: l, listener: l, inside: true, names: namesAt(u.host, l)}
		v.mends = []string{kind.UnitRef(render.SocketUnit(l.Name)).String(), kind.UnitRef(render.LoginUnit(l.Name)).String(), kind.DaemonRef().String()}
		addresses := reachable(l.Address)
		v.listener.Address = addresses[0]
		found := len(u.Findings)
		v.look(ctx)
		if l.Address == "" && len(u.Findings) == found { // both families, if the host has them
			v.names, v.listener.Address = v.names[:min(1, len(v.names))], addresses[1]
			v.look(ctx)
		}
	}
	u.Look("listeners", looked)
}

// fromOutside looks at each listener at every address that the names have.
func (u *checkup) fromOutside(ctx context.Context) {
	at := map[netip.Addr][]aName{}
	if u.o.address != "" {
		a, _ := netip.ParseAddr(u.o.address) // which has been checked
		at[a.Unmap()] = namesOf(u.host)
	} else {
		u.resolve(ctx, at)
	}
	looked := 0
	for _, a := range slices.SortedFunc(maps.Keys(at), netip.Addr.Compare) {
		for _, l := range u.host.Listeners {
			if ctx.Err() != nil || !openAt(l, a, u.o.address != "") {
				continue
			}
			looked++
			v := visit{checkup: u, of: l, listener: l, names: at[a]}
			v.listener.Address = a.String()
			v.look(ctx)
		}
	}
	if u.Look("listeners at addresses", looked); looked == 0 {
		u.Skip("listeners", "none of them can be reached from outside")
	}
}

// resolve finds the addresses of all names.
func (u *checkup) resolve(ctx context.Context, at map[netip.Addr][]aName) {
	names := dnsNames(u.host)
	byName := map[string][]aName{}
	for _, n := range namesOf(u.host) {
		byName[n.name] = append(byName[n.name], n)
	}
	for _, r := range doctor.Resolve(ctx, net.DefaultResolver, names) {
		u.Add(r.Judge(nil)...)
		certified := byName[r.Name.Name]
		for _, a := range r.Addresses {
			at[a] = append(at[a], certified...) // also where there is no certificate
		}
	}
	u.Look("names", len(names))
}

// openAt tells whether a listener is for those who come to an address from outside.
// Where addresses are translated on the way, it need not be the listener's own;
// which one is meant is known where it was given.
func openAt(l schema.Listener, a netip.Addr, given bool) bool {
	own, err := netip.ParseAddr(l.Address)
	switch {
	case l.Address == "" || err != nil:
		return true
	case own.IsUnspecified():
		return own.Is6() || a.Is4()
	case own.IsLoopback():
		return given && own == a
	}
	return own.Is4() == a.Is4()
}

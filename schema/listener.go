package schema

import (
	"fmt"
	"net/netip"
	"strings"
)

func (c *completer) listeners() {
	for _, s := range c.spot.at("listeners").fields() {
		if !s.ok() {
			continue
		}
		l := Listener{Name: s.name(), Origin: s.pos()}
		if c.member(s, &l, "listeners") && c.checkListener(&l, s) {
			c.host.Listeners = append(c.host.Listeners, l)
		}
	}
}

// checkListener checks one listener by itself.
func (c *completer) checkListener(l *Listener, s spot) bool {
	before := len(c.faults)
	l.Capabilities.Off = off(s.at("capabilities", "off"), true)
	if l.Port == 0 {
		c.fault(CodeMissing, s.at("port").path, s.pos(), "is missing: only imap and imaps imply a port",
			fmt.Sprintf("write %s: port: ..., or name the listener imap or imaps", l.Name))
	}
	ip, err := netip.ParseAddr(l.Address)
	switch {
	case l.Address == "":
	case err != nil:
		s.at("address").faultOfValue(CodeValue, fmt.Sprintf("is no IP address: %s", quote(l.Address)),
			"write one such as 127.0.0.1 or ::1, or leave the field out to listen on every address")
	case ip.Is4In6() || ip.IsMulticast():
		s.at("address").faultOfValue(CodeValue, fmt.Sprintf("is no address that a server can listen on: %s", quote(l.Address)), "")
	default:
		l.Address = ip.String() // one spelling, so that two listeners can be compared
	}
	if l.TLS == Plain && (l.Address == "" || err == nil && !ip.IsLoopback()) {
		s.at("tls").faultOfValue(CodeUnsafe, `is "none", and the listener is not on a loopback address: passwords would cross the network in the clear`,
			`set address: "127.0.0.1", or tls: "starttls"`)
	}
	checkNets(s.at("proxies"))
	l.Proxy = c.proxy(l, s.at("proxy"))
	if l.TLS == Plain && l.ClientCertificates != nil {
		s.at("clientCertificates").fault(CodeValue, "is for TLS, and this listener has none", "")
	}
	if l.Name == "imaps" && l.TLS != Implicit {
		s.at("tls").faultOfValue(CodeValue, fmt.Sprintf("is %q, and clients of imaps start with TLS (RFC 8314 §3)", l.TLS),
			"leave it out, or give the listener another name")
	}
	return len(c.faults) == before
}

// checkListeners compares the listeners with each other.
func (c *completer) checkListeners() {
	s, list := c.spot.at("listeners"), c.host.Listeners
	if s.ok() && len(s.fields()) == 0 {
		s.fault(CodeMissing, "names no listener, so nothing is served", "write listeners: imap: {}")
	}
	for i, l := range list {
		for _, other := range list[:i] {
			if l.Port == other.Port && overlap(l.Address, other.Address) {
				s.at(l.Name).fault(CodeDuplicate, fmt.Sprintf("listens on %s, and %s (%s) on %s", l.where(), other.Name, other.Origin, other.where()),
					"give one of them another port, or an address of its own to each")
				break
			}
		}
	}
}

// ownSockets are the socket units besides those of listeners, whose names no listener
// can have: its unit would be the same. Those with a field are there if it is written.
var ownSockets = []struct{ name, field, does string }{
	{"auth", "", "by which logins reach those who check them"},
	{"spawn", "", "by which workers are started"},
	{"pam", "", "by which PAM is asked"},
	{"outbox", "outbox", "that sends mail"},
	{"lmtp", "deliver/lmtp", "that takes mail"},
	{"metrics", "metrics", "of the metrics"},
	{"web", "web", "of the web page"},
	{"web-admin", "web", "of the admins of the web page"},
}

func (c *completer) checkListenerNames() {
	for _, u := range ownSockets {
		does := u.does
		if u.field != "" {
			at := c.spot.at(strings.Split(u.field, "/")...)
			if !at.exists() {
				continue
			}
			does += fmt.Sprintf(" (%s)", at.pos())
		}
		if l := c.spot.at("listeners", u.name); l.exists() {
			l.fault(CodeName, "is the name of the unit "+does, "give the listener another name")
		}
	}
}

// overlap tells whether sockets of one port on both addresses would be in each
// other's way. The address of everything in IPv6 takes IPv4 along.
func overlap(a, b string) bool {
	if a == b || a == "" || b == "" || a == "::" || b == "::" {
		return true
	}
	x, y := netip.MustParseAddr(a), netip.MustParseAddr(b)
	return x.Is4() == y.Is4() && (x.IsUnspecified() || y.IsUnspecified())
}

func (l Listener) where() string {
	if l.Address == "" {
		return fmt.Sprintf("port %d of every address", l.Port)
	}
	return fmt.Sprintf("port %d of %s", l.Port, l.Address)
}

// Public tells whether a listener is for the mail programs of this host's users: it
// has their mail, over TLS, and is not on a loopback address.
func (l Listener) Public() bool {
	ip, err := netip.ParseAddr(l.Address)
	return l.Proxy == nil && l.TLS != Plain && (err != nil || !ip.IsLoopback())
}

package schema

import (
	"fmt"
	"net/netip"

	"cuelang.org/go/cue"
)

// impliedPorts are the listeners whose name says the port.
var impliedPorts = map[string]int{"imap": 143, "imaps": 993}

func (c *completer) listeners() {
	for _, f := range fieldsOf(c.get("listeners")) {
		path := []string{"listeners", f.name}
		if !c.ok(path...) {
			continue
		}
		if !f.value.LookupPath(cue.MakePath(cue.Str("port"))).Exists() && impliedPorts[f.name] == 0 {
			c.found(CodeMissing, c.pos(path...), append(path, "port"), "is missing: only imap and imaps imply a port",
				fmt.Sprintf("write %s: port: ..., or name the listener imap or imaps", f.name))
			continue
		}
		l := Listener{Name: f.name, Origin: c.pos(path...)}
		if c.member(f, &l, "listeners") && c.checkListener(&l) {
			c.host.Listeners = append(c.host.Listeners, l)
		}
	}
}

// checkListener checks one listener by itself.
func (c *completer) checkListener(l *Listener) bool {
	before := len(c.loader.faults)
	address := []string{"listeners", l.Name, "address"}
	ip, err := netip.ParseAddr(l.Address)
	switch {
	case l.Address == "":
	case err != nil || ip.Zone() != "":
		c.found(CodeValue, c.valuePos(address...), address, fmt.Sprintf("is no IP address: %s", quote(l.Address)),
			"write one such as 127.0.0.1 or ::1, or leave the field out to listen on every address")
	case ip.Is4In6() || ip.IsMulticast():
		c.found(CodeValue, c.valuePos(address...), address, fmt.Sprintf("is no address that a server can listen on: %s", quote(l.Address)), "")
	default:
		l.Address = ip.String() // one spelling, so that two listeners can be compared
	}
	tls := []string{"listeners", l.Name, "tls"}
	if l.TLS == Plain && err == nil && !ip.IsLoopback() || l.TLS == Plain && l.Address == "" {
		c.found(CodeUnsafe, c.valuePos(tls...), tls, `is "none", and the listener is not on a loopback address: passwords would cross the network in the clear`,
			`set address: "127.0.0.1", or tls: "starttls"`)
	}
	if l.Name == "imaps" && l.TLS != Implicit {
		c.found(CodeValue, c.valuePos(tls...), tls, fmt.Sprintf("is %q, and clients of imaps start with TLS (RFC 8314 §3)", l.TLS),
			"leave it out, or give the listener another name")
	}
	return len(c.loader.faults) == before
}

// checkListeners compares the listeners with each other.
func (c *completer) checkListeners() {
	list := c.host.Listeners
	if len(fieldsOf(c.get("listeners"))) == 0 && c.ok("listeners") {
		c.found(CodeMissing, c.pos("listeners"), []string{"listeners"}, "names no listener, so nothing is served", "write listeners: imap: {}")
	}
	for i, l := range list {
		for _, other := range list[:i] {
			if l.Port == other.Port && overlap(l.Address, other.Address) {
				c.found(CodeDuplicate, l.Origin, []string{"listeners", l.Name},
					fmt.Sprintf("listens on %s, and %s (%s) on %s", l.where(), other.Name, other.Origin, other.where()),
					"give one of them another port, or an address of its own to each")
				break
			}
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

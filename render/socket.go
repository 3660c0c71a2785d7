package render

import (
	"fmt"
	"net/netip"

	"mailstead/schema"
)

// Socket writes the socket unit of a listener: systemd binds the port, so the
// daemon needs no privilege for it, and whoever connects while the daemon is
// replaced waits instead of being refused.
func Socket(l schema.Listener) ([]byte, error) {
	u := newUnit()
	u.name("FileDescriptorName", listenerName, l.Name)
	if l.Port < 1 || l.Port > 65535 {
		return nil, fmt.Errorf("render %s: port %d is not between 1 and 65535", SocketUnit(l.Name), l.Port)
	}
	u.section("Unit")
	u.line("Description", "Mailstead IMAP listener "+l.Name)

	u.section("Socket")
	if err := bind(u, l); err != nil {
		return nil, fmt.Errorf("render %s: %w", SocketUnit(l.Name), err)
	}
	u.set("FileDescriptorName", l.Name)
	u.set("Service", LoginUnit(l.Name))
	u.set("Backlog", 4096)
	u.set("NoDelay", "yes")
	u.set("KeepAlive", "yes")

	u.section("Install")
	u.set("WantedBy", "sockets.target")
	return u.bytes()
}

func bind(u *unit, l schema.Listener) error {
	addr := netip.IPv6Unspecified()
	if l.Address == "" {
		// systemd binds IPv4 alone where the kernel has no IPv6.
		u.set("ListenStream", l.Port)
	} else {
		var err error
		if addr, err = netip.ParseAddr(l.Address); err != nil || addr.Zone() != "" {
			return fmt.Errorf("%q is not an IP address", l.Address)
		}
		addr = addr.Unmap()
		u.set("ListenStream", netip.AddrPortFrom(addr, uint16(l.Port)))
	}
	switch {
	case addr == netip.IPv6Unspecified():
		u.set("BindIPv6Only", "both") // whatever net.ipv6.bindv6only says
	case !addr.IsLoopback() && !addr.IsUnspecified():
		u.set("FreeBind", "yes") // at boot the address may come after the socket
	}
	return nil
}

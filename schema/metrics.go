package schema

import (
	"fmt"
	"net/netip"
)

// Metrics is where the metrics are served.
type Metrics struct {
	Origin  Pos
	Address string // an IP address; "" is every address
	Port    int
	Socket  string // path of a unix socket in their place; "": none
}

// metrics completes them. It comes after listeners and web.
func (c *completer) metrics() {
	s := c.spot.at("metrics")
	var place struct {
		Address, Socket string
		Port            int
	}
	if !s.exists() || !c.part(&place, "metrics") {
		return
	}
	m := &Metrics{Origin: s.pos(), Address: place.Address, Port: place.Port, Socket: place.Socket}
	if m.Address != "" {
		ip, err := netip.ParseAddr(m.Address)
		if err != nil || ip.Is4In6() || ip.IsMulticast() {
			s.at("address").faultOfValue(CodeValue, "is no IP address that a server can listen on: "+quote(m.Address), "write one such as 127.0.0.1 or ::1")
			return
		}
		m.Address = ip.String()
	}
	for _, l := range c.host.Listeners {
		if m.Socket == "" && l.Port == m.Port && overlap(l.Address, m.Address) {
			s.fault(CodeDuplicate, fmt.Sprintf("listens where the listener %s does (%s)", l.Name, l.Origin), "give it another port")
			return
		}
	}
	if w := c.host.Web; w != nil && m.Socket == "" && w.Port == m.Port && overlap(w.Address, m.Address) {
		s.fault(CodeDuplicate, fmt.Sprintf("listens where the web page does (%s)", w.Origin), "give it another port")
		return
	}
	c.host.Metrics = m
}

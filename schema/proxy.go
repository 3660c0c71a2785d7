package schema

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Proxy is the servers that a listener stands in front of.
type Proxy struct {
	// Server, ServerName and Port are what the description says of the one server; ""
	// and 0 with ByUser.
	Server     string
	ServerName string
	Port       int
	TLS        TLSMode
	CA         string // path of a PEM file
	ByUser     bool   // the hosts of the description, each for its users
	Refer      bool   // clients are sent to the server
	// ForwardAddress has the server told where the client is.
	ForwardAddress bool
	Webmail        []string // addresses and nets

	Servers []ProxyServer  `json:",omitempty"`
	Users   map[string]int `json:",omitempty"` // with ByUser: which of Servers has whose mail
}

// ProxyServer is a server behind a proxy.
type ProxyServer struct {
	Host string // a DNS name or an IP address
	Port int
	TLS  TLSMode
	Name string // that its certificate must have; "" is Host
}

// proxy completes what a listener stands in front of. The hosts of a fleet are known
// only when all of them are, see routes.
func (c *completer) proxy(l *Listener, s spot) *Proxy {
	p := l.Proxy
	if p == nil {
		return nil
	}
	if l.ClientCertificates != nil {
		s.fault(CodeValue, "cannot be together with clientCertificates: what a client shows to a proxy proves nothing to the server behind it", "")
	}
	checkNets(s.at("webmail"))
	for _, name := range []string{"server", "port", "serverName"} {
		if p.ByUser && s.at(name).exists() {
			s.at(name).fault(CodeValue, "is for one server, and with byUser it goes by the user", "leave one of them out")
		}
	}
	if p.ByUser {
		return p
	}
	if p.Server == "" {
		s.fault(CodeMissing, "names no server", `write server: "imap.example.net", or byUser: true for the hosts of this description`)
		return p
	}
	if p.Port == 0 {
		p.Port = 143
		if p.TLS == Implicit {
			p.Port = 993
		}
	}
	c.checkServer(p, l, s)
	p.Servers = []ProxyServer{{p.Server, p.Port, p.TLS, p.ServerName}}
	return p
}

// noName is what cannot be a DNS name: no top-level domain is a number.
var noName = regexp.MustCompile(`:|(?:^|\.)[0-9]+\.?$`)

func (c *completer) checkServer(p *Proxy, l *Listener, s spot) {
	ip, err := netip.ParseAddr(p.Server)
	switch {
	case err != nil && noName.MatchString(p.Server):
		s.at("server").faultOfValue(CodeValue, "is neither a DNS name nor an IP address: "+quote(p.Server), "")
	case p.TLS == Plain && (err != nil || !ip.IsLoopback()):
		s.at("tls").faultOfValue(CodeUnsafe, `is "none", and the server is not on a loopback address: passwords would cross the network in the clear`,
			`set server: "127.0.0.1", or tls: "implicit" or "starttls"`)
	case err == nil && ip.IsLoopback() && p.Port == l.Port:
		s.at("port").faultOfValue(CodeValue, fmt.Sprintf("is %d, that of the listener itself", p.Port), "")
	}
}

// checkNets wants a list of addresses and nets.
func checkNets(s spot) {
	for _, e := range s.elements() {
		text, ok := e.str()
		_, err := netip.ParsePrefix(text)
		if err != nil {
			_, err = netip.ParseAddr(text)
		}
		if ok && err != nil {
			e.faultOfValue(CodeValue, "is neither an address nor a net: "+quote(text), "write one such as 192.0.2.7 or 192.0.2.0/24")
		}
	}
}

// routes says for proxies by user which host has whose mail.
func (l *loader) routes(c *Config, hosts spot) {
	for _, h := range c.Hosts {
		for i := range h.Listeners {
			if p := h.Listeners[i].Proxy; p != nil && p.ByUser {
				l.route(p, c.Hosts, hosts.at(h.Name, "listeners", h.Listeners[i].Name, "proxy", "byUser"))
			}
		}
	}
}

func (l *loader) route(p *Proxy, hosts []*Host, s spot) {
	p.Users = map[string]int{}
	empty := true
	twice := map[string]bool{}
	for _, h := range hosts {
		users := slices.DeleteFunc(slices.Clone(h.Users), func(u User) bool { return u.Elsewhere != "" })
		if len(users) == 0 {
			continue
		}
		empty = false
		server, ok := reachable(h, p.Refer)
		if !ok {
			s.faultOfValue(CodeMissing, fmt.Sprintf("is true, and %s has users, but no listener with TLS that other hosts reach", h.Name), "give it a listener imaps: {}")
			continue
		}
		for _, u := range users {
			if _, taken := p.Users[u.Name]; taken {
				twice[u.Name] = true
			}
			p.Users[u.Name] = len(p.Servers)
		}
		p.Servers = append(p.Servers, server)
	}
	if empty {
		s.faultOfValue(CodeReference, "is true, and no host of this description has users", "")
	}
	names := slices.Sorted(maps.Keys(twice))
	if n := len(names); n > 3 {
		names = append(names[:3], fmt.Sprintf("%d more", n-3))
	}
	if len(names) > 0 {
		s.faultOfValue(CodeDuplicate, "is true, and more than one host has "+strings.Join(names, ", "), "give users.NAME.elsewhere on the hosts that do not have the mail")
	}
}

// reachable gives the listener of a host at which others find it: with TLS from the
// beginning, if there is one; with STARTTLS, if clients are sent there, since that is
// what an IMAP URL means.
func reachable(h *Host, refer bool) (ProxyServer, bool) {
	best := Implicit
	if refer {
		best = STARTTLS
	}
	var found ProxyServer
	for _, l := range h.Listeners {
		ip, err := netip.ParseAddr(l.Address)
		if l.TLS == Plain || l.Proxy != nil || err == nil && ip.IsLoopback() || found.TLS == best || found.Host != "" && l.TLS != best {
			continue
		}
		found = ProxyServer{Host: h.Name, Port: l.Port, TLS: l.TLS}
	}
	return found, found.Host != ""
}

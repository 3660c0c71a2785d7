package adopt

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// imapproxy has the daemon listen where web mail finds imapproxy now: for its own mail, or
// as a proxy in front of the server that imapproxy was in front of.
func (r *reading) imapproxy() {
	port, address := r.proxy["listen_port"], r.proxy["listen_address"]
	n, err := strconv.Atoi(port.Value)
	if err != nil {
		n = 143
	}
	l := Listener{Name: "imapproxy", Address: everyAddress(address.Value), Port: n, TLS: "none", Comment: port.comment()}
	if !loopback(l.Address) {
		where := address.Origin
		if l.Address == "" {
			where = port.Origin
		}
		l.Address = "127.0.0.1"
		r.host.note(where, true, "imapproxy listened on more than a loopback address, without TLS: the listener imapproxy is on 127.0.0.1 alone")
	}
	r.behind(&l)
	r.host.Listeners = append(r.host.Listeners, l)
}

// behind says what server imapproxy was in front of.
func (r *reading) behind(l *Listener) {
	server, port := r.proxy["server_hostname"], r.proxy["server_port"]
	n, err := strconv.Atoi(port.Value)
	if err != nil || n < 1 || n > 65535 {
		n = 143
	}
	name := strings.ToLower(strings.TrimSuffix(server.Value, "."))
	here := name == "" || name == "localhost" || loopback(name) || name == r.host.Name
	if here && r.servesAt(n) {
		r.host.note(cmp.Or(server.Origin, port.Origin), false, "imapproxy needs no successor in front of this host's own mail: an account stays open for a minute after its last session, so that logging in again costs little")
		return
	}
	p := &Proxy{Server: name, Port: n, TLS: "starttls", CA: r.proxy.Get("tls_ca_file")}
	if here {
		p.Server, p.TLS, p.CA = "127.0.0.1", "none", ""
	} else if n == 143 {
		p.Port = 0
	}
	l.Proxy = p
	l.Comment = strings.TrimPrefix(l.Comment+"; "+server.comment(), "; ")
	if p.TLS == "starttls" {
		r.host.note(server.Origin, true, "imapproxy did not insist on TLS to %s: the proxy does, and checks the certificate", name)
	}
	if _, err := netip.ParseAddr(name); err == nil && !here {
		r.host.note(server.Origin, true, "%s is an address, which few certificates are for: name what its certificate is for in listeners: imapproxy: proxy: serverName", name)
	}
	r.keeping()
}

// servesAt tells whether a port is one of Courier's here.
func (r *reading) servesAt(port int) bool {
	return slices.ContainsFunc(r.host.Listeners, func(l Listener) bool { return l.Port == port || l.Port == 0 && l.Name == "imap" && port == 143 })
}

// keeping takes over how much imapproxy kept, and for how long.
func (r *reading) keeping() {
	for _, o := range []struct {
		option, limit string
		most          int
	}{{"cache_size", "proxyKept", 100_000}, {"cache_expiration_time", "proxyKeptTime", 1700}} {
		s := r.proxy[o.option]
		row, _ := find(imapproxy, o.option)
		if n, err := strconv.Atoi(s.Value); err == nil && n > 0 && !row.usual(s.Value) {
			r.host.Fields = append(r.host.Fields, Field{Name: "limits: " + o.limit, Value: strconv.Itoa(min(n, o.most)), Comment: s.comment()})
		}
	}
}

// Proxy is what a listener was in front of.
type Proxy struct {
	Server string
	Port   int // 0: the one that TLS implies
	TLS    string
	CA     string // file; "": the system's
}

func (p *Proxy) text() string {
	parts := []string{"server: " + quote(p.Server)}
	if p.Port != 0 {
		parts = append(parts, "port: "+strconv.Itoa(p.Port))
	}
	parts = append(parts, "tls: "+quote(p.TLS))
	if p.CA != "" {
		parts = append(parts, "ca: "+quote(p.CA))
	}
	return "proxy: {" + strings.Join(parts, ", ") + "}"
}

package config

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Proxy says which servers a listener stands in front of: it serves none of this
// host's mail.
type Proxy struct {
	Servers []Server `json:"servers"`
	// Users says whose mail is on which of the servers, by its place in Servers; nil:
	// there is one, and it has everybody's.
	Users   map[string]int `json:"users,omitempty"`
	CA      string         `json:"ca,omitempty"`      // path of a PEM file: whose certificates the servers may have
	Refer   bool           `json:"refer,omitempty"`   // clients are sent to their server (RFC 2221) instead of being served
	Forward bool           `json:"forward,omitempty"` // servers are told the address of the client, by ID
	Webmail []string       `json:"webmail,omitempty"` // addresses and nets that many users share
	PEM     []byte         `json:"pem,omitempty"`     // what the daemon has read from CA; not in the file
}

// Server is an IMAP server behind a proxy.
type Server struct {
	Host string `json:"host"` // a domain name or an IP address
	Port int    `json:"port"`
	TLS  string `json:"tls"`            // STARTTLS, Implicit or, on a loopback address, Plain
	Name string `json:"name,omitempty"` // that its certificate must have; "": Host
}

func (p *Proxy) check() error {
	if p == nil {
		return nil
	}
	var f faults
	if len(p.Servers) == 0 || p.Users == nil && len(p.Servers) > 1 {
		f.add("servers: %d, and nothing says whose mail is where", len(p.Servers))
	}
	secure := false
	for _, s := range p.Servers {
		f.at("servers: "+s.Host, s.check())
		secure = secure || s.TLS != Plain
	}
	if secure || p.CA != "" {
		f.at("ca", checkPath(p.CA))
	}
	for user, i := range p.Users {
		f.at("users", checkText(user))
		if user == "" || len(user) > maxUserName || i < 0 || i >= len(p.Servers) {
			f.add("users: %q, on server %d of %d", user, i, len(p.Servers))
		}
	}
	if _, err := ParseNets(p.Webmail); err != nil {
		f.at("webmail", err)
	}
	return errors.Join(f...)
}

func (s Server) check() error {
	var f faults
	loopback := false
	if a, err := netip.ParseAddr(s.Host); err == nil {
		loopback = a.IsLoopback()
	} else {
		f.at("host", checkDomain(s.Host))
	}
	if s.Port < 1 || s.Port > 65535 {
		f.add("port: %d is not between 1 and 65535", s.Port)
	}
	if s.Name != "" {
		f.at("name", checkDomain(s.Name))
	}
	switch s.TLS {
	case STARTTLS, Implicit:
	case Plain:
		if !loopback {
			f.add("tls: none is for loopback addresses only")
		}
	default:
		f.add("tls: %q: one of %q, %q and %q", s.TLS, STARTTLS, Implicit, Plain)
	}
	return errors.Join(f...)
}

// Address is host:port.
func (s Server) Address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// ParseNets reads a list of addresses and nets.
func ParseNets(texts []string) ([]netip.Prefix, error) {
	var nets []netip.Prefix
	for _, text := range texts {
		n, err := parseNet(text)
		if err != nil {
			return nil, err
		}
		nets = append(nets, n)
	}
	return nets, nil
}

// parseNet reads an IP address, or a net as in 192.0.2.0/24.
func parseNet(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		n, err := netip.ParsePrefix(text)
		return n.Masked(), err
	}
	a, err := netip.ParseAddr(text)
	if err == nil && a.Zone() != "" {
		err = errors.New(text + " has a zone")
	}
	return netip.PrefixFrom(a, a.BitLen()), err
}

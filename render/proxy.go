package render

import (
	"slices"

	"mailstead/imapserver/config"
	"mailstead/schema"
)

func renderProxy(p *schema.Proxy) *config.Proxy {
	if p == nil {
		return nil
	}
	c := &config.Proxy{Users: p.Users, Refer: p.Refer, Forward: p.ForwardAddress, Webmail: p.Webmail}
	for _, s := range p.Servers {
		c.Servers = append(c.Servers, config.Server{Host: s.Host, Port: s.Port, TLS: string(s.TLS), Name: s.Name})
	}
	if slices.ContainsFunc(p.Servers, func(s schema.ProxyServer) bool { return s.TLS != schema.Plain }) {
		c.CA = p.CA
	}
	return c
}

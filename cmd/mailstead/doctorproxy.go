package main

import (
	"context"
	"os"

	"mailstead/imapserver/config"
	"mailstead/imapserver/proxy"
	"mailstead/reconcile/doctor"
	"mailstead/schema"
)

// askBehind connects to a server that a listener stands in front of, as its proxy does.
func askBehind(ctx context.Context, l schema.Listener, s schema.ProxyServer) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	p := &config.Proxy{CA: l.Proxy.CA}
	if s.TLS != schema.Plain {
		var err error
		if p.PEM, err = os.ReadFile(p.CA); err != nil {
			return err
		}
	}
	return proxy.Visit(ctx, config.Server{Host: s.Host, Port: s.Port, TLS: string(s.TLS), Name: s.Name}, config.Listener{Name: l.Name, Proxy: p})
}

// behind looks at the servers that the listeners stand in front of, at each once.
func (u *checkup) behind(ctx context.Context) {
	type place struct {
		schema.ProxyServer
		ca string
	}
	seen := map[place]bool{}
	for _, l := range u.host.Listeners {
		if l.Proxy == nil {
			continue
		}
		for _, s := range l.Proxy.Servers {
			at := place{s, l.Proxy.CA}
			if seen[at] || ctx.Err() != nil {
				continue
			}
			seen[at] = true
			if err := askBehind(ctx, l, s); err != nil {
				u.Add(doctor.New(doctor.ServerFails, "listener "+l.Name, err.Error()).At(l.Origin.String()))
			}
		}
	}
	if len(seen) > 0 {
		u.Look("servers", len(seen))
	}
}

package imapserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/metrics"
)

// gauges are what is looked up when somebody asks.
func gauges(s control.Status) []metrics.Series {
	var all []metrics.Series
	seen := map[string]bool{} // one may have several addresses
	for _, l := range s.Listeners {
		if seen[l.Name] {
			continue
		}
		seen[l.Name] = true
		all = append(all, metrics.Series{Name: metrics.Sessions, Labels: []string{l.Name}, Sum: float64(s.On[l.Name])})
	}
	for _, p := range s.Proxies {
		all = append(all,
			metrics.Series{Name: metrics.ProxyIdle, Labels: []string{p.Listener}, Sum: float64(p.Idle)},
			metrics.Series{Name: metrics.ProxyStale, Labels: []string{p.Listener}, Sum: float64(p.Stale)})
		for what, n := range map[string]uint64{"tried": p.Logins, "reused": p.Reused, "refused": p.Refused, "failed": p.Failed} {
			all = append(all, metrics.Series{Name: metrics.ProxyLogins, Labels: []string{p.Listener, what}, Sum: float64(n)})
		}
	}
	for _, b := range s.Bundles {
		end, err := time.Parse(time.RFC3339, b.NotAfter)
		if err != nil || b.Fingerprint == "" {
			continue
		}
		all = append(all, metrics.Series{Name: metrics.Certificate, Labels: []string{b.Name}, Sum: float64(end.Unix())})
	}
	return append(all,
		metrics.Series{Name: metrics.Users, Sum: float64(s.Users.Count)},
		metrics.Series{Name: metrics.Build, Labels: []string{s.Version}, Sum: 1})
}

// metrics gives all that there is. A login that does not answer leaves its part out.
func (p *Parted) metrics(ctx context.Context) []metrics.Series {
	status, err := p.Status(ctx)
	if err != nil {
		p.log.Warn("metrics are not complete", "err", err)
	}
	p.heard.mu.Lock()
	workers := len(p.heard.workers)
	p.heard.mu.Unlock()
	all := append(gauges(status), metrics.Series{Name: metrics.Workers, Sum: float64(workers)})
	return append(all, p.heard.counts.List()...)
}

// metrics gives all that there is: there are no workers.
func (i *Inline) metrics(context.Context) []metrics.Series {
	return append(gauges(i.front.status()), i.heard.counts.List()...)
}

// measured is a server that has metrics.
type measured interface {
	metrics(ctx context.Context) []metrics.Series
}

// aboutMetrics adds to a status what there is of metrics.
func (r *running) aboutMetrics(ctx context.Context, s *control.Status) (err error) {
	s.Metrics, err = json.Marshal(r.server.(measured).metrics(ctx))
	return err
}

// ScrapeDaemon asks the daemon whose control socket is at path for the metrics.
func ScrapeDaemon(ctx context.Context, path string) ([]metrics.Series, error) {
	s, err := control.Ask(ctx, path, control.Request{Verb: control.VerbMetrics})
	if err == nil && s.Error != "" {
		err = errors.New(s.Error)
	}
	if err != nil {
		return nil, err
	}
	var all []metrics.Series
	if err := json.Unmarshal(s.Metrics, &all); err != nil {
		return nil, fmt.Errorf("ask %s: %w", path, err)
	}
	return all, nil
}

// Scrape asks the auth that listens at path for the metrics.
func Scrape(ctx context.Context, path string) ([]metrics.Series, error) {
	c, err := handoff.Dial(ctx, path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if err := errors.Join(c.Send(&handoff.Hello{Metrics: true}), c.Send(&handoff.Scrape{Serial: 1})); err != nil {
		return nil, err
	}
	m, err := c.Receive()
	if err != nil {
		return nil, fmt.Errorf("ask auth: %w", err)
	}
	answer, ok := m.(*handoff.State)
	if !ok {
		return nil, fmt.Errorf("ask auth: unexpected %T", m)
	}
	var all []metrics.Series
	if err := json.Unmarshal(answer.Data, &all); err != nil {
		return nil, fmt.Errorf("ask auth: %w", err)
	}
	return all, nil
}

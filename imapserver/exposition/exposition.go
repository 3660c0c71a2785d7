// Package exposition serves the metrics as Prometheus reads them. "mailstead
// metrics" is made of it: a process of its own, which has a socket that systemd
// passes and the way to auth, and neither mail nor passwords. It imports, of the
// project, the table of metrics.
package exposition

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mailstead/imapserver/metrics"
)

// The bounds of what somebody may ask.
const (
	scrapeTimeout = 15 * time.Second
	maxScrapes    = 4       // at once
	maxHeader     = 8 << 10 // octets of a request
)

// Source gives the metrics as they are at this moment.
type Source func(ctx context.Context) ([]metrics.Series, error)

// Handler answers GET /metrics. Without an answer of the source there are the
// metrics of no role but mailstead_up, which is 0.
func Handler(log *slog.Logger, source Source) http.Handler {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(&collector{log: log, source: source})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: faults{log}, MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout, DisableCompression: true,
	}))
	return mux
}

// Serve serves it on l until ctx ends.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadTimeout: scrapeTimeout, WriteTimeout: 2 * scrapeTimeout, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// faults is where promhttp logs.
type faults struct{ log *slog.Logger }

// Println is promhttp.Logger's.
func (f faults) Println(v ...any) { f.log.Error("metrics not served", "err", v) }

// collector asks the source whenever somebody asks it.
type collector struct {
	log    *slog.Logger
	source Source
}

// Describe is prometheus.Collector's.
func (c *collector) Describe(all chan<- *prometheus.Desc) {
	for _, row := range metrics.Table {
		all <- desc(row)
	}
}

// Collect is prometheus.Collector's.
func (c *collector) Collect(all chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout/2)
	defer cancel()
	series, err := c.source(ctx)
	up := 1.0
	if err != nil {
		c.log.Error("auth gives no metrics", "err", err)
		up = 0
	}
	for _, s := range append(series, metrics.Series{Name: metrics.Up, Sum: up}) {
		if m := metric(s); m != nil {
			all <- m
		}
	}
}

func desc(row metrics.Row) *prometheus.Desc {
	var labels []string
	for _, l := range row.Labels {
		labels = append(labels, l.Name)
	}
	return prometheus.NewDesc(row.Name, row.Help, labels, nil)
}

// metric makes one of a series; nil for what the table does not have.
func metric(s metrics.Series) prometheus.Metric {
	row, ok := metrics.Find(s.Name)
	if !ok {
		return nil
	}
	var m prometheus.Metric
	var err error
	switch row.Type {
	case metrics.Counter:
		m, err = prometheus.NewConstMetric(desc(row), prometheus.CounterValue, s.Sum, s.Labels...)
	case metrics.Gauge:
		m, err = prometheus.NewConstMetric(desc(row), prometheus.GaugeValue, s.Sum, s.Labels...)
	case metrics.Histogram:
		if len(s.Buckets) != len(row.Buckets)+1 {
			return nil
		}
		below, sum := map[float64]uint64{}, uint64(0)
		for i, bound := range row.Buckets {
			sum += s.Buckets[i]
			below[bound] = sum
		}
		m, err = prometheus.NewConstHistogram(desc(row), s.Count, s.Sum, below, s.Labels...)
	}
	if err != nil {
		return nil
	}
	return m
}

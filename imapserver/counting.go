package imapserver

import (
	"context"
	"log/slog"
	"time"

	"mailstead/imapserver/metrics"
)

// counted is a log that counts the lines which say that something is wrong.
func counted(log *slog.Logger, c *metrics.Counts) *slog.Logger {
	return slog.New(countingHandler{log.Handler(), c})
}

type countingHandler struct {
	slog.Handler
	counts *metrics.Counts
}

// Handle is slog.Handler's.
func (h countingHandler) Handle(ctx context.Context, r slog.Record) error {
	switch {
	case r.Level >= slog.LevelError:
		h.counts.Add(metrics.Logged, 1, "error")
	case r.Level >= slog.LevelWarn:
		h.counts.Add(metrics.Logged, 1, "warn")
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs is slog.Handler's.
func (h countingHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return countingHandler{h.Handler.WithAttrs(attrs), h.counts}
}

// WithGroup is slog.Handler's.
func (h countingHandler) WithGroup(name string) slog.Handler {
	return countingHandler{h.Handler.WithGroup(name), h.counts}
}

// doneBy counts the commands and octets of a session.
func (m *mail) doneBy(s *liveSession) func(command string, took time.Duration) {
	var in, out int64
	return func(command string, took time.Duration) {
		if command != "IDLE" {
			m.reports.Observe(metrics.Commands, took, command)
		}
		a := s.Activity()
		m.reports.Add(metrics.Octets, float64(a.In-in), "in")
		m.reports.Add(metrics.Octets, float64(a.Out-out), "out")
		in, out = a.In, a.Out
	}
}

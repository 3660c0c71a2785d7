package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"

	"mailstead/imapserver/handoff"
)

// selfTest is the listener of SelfTest's own connection; no other has no name.
const selfTest = ""

// beginTest looks at what can be seen without a connection, and has Shutdown
// wait for the rest.
func (s *Server) beginTest() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return errors.New("shutting down")
	}
	if s.settings.Load() == nil {
		return errors.New("not configured yet")
	}
	for l, alive := range s.accepts {
		if !alive {
			return fmt.Errorf("nobody accepts connections of %s", l.Addr())
		}
	}
	s.serving.Add(1)
	return nil
}

// SelfTest goes the way of a client up to a greeting and LOGOUT, in memory but
// by the same code, and looks that every listener is still being accepted from.
// It is what feeds the watchdog.
func (s *Server) SelfTest(ctx context.Context) error {
	if err := s.beginTest(); err != nil {
		return err
	}
	defer s.serving.Done()
	client, theirs, err := handoff.StreamPair()
	if err != nil {
		return err
	}
	defer client.Close()
	server, err := handoff.Stream(theirs)
	if err != nil {
		return err
	}
	s.serving.Go(func() {
		defer server.Close()
		s.serve(server, selfTest, netip.Addr{}, slog.New(slog.DiscardHandler), nil)
	})
	defer context.AfterFunc(ctx, func() { client.Close() })()
	if _, err := io.WriteString(client, "x LOGOUT\r\n"); err != nil {
		return err
	}
	said, err := io.ReadAll(io.LimitReader(client, 4096))
	if err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	if !strings.HasPrefix(string(said), "* OK ") || !strings.Contains(string(said), "\r\nx OK ") {
		return fmt.Errorf("self-test: unexpected answer %q", said)
	}
	return nil
}

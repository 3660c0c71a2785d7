package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// HelperSource starts mailstead-pam: as a child of this process, or by asking
// systemd for one. Start may be called from many goroutines.
type HelperSource interface {
	Start(ctx context.Context) (*Helper, error)
}

// Helper is a running mailstead-pam. Kill ends it whatever it is doing, may be
// called twice and does not wait.
type Helper struct {
	Pipe net.Conn // to its stdin, from its stdout
	Kill func()

	logins     int
	generation int
}

func (h *Helper) end() {
	h.Pipe.Close()
	h.Kill()
}

// helperGrace is how much later than a helper should have cut its login off it is
// itself taken for one that hangs. It kills what is late, and goes on; this is for
// one that cannot.
const helperGrace = time.Second

// pool is the helpers. PAM modules block, fork and crash, and two threads in
// one process are no faster than one, so each login has a helper for itself.
type pool struct {
	source HelperSource
	limits Limits
	log    *slog.Logger
	queue  *queue

	mu         sync.Mutex
	idle       []*Helper
	closed     bool
	generation int // helpers of an older one are not used again
}

func newPool(s HelperSource, l Limits, log *slog.Logger) *pool {
	return &pool{source: s, limits: l, log: log, queue: newQueue(max(1, l.Helpers), l.Queue)}
}

func (p *pool) line() *queue { return p.queue }

// check asks PAM.
func (p *pool) check(ctx context.Context, c *handoff.Credentials) (config.User, finding) {
	if p.source == nil {
		return config.User{}, unavailable(errors.New("no helper for PAM"))
	}
	r := handoff.PAMRequest{User: c.User, Password: c.Password, Within: int(p.limits.HelperTimeout.Milliseconds())}
	if c.Remote.IsValid() {
		r.Remote = c.Remote.Unmap().String()
	}
	answer, err := p.ask(ctx, r)
	if err != nil {
		return config.User{}, unavailable(err)
	}
	f := unavailable(fmt.Errorf("PAM: %s", answer.Detail))
	switch answer.Result {
	case handoff.PAMOK:
		return config.User{Name: c.User}, good
	case handoff.PAMRefused:
		f = refused
	case handoff.PAMExpired:
		f = finding{code: "EXPIRED", text: "Your password or account has expired."}
	case handoff.PAMAccount:
		f = finding{code: "AUTHORIZATIONFAILED", text: "Your account may not be used here now."}
	}
	return config.User{}, f.because("PAM: " + answer.Detail)
}

// ask takes a helper, and another if the first has died since it was last
// used. One that hangs or misbehaves is killed; the login is not tried again,
// for it may be what the helper died of.
func (p *pool) ask(ctx context.Context, r handoff.PAMRequest) (handoff.PAMAnswer, error) {
	for {
		h, fresh, err := p.take(ctx)
		if err != nil {
			return handoff.PAMAnswer{}, err
		}
		answer, err := h.ask(ctx, r, p.limits.HelperTimeout)
		if err == nil {
			p.give(h)
			return answer, nil
		}
		h.end()
		if gone := errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET); gone && !fresh {
			p.log.WarnContext(ctx, "PAM helper has died", "err", err)
			continue
		}
		return handoff.PAMAnswer{}, fmt.Errorf("PAM helper: %w", err)
	}
}

func (h *Helper) ask(ctx context.Context, r handoff.PAMRequest, timeout time.Duration) (handoff.PAMAnswer, error) {
	var answer handoff.PAMAnswer
	if err := h.Pipe.SetDeadline(time.Now().Add(timeout + helperGrace)); err != nil {
		return answer, err
	}
	stop := context.AfterFunc(ctx, func() { h.Pipe.SetDeadline(time.Unix(1, 0)) })
	h.logins++
	err := handoff.WriteFrame(h.Pipe, r)
	if err == nil {
		err = handoff.ReadFrame(h.Pipe, &answer)
	}
	if !stop() && err == nil {
		err = ctx.Err() // or the deadline of the next login may be undone
	}
	return answer, err
}

// take gives an idle helper or starts one, which is fresh.
func (p *pool) take(ctx context.Context) (h *Helper, fresh bool, err error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, false, errors.New("the daemon stops")
	}
	generation := p.generation
	if n := len(p.idle); n > 0 {
		h, p.idle = p.idle[n-1], p.idle[:n-1]
	}
	p.mu.Unlock()
	if h != nil {
		return h, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.limits.HelperTimeout)
	defer cancel()
	h, err = p.source.Start(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("start PAM helper: %w", err)
	}
	h.generation = generation
	return h, true, nil
}

// give puts a helper back, or ends it where there are enough or it is old: PAM
// modules leak.
func (p *pool) give(h *Helper) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || h.generation != p.generation || len(p.idle) >= p.limits.IdleHelpers || h.logins >= p.limits.HelperLogins {
		h.end()
		return
	}
	p.idle = append(p.idle, h)
}

// close ends the idle helpers, and for good those to come.
func (p *pool) close(forGood bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = p.closed || forGood
	p.generation++
	for _, h := range p.idle {
		h.end()
	}
	p.idle = nil
}

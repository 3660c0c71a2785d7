package imapserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"mailstead/imapserver/handoff"
)

// spawnLink is auth's way to spawn. It is opened when a session needs it, and
// again after spawn has died, so that neither of the two needs the other to
// start.
type spawnLink struct {
	log  *slog.Logger
	path string

	mu sync.Mutex
	ch *spawnChannel // nil while there is none
}

// spawnChannel is one connection to spawn.
type spawnChannel struct {
	*handoff.Conn
	answers calls
}

// channel gives the connection that there is, or opens one.
func (l *spawnLink) channel(ctx context.Context) (*spawnChannel, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ch != nil {
		return l.ch, nil
	}
	c, err := handoff.Dial(ctx, l.path)
	if err != nil {
		return nil, fmt.Errorf("reach spawn: %w", err)
	}
	l.ch = &spawnChannel{Conn: c}
	go l.listen(l.ch)
	return l.ch, nil
}

func (l *spawnLink) listen(ch *spawnChannel) {
	for {
		m, err := ch.Receive()
		if err != nil {
			break
		}
		o, ok := m.(*handoff.Opened)
		if !ok {
			l.log.Error("spawn does not keep to its messages")
			break
		}
		ch.answers.answer(o.Serial, o)
	}
	l.drop(ch)
}

// drop ends a connection: the next session opens another one.
func (l *spawnLink) drop(ch *spawnChannel) {
	l.mu.Lock()
	if l.ch == ch {
		l.ch = nil
	}
	l.mu.Unlock()
	ch.answers.close()
	ch.Close()
}

// open has spawn give a session to a worker. A connection that has died unseen is
// replaced once; a session that was on its way then may have been begun, and is
// not tried again.
func (l *spawnLink) open(ctx context.Context, s *handoff.Session) (worker uint64, err error) {
	for range 2 {
		var ch *spawnChannel
		if ch, err = l.channel(ctx); err != nil {
			return 0, err
		}
		sent := false
		var m handoff.Message
		m, err = ch.answers.call(ctx, func(serial uint64) error {
			s.Serial = serial
			err := ch.Send(s)
			sent = err == nil
			return err
		})
		if err == nil {
			o := m.(*handoff.Opened)
			if o.Error != "" {
				return 0, errors.New(o.Error)
			}
			return o.Worker, nil
		}
		if sent {
			return 0, fmt.Errorf("ask spawn: %w", err)
		}
		l.drop(ch)
	}
	return 0, fmt.Errorf("ask spawn: %w", err)
}

// tell sends spawn what it does not answer. Without a spawn there is no worker that it
// could be about.
func (l *spawnLink) tell(m handoff.Message) {
	ctx, cancel := context.WithTimeout(context.Background(), doorTimeout)
	defer cancel()
	if ch, err := l.channel(ctx); err == nil {
		ch.Send(m)
	}
}

func (l *spawnLink) close() {
	l.mu.Lock()
	ch := l.ch
	l.mu.Unlock()
	if ch != nil {
		l.drop(ch)
	}
}

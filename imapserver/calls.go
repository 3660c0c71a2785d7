package imapserver

import (
	"context"
	"errors"
	"sync"

	"mailstead/imapserver/handoff"
)

// calls are questions that were sent over a channel and wait for their answers.
type calls struct {
	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan handoff.Message
	closed  bool
}

// errGone says that the peer will not answer any more.
var errGone = errors.New("the other process is gone")

// call sends a question with a serial number of its own, and waits for what
// answer is called with for that number.
func (c *calls) call(ctx context.Context, send func(serial uint64) error) (handoff.Message, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, errGone
	}
	if c.waiting == nil {
		c.waiting = map[uint64]chan handoff.Message{}
	}
	c.last++
	serial, got := c.last, make(chan handoff.Message, 1)
	c.waiting[serial] = got
	c.mu.Unlock()
	err := send(serial)
	if err == nil {
		select {
		case m, ok := <-got:
			return given(m, ok)
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if c.forget(serial) {
		return nil, err
	}
	m, ok := <-got // at the last moment: it may hold a descriptor
	return given(m, ok)
}

func given(m handoff.Message, ok bool) (handoff.Message, error) {
	if !ok {
		return nil, errGone
	}
	return m, nil
}

// forget tells whether nobody has answered the call of that number, and nobody will.
func (c *calls) forget(serial uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, waits := c.waiting[serial]
	delete(c.waiting, serial)
	return waits
}

// answer gives m to the call of that number; false where nobody waits for it.
func (c *calls) answer(serial uint64, m handoff.Message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.waiting[serial]
	if got == nil {
		return false
	}
	delete(c.waiting, serial)
	got <- m
	return true
}

// close ends all calls, and those to come.
func (c *calls) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for serial, got := range c.waiting {
		close(got)
		delete(c.waiting, serial)
	}
}

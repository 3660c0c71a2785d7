package session

import (
	"context"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/wire"
)

// pause is the least time between two pushes to an idle client: a flood of
// deliveries reaches it in lots.
const pause = 50 * time.Millisecond

// idle is IDLE (RFC 2177). While another goroutine waits for the client's
// DONE, this one tells what happens to the mailbox.
func (s *session) idle(ctx context.Context) (imap.ResponseCode, error) {
	s.w.Continue("idling")
	if s.selected != nil && s.notify.ofSelected() {
		if err := s.poll(ctx, true, true); err != nil {
			return "", s.untold(err)
		}
		s.repeatExists()
	}
	if err := s.w.Flush(); err != nil {
		return "", lost(err)
	}
	s.between()
	done := make(chan error, 1)
	go func() { done <- s.r.ReadDone() }()
	return "", s.push(ctx, done, true)
}

// repeatExists tells again how many messages there are, if that was said in the
// answer to a FETCH or the like. Deviation: Thunderbird 140 asks for new messages
// when it is told of them in IDLE or by NOOP, and not when it is elsewhere: of three
// that come at once it would show one, and the others ten minutes later.
func (s *session) repeatExists() {
	if s.selected.aside {
		s.selected.aside = false
		s.writeCount(uint64(s.selected.view.Len()), "EXISTS")
	}
}

// await waits for the client's next command and meanwhile tells what it has
// asked for by NOTIFY.
func (s *session) await(ctx context.Context) error {
	if s.notify == nil || s.r.Waiting() {
		return nil
	}
	s.byUID = false
	if s.selected != nil && s.notify.ofSelected() && !s.notify.delayed() && s.selected.view.Withholds() { // nothing else may wake it
		if err := s.poll(ctx, true, false); err != nil {
			return s.untold(err)
		}
	}
	if err := s.w.Flush(); err != nil {
		return lost(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.r.Wait() }()
	return s.push(ctx, done, false)
}

// push tells updates until the client is done. An error of its own must not
// leave the reading goroutine behind: it gives the Reader back by what it reads
// or, once the connection is closed, by what it cannot.
func (s *session) push(ctx context.Context, done <-chan error, idle bool) error {
	var wake <-chan struct{}
	var rest <-chan time.Time
	if s.selected != nil && s.notify.ofSelected() {
		wake = s.selected.view.Wake()
	}
	for {
		ready, news := wake, s.notify.wake()
		if rest != nil {
			ready, news = nil, nil
		}
		var err error
		select {
		case err := <-done:
			return lost(err)
		case <-rest:
			rest = nil
			continue
		case <-ready:
			s.telling(true)
			err = s.poll(ctx, idle || !s.notify.delayed(), false)
		case <-news:
			s.telling(true)
			err = s.tellNews(ctx)
		}
		if e := s.w.Flush(); err == nil && e != nil {
			err = e
		}
		s.telling(false)
		if err != nil {
			return s.abandon(err, done)
		}
		rest = time.After(pause)
	}
}

// abandon ends the session from the middle of IDLE.
func (s *session) abandon(err error, done <-chan error) error {
	s.conn.interrupt(errStopped)
	<-done
	return s.untold(err)
}

// untold ends the session for an error that no tagged response can tell, because the
// client is in the middle of IDLE or has given no command.
func (s *session) untold(err error) error {
	if !fatal(err) && s.w.Err() == nil {
		err = &wire.ByeError{Text: s.convert("IDLE", err).Text}
	}
	return lost(err)
}

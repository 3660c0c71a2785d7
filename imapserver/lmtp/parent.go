package lmtp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"mailstead/imapserver/deliver"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/spawn"
)

// stopTimeout is what deliveries have to end. The unit's TimeoutStopSec is longer.
const stopTimeout = 25 * time.Second

// Parent is the part with privileges, if there are any.
type Parent struct {
	Tables *deliver.Tables
	Log    *slog.Logger
	Front  *spawn.Process // as RunFront serves it
	Spawn  *spawn.Spawner // of workers, as RunWorker serves them
}

// Serve passes the connections to l on to the front until ctx ends, or the front
// does, which is an error. It has closed l when it returns.
func (p *Parent) Serve(ctx context.Context, l *net.UnixListener) error {
	heard := make(chan error, 2)
	go func() { heard <- p.accept(l) }()
	go func() { heard <- p.listen() }()
	var fault error
	select {
	case <-ctx.Done():
	case fault = <-heard:
	}
	l.Close()
	p.Front.Send(&handoff.Stop{})
	late := time.AfterFunc(stopTimeout, p.Front.Kill)
	ended := p.Front.Wait()
	late.Stop()
	end, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	p.Spawn.Stop(end)
	return errors.Join(fault, ended)
}

func (p *Parent) accept(l *net.UnixListener) error {
	for n := 1; ; n++ {
		conn, err := l.AcceptUnix()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		file, err := conn.File()
		conn.Close()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		err = p.Front.Send(&handoff.Session{Open: handoff.Open{ID: strconv.FormatInt(time.Now().Unix(), 36) + strconv.Itoa(n), Stream: file}})
		file.Close()
		if err != nil {
			return fmt.Errorf("pass a connection on: %w", err)
		}
	}
}

// listen answers the front.
func (p *Parent) listen() error {
	room := make(chan struct{}, 64) // workers that are started at once
	for {
		m, err := p.Front.Receive()
		if err != nil {
			return fmt.Errorf("the front is gone: %w", err)
		}
		s, ok := m.(*handoff.Session)
		if !ok {
			p.Front.Kill()
			return fmt.Errorf("the front does not keep to its messages: %T", m)
		}
		room <- struct{}{}
		go func() {
			defer func() { s.Close(); <-room }()
			answer := &handoff.Opened{Serial: s.Serial}
			if err := p.open(s); err != nil {
				f := deliver.AsFault(err)
				if f.Cause != nil {
					p.Log.Error("recipient not served", "address", s.User, "err", f.Cause)
				}
				answer.Error = (&deliver.Fault{Code: f.Code, Enhanced: f.Enhanced, Text: f.Text}).Error()
			}
			p.Front.Send(answer) // or the front is gone, which Receive sees
		}()
	}
}

// open has the worker of an address's owner begin a delivery. Of what the front
// has sent only the address counts, and the stream.
func (p *Parent) open(s *handoff.Session) error {
	user, err := p.Tables.Find(s.User)
	if err != nil {
		return err
	}
	begun := &handoff.Session{
		Open: handoff.Open{User: user.Name, Stream: s.Stream},
		UID:  user.UID, GID: user.GID, Maildir: user.Maildir, Mailbox: user.Mailbox, Roots: user.Roots,
	}
	if q := user.Quota; q != nil {
		begun.Quota = (*handoff.Quota)(q)
	}
	_, err = p.Spawn.Hand(spawn.Identity{UID: user.UID, GID: user.GID}, begun)
	return err
}

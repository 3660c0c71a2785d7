package lmtp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"

	"mailstead/imapserver/confine"
	"mailstead/imapserver/deliver"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/limit"
)

// front speaks LMTP. What it may not do itself it asks its parent for.
type front struct {
	log    *slog.Logger
	parent *handoff.Conn

	mu      sync.Mutex
	serial  uint64
	waiting map[uint64]chan *handoff.Opened
}

// RunFront serves the connections that the parent sends over c until that tells
// it to stop. What has been taken is delivered before it returns.
func RunFront(c *handoff.Conn, host string, log *slog.Logger) error {
	confined([]string{os.TempDir()}, log, confine.OfFront...)
	f := &front{log: log, parent: c, waiting: map[uint64]chan *handoff.Opened{}}
	s := &server{host: host, limits: limit.Default().LMTP, backend: f, log: log}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	err := f.listen(ctx, stop, s, &all)
	stop()
	all.Wait()
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) { // by Stop
		return nil
	}
	return err
}

// listen hears the parent, also after it was told to stop: deliveries end.
func (f *front) listen(ctx context.Context, stop func(), s *server, all *sync.WaitGroup) error {
	room := make(chan struct{}, s.limits.Connections)
	for {
		m, err := f.parent.Receive()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *handoff.Session:
			conn, err := handoff.Stream(m.Stream)
			if err != nil {
				f.log.Error("connection not served", "err", err)
				continue
			}
			if ctx.Err() != nil { // it was accepted while the service stopped
				conn.Close()
				continue
			}
			select {
			case room <- struct{}{}:
				all.Go(func() {
					defer func() { <-room }()
					s.serve(ctx, conn, m.ID)
				})
			default:
				io.WriteString(conn, "421 4.3.2 too many connections; come again\r\n")
				conn.Close()
			}
		case *handoff.Opened:
			f.mu.Lock()
			waiting := f.waiting[m.Serial]
			delete(f.waiting, m.Serial)
			f.mu.Unlock()
			if waiting != nil {
				waiting <- m
			}
		case *handoff.Stop:
			stop()
			go func() { // what is on its way is not asked for any more
				all.Wait()
				f.parent.Close()
			}()
		default:
			return fmt.Errorf("unexpected %T", m)
		}
	}
}

// Recipient has the parent find a user, and start a worker.
func (f *front) Recipient(ctx context.Context, address string) (Recipient, error) {
	ours, theirs, err := handoff.StreamPair()
	if err != nil {
		return nil, err
	}
	opened, err := f.ask(ctx, &handoff.Session{Open: handoff.Open{User: address, Stream: theirs}})
	theirs.Close()
	if err == nil && opened.Error != "" {
		err = deliver.ParseFault(opened.Error)
	}
	if err != nil {
		ours.Close()
		return nil, err
	}
	return &mailbox{address, ours}, nil
}

func (f *front) ask(ctx context.Context, s *handoff.Session) (*handoff.Opened, error) {
	answered := make(chan *handoff.Opened, 1)
	f.mu.Lock()
	f.serial++
	s.Serial = f.serial
	f.waiting[s.Serial] = answered
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.waiting, s.Serial)
		f.mu.Unlock()
	}()
	if err := f.parent.Send(s); err != nil {
		return nil, fmt.Errorf("ask for a worker: %w", err)
	}
	select {
	case m := <-answered:
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

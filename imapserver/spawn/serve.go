package spawn

import (
	"fmt"
	"net"

	"mailstead/imapserver/handoff"
)

// Serve does what auth asks over l, which nobody but the process of that uid may
// do, until l is closed. The end of its connection ends no worker: auth may be
// started anew while its sessions go on.
func (s *Spawner) Serve(l net.Listener, uid int) error {
	for {
		nc, err := l.Accept()
		if err != nil {
			return fmt.Errorf("accept auth: %w", err)
		}
		if c, err := handoff.Over(nc); err == nil {
			go s.serve(c, uid)
		}
	}
}

func (s *Spawner) serve(c *handoff.Conn, uid int) {
	defer c.Close()
	if peer, err := c.Peer(); err != nil || peer != uid {
		s.log.Error("somebody who is not auth asks for a worker", "uid", peer, "err", err)
		return
	}
	slots := make(chan struct{}, 256) // sessions that are handed over at once
	for {
		m, err := c.Receive()
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *handoff.Session:
			slots <- struct{}{}
			go func() {
				defer func() { m.Stream.Close(); <-slots }()
				answer := &handoff.Opened{Serial: m.Serial}
				worker, err := s.Hand(Identity{m.UID, m.GID}, m)
				if answer.Worker = worker; err != nil {
					answer.Error = err.Error()
				}
				c.Send(answer) // or auth is gone, which Receive sees
			}()
		case *handoff.Hangs:
			s.log.Error("worker killed: it hangs", "worker", m.Worker)
			s.dismiss(func(w *worker) bool { return w.number == m.Worker }, (*Process).Kill)
		case *handoff.Retire:
			s.dismiss(func(w *worker) bool { return w.id == Identity{m.UID, m.GID} }, func(p *Process) { p.Send(&handoff.Stop{}) })
		default:
			return
		}
	}
}

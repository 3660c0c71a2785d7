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
				defer func() { m.Close(); <-slots }()
				c.Send(m.Opened(s.Hand(Identity{m.UID, m.GID}, m))) // or auth is gone, which Receive sees
			}()
		case *handoff.Hangs:
			s.log.Error("worker killed: it hangs", "worker", m.Worker)
			s.each(func(w *worker) bool { return w.number == m.Worker }, func(w *worker) { s.end(w); w.proc.Kill() })
		case *handoff.Retire:
			s.each(func(w *worker) bool { return w.id == Identity{m.UID, m.GID} }, func(w *worker) { s.end(w); w.proc.Send(&handoff.Stop{}) })
		case *handoff.Look:
			go func() { // a worker that is being started holds it up
				s.each(func(w *worker) bool { return w.id == Identity{m.UID, m.GID} }, func(w *worker) { w.proc.Send(m) })
				m.Answer.Close()
			}()
		default:
			return
		}
	}
}

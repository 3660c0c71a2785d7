package lmtp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/confine"
	"mailstead/imapserver/deliver"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/limit"
	"mailstead/imapserver/maildir"
)

// linger is for how long a worker waits for another message.
const linger = 10 * time.Second

// worker delivers for one uid.
type worker struct {
	log     *slog.Logger
	channel *handoff.Conn
	deliver *deliver.Deliverer
	patient time.Duration // how long a message may take

	mu      sync.Mutex
	begun   uint64 // deliveries, ever
	running int
	idle    *time.Timer
	all     sync.WaitGroup
}

// RunWorker delivers what the parent sends over c, below roots alone, until that
// tells it to stop.
func RunWorker(c *handoff.Conn, roots []string, log *slog.Logger) error {
	to := confined(roots, log)
	limits := limit.Default().LMTP
	w := &worker{log: log, channel: c, patient: limits.Delivery,
		deliver: deliver.New(&maildir.Ops{}, limits.Message, func(text string, pairs ...any) { log.Warn(text, pairs...) })}
	defer w.all.Wait()
	for {
		m, err := c.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *handoff.Session:
			if !to.Fit(m.Roots, m.Maildir) {
				c.Close() // the message comes again, and the next gets another worker
				m.Stream.Close()
				return nil
			}
			w.begin()
			w.all.Go(func() {
				defer w.end()
				w.serve(m)
			})
		case *handoff.Stop:
			return nil
		default:
			return fmt.Errorf("unexpected %T", m)
		}
	}
}

// confined takes from a worker or a front what it does not need. Without Landlock it may be
// a program with cgo, whose threads the list of system calls would not let start.
func confined(roots []string, log *slog.Logger, calls ...uint32) confine.Roots {
	err := confine.Limits()
	to, none := confine.Files(roots)
	if none == nil {
		err = errors.Join(err, confine.Calls(calls...))
	} else if !errors.Is(none, confine.ErrNoLandlock) {
		err = errors.Join(err, none)
	}
	if err != nil {
		log.Error("process may do more than it needs", "err", err)
	}
	return to
}

func (w *worker) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun++
	w.running++
	if w.idle != nil {
		w.idle.Stop()
	}
}

func (w *worker) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running--; w.running == 0 {
		w.idle = time.AfterFunc(linger, func() {
			w.mu.Lock()
			n, quiet := w.begun, w.running == 0
			w.mu.Unlock()
			if quiet {
				w.channel.Send(&handoff.Idle{Sessions: n}) // or there is no parent any more, which Receive sees
			}
		})
	}
}

// serve delivers one message to one mailbox.
func (w *worker) serve(s *handoff.Session) {
	stream, err := handoff.Stream(s.Stream)
	if err != nil {
		w.log.Error("delivery not begun", "user", s.User, "err", err)
		return
	}
	defer stream.Close()
	h, text, err := receive(stream)
	if err != nil {
		if !errors.Is(err, io.EOF) { // else nobody has sent a message
			w.log.Error("delivery not begun", "user", s.User, "err", err)
		}
		return
	}
	a := answer{Done: true}
	stream.SetDeadline(time.Now().Add(w.patient))
	if err := w.put(s, h, text); err != nil {
		f := deliver.AsFault(err)
		w.log.Error("not delivered", "id", h.ID, "user", s.User, "sender", h.Sender, "octets", h.Octets, "err", err)
		a = answer{Fault: (&deliver.Fault{Code: f.Code, Enhanced: f.Enhanced, Text: f.Text}).Error()}
	} else {
		w.log.Info("delivered", "id", h.ID, "user", s.User, "sender", h.Sender, "octets", h.Octets)
	}
	if line, err := json.Marshal(a); err == nil {
		stream.SetDeadline(time.Now().Add(time.Minute))
		stream.Write(append(line, '\n')) // or the front is gone, and the message comes again
	}
}

func (w *worker) put(s *handoff.Session, h head, text io.Reader) error {
	place := deliver.Place{Maildir: s.Maildir}
	if q := s.Quota; q != nil {
		place.Quota = (*config.Quota)(q)
	}
	return w.deliver.Deliver(place, deliver.Envelope{
		Sender: h.Sender, Recipient: h.Recipient, Mailbox: s.Mailbox, Received: h.Received,
	}, text)
}

package lmtp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/deliver"
)

// endless is how much more than a message may have is read of one, so that the
// client learns that it is too long.
const endless = 1 << 30

// atOnce is how many recipients of one message are delivered to at once.
const atOnce = 8

// data takes a message, and answers once for each recipient, in the order of
// these (RFC 2033 §4.2).
func (c *session) data(arg string) {
	switch {
	case arg != "":
		c.reply(501, "5.5.4", "DATA has no argument")
		return
	case len(c.rcpts) == 0:
		c.reply(503, "5.5.1", "there is no recipient")
		return
	}
	defer c.reset()
	spool, err := newSpool()
	if err != nil {
		c.log.Error("no spool", "err", err)
		c.fault(err)
		return
	}
	defer spool.Close()
	c.reply(354, "", "go on, up to a line with a dot")
	if c.w.Flush() != nil {
		c.ending = true
		return
	}
	buf := &kept{w: bufio.NewWriterSize(spool, 64<<10)}
	whole, err := readData(buf, c.r, c.limits.Message, endless)
	if err != nil { // nobody has been promised anything
		c.log.Warn("message broken off", "id", c.transaction(), "err", err)
		c.lost(err)
		return
	}
	if err := buf.flush(); err != nil {
		c.log.Error("message not spooled", "id", c.transaction(), "err", err)
	}
	for i, done := range c.deliverAll(spool, buf, whole) {
		if len(done) == 0 {
			c.w.Flush() // or the client is gone, and what it was sent arrives all the same
		}
		err := <-done
		if err == nil {
			c.reply(250, "2.1.5", plainAddress(c.names[i])+" has it")
			continue
		}
		if deliver.AsFault(err).Cause != nil { // else the client is told all of it
			c.log.Error("delivery failed", "id", c.transaction(), "to", c.names[i], "err", err)
		}
		c.fault(err)
	}
}

// lost ends the session where the message has ended nowhere.
func (c *session) lost(err error) {
	c.ending = true
	var timeout net.Error
	switch {
	case c.ctx.Err() != nil:
		c.reply(421, "4.3.2", "the service stops; come again")
	case errors.Is(err, errEndless):
		c.reply(421, "4.3.4", err.Error())
	case errors.As(err, &timeout) && timeout.Timeout():
		c.reply(421, "4.4.2", "nothing was heard for too long")
	}
}

// deliverAll delivers to all recipients, in their order, and gives for each what will
// tell what has become of it. From one to the next no more time passes than one
// delivery may take: a client that waits for longer than it likes sends the message
// again to those who have it.
func (c *session) deliverAll(spool *os.File, buf *kept, whole bool) []chan error {
	all := make([]chan error, len(c.rcpts))
	for i := range all {
		all[i] = make(chan error, 1)
	}
	if !whole || buf.err != nil {
		err := buf.err
		if !whole {
			err = deliver.ErrTooLong
		}
		for _, done := range all {
			done <- err
		}
		return all
	}
	m := Message{ID: c.transaction(), Sender: c.from, Text: spool, Octets: buf.n}
	next := make(chan int, len(all))
	for i := range all {
		next <- i
	}
	close(next)
	for range min(atOnce, len(all)) {
		go func() {
			for i := range next {
				all[i] <- c.deliver(m, i)
			}
		}()
	}
	return all
}

// deliver delivers to one recipient. What has begun is finished, even if the service
// stops.
func (c *session) deliver(m Message, i int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), c.limits.Delivery)
	defer cancel()
	m.Received = fmt.Sprintf("from %s by %s with LMTP id %s for <%s>; %s", c.peer, c.host, m.ID, c.names[i], time.Now().Format(time.RFC1123Z))
	return c.rcpts[i].Deliver(ctx, m)
}

// plainAddress is an address as a reply may have it.
func plainAddress(s string) string { return "<" + strings.ToValidUTF8(plain(s), "?") + ">" }

// newSpool makes a file without a name.
func newSpool() (*os.File, error) {
	fd, err := unix.Open(os.TempDir(), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: os.TempDir(), Err: err}
	}
	return os.NewFile(uintptr(fd), "message"), nil
}

// kept writes as long as that goes well, and takes the rest too: the client has
// to be heard to the end.
type kept struct {
	w   *bufio.Writer
	n   int64
	err error
}

// Write never fails.
func (k *kept) Write(p []byte) (int, error) {
	if k.err == nil {
		_, k.err = k.w.Write(p)
	}
	k.n += int64(len(p))
	return len(p), nil
}

func (k *kept) flush() error {
	if k.err == nil {
		k.err = k.w.Flush()
	}
	return k.err
}

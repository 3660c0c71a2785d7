package handoff

import (
	"errors"
	"net"
	"time"
)

// Accept gives the next connection to l that is one of this package's, until l is closed. A
// fault that passes, as where there is no descriptor or memory left, is waited for; say is
// told of it once.
func Accept(l net.Listener, say func(error)) (*Conn, error) {
	var pause time.Duration
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			if c, err := Over(nc); err == nil {
				return c, nil
			}
			continue
		case errors.Is(err, net.ErrClosed):
			return nil, err
		case pause == 0:
			say(err)
		}
		pause = min(max(2*pause, 10*time.Millisecond), time.Second)
		time.Sleep(pause)
	}
}

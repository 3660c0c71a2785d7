package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// The bounds of the server's side.
const (
	maxRequest     = 4096
	requestTimeout = 5 * time.Second // to send the request, and to take the answer
	maxAsking      = 16              // connections at once

	crowded = 50 * time.Millisecond // how long nobody is let in where there is no descriptor left
)

// Listen makes the control socket, for its owner alone. A socket that a dead
// daemon has left there is replaced; one that is served is an error.
func Listen(path string) (net.Listener, error) { return listen(path, 0o600) }

// ListenAll makes a socket in the same way to which anybody may connect: that of the
// page, where WebServer looks who it is, since auth cannot give a file to another
// account; and that of metrics.
func ListenAll(path string) (net.Listener, error) { return listen(path, 0o666) }

func listen(path string, mode fs.FileMode) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return nil, fmt.Errorf("make socket %s: another daemon serves it", path)
	}
	if st, err := os.Lstat(path); err == nil && st.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("make socket %s: there is something that is no socket", path)
	} else if err == nil {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("make socket: %w", err)
		}
	}
	// Bound under another name, it has its mode before anyone can find it.
	staging := filepath.Join(filepath.Dir(path), ".~") // no longer than path, which may be as long as a socket's path can be
	if err := os.Remove(staging); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: staging, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(staging, mode), os.Rename(staging, path)); err != nil {
		l.Close()
		os.Remove(staging)
		return nil, fmt.Errorf("make socket: %w", err)
	}
	return &socket{l, sync.OnceValue(func() error {
		os.Remove(path)
		return l.Close()
	})}, nil
}

// socket removes its path when it is closed, once: a second Close must not
// remove the socket of the daemon that has followed.
type socket struct {
	net.Listener
	close func() error
}

func (s *socket) Close() error { return s.close() }

// Server answers requests. Its functions are called from many goroutines.
type Server struct {
	Answer func(context.Context, Request) Status // its context ends with that of Serve
	// Session is called for VerbSession with the connection, once an answer without
	// an Error is sent. The connection is closed when it returns; a descriptor of it
	// that was passed on stays open. It may be nil.
	Session func(c *net.UnixConn, user string)
	// Visit is the same for VerbVisit.
	Visit func(c *net.UnixConn, listener string)
	// Trace is called for VerbTrace in the same way. Its context ends when the asker has
	// gone.
	Trace func(ctx context.Context, c *net.UnixConn, r Request)
}

// Serve answers requests by answer alone, as Server does.
func Serve(ctx context.Context, l net.Listener, answer func(context.Context, Request) Status) error {
	return Server{Answer: answer}.Serve(ctx, l)
}

// Serve answers requests until ctx ends or l fails, and has closed l when it
// returns.
func (s Server) Serve(ctx context.Context, l net.Listener) error {
	return each(ctx, l, maxAsking, func(c net.Conn) { s.serveConn(ctx, c) })
}

// each has each connection served, so many at once, and closed.
func each(ctx context.Context, l net.Listener, most int, serveConn func(net.Conn)) error {
	defer l.Close() // the one below may still be on its way, or have been stopped
	defer context.AfterFunc(ctx, func() { l.Close() })()
	free := make(chan struct{}, most)
	var asking sync.WaitGroup
	defer asking.Wait()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			time.Sleep(crowded) // others will give their descriptors back, and who asks waits in the meantime
			continue
		}
		if err != nil {
			return fmt.Errorf("serve control socket: %w", err)
		}
		free <- struct{}{}
		asking.Go(func() {
			defer func() { <-free }()
			defer c.Close()
			serveConn(c)
		})
	}
}

func (s Server) serveConn(ctx context.Context, c net.Conn) {
	c.SetDeadline(time.Now().Add(requestTimeout))
	var r Request
	if err := json.NewDecoder(io.LimitReader(c, maxRequest)).Decode(&r); err != nil {
		return // nobody there who would understand an answer
	}
	status := s.Answer(ctx, r)
	c.SetDeadline(time.Now().Add(requestTimeout))
	err := json.NewEncoder(c).Encode(status) // the asker may be gone; the reload has happened all the same
	u, ok := c.(*net.UnixConn)
	if !ok || err != nil || status.Error != "" {
		return
	}
	c.SetDeadline(time.Time{})
	switch {
	case r.Verb == VerbSession && s.Session != nil:
		s.Session(u, r.User)
	case r.Verb == VerbVisit && s.Visit != nil:
		s.Visit(u, r.Listener)
	case r.Verb == VerbTrace && s.Trace != nil:
		s.trace(ctx, u, r)
	}
}

func (s Server) trace(ctx context.Context, c *net.UnixConn, r Request) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		c.Read(make([]byte, 1)) // nothing more is asked, so it is the end
	}()
	s.Trace(ctx, c, r)
}

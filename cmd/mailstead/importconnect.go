package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// connectWithin is what a server has until it is connected to, by any of its addresses.
const connectWithin = 30 * time.Second

// newImportConnectCommand is who has the network for imports: it connects to a server that
// root has named, and sees neither a password nor a word of what is said on the connection.
func newImportConnectCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "import-connect",
		Short:  "connect to a server for an import",
		Long:   "Started by systemd or by mailstead itself, for each import; of no use by hand." + exitStatus(exitDone, exitFailed),
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if os.Geteuid() == 0 {
				return errors.New("the network is not for root")
			}
			c, err := handoff.NewConn(os.Stdin)
			if err != nil {
				return fmt.Errorf("standard input is for who starts this to give: %w", err)
			}
			defer c.Close()
			return connectFor(cmd.Context(), c.Bound(0))
		},
	}
}

// connectFor gives whoever has the other end of c connections to the server that is named
// first, and to no other, until that end is closed.
func connectFor(ctx context.Context, c *handoff.Conn) error {
	defer context.AfterFunc(ctx, func() { c.Close() })()
	m, err := c.Receive()
	if err != nil {
		return fmt.Errorf("which server: %w", err)
	}
	to, ok := m.(*handoff.Reach)
	if !ok {
		return fmt.Errorf("%T before Reach", m)
	}
	for {
		m, err := c.Receive()
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		ask, ok := m.(*handoff.Connect)
		switch {
		case !ok:
			return fmt.Errorf("unexpected %T", m)
		case ask.Server != to.Server:
			return fmt.Errorf("%q is another server than %q", ask.Server, to.Server)
		}
		f, err := network(ctx, to.Server)
		answer := &handoff.Connected{Serial: ask.Serial, Connection: f}
		if err != nil {
			answer.Error = why(err)
		}
		err = c.Send(answer)
		f.Close() // of nil, it does nothing
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func network(ctx context.Context, server string) (*os.File, error) {
	c, err := (&net.Dialer{Timeout: connectWithin}).DialContext(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.(*net.TCPConn).File()
}

// why is the text of an error behind "dial tcp: ".
func why(err error) string {
	var op *net.OpError
	switch {
	case !errors.As(err, &op):
		return err.Error()
	case op.Addr != nil:
		return op.Addr.String() + ": " + op.Err.Error()
	}
	return op.Err.Error()
}

// connector has somebody else connect to the source, who has the network.
type connector struct {
	server string     // host:port
	mu     sync.Mutex // held while one is asked for
	c      *handoff.Conn
}

// openConnector finds who has the network behind the socket at path, and says which
// server it is for.
func openConnector(ctx context.Context, path, server string) (*handoff.Conn, error) {
	c, err := handoff.Dial(ctx, path)
	if err != nil {
		return nil, hint(fmt.Errorf("find who connects to %s: %w", server, err), "apply the description, which starts the socket")
	}
	return reaching(c, server)
}

// startConnector starts who connects to the server for an import that no timer runs, and
// ends when nobody has the channel any more. It is the owner of the mail, or nobody if
// that is root.
func startConnector(user config.User, server string) (*handoff.Conn, error) {
	c, theirs, err := handoff.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	uid, gid := user.UID, user.GID
	if uid == 0 {
		uid, gid = nobody, nobody
	}
	cmd := asUser(context.Background(), uint32(uid), uint32(gid), io.Discard, os.Stderr, "import-connect")
	cmd.Stdin = theirs
	if err := cmd.Start(); err != nil {
		c.Close()
		return nil, fmt.Errorf("start who connects to %s: %w", server, err)
	}
	go cmd.Wait() // so that it is gone when it has ended, if this process is still there
	return reaching(c, server)
}

// nobody is the uid, and the gid, of who owns nothing.
const nobody = 65534

// reaching says which server a channel is for.
func reaching(c *handoff.Conn, server string) (*handoff.Conn, error) {
	if err := c.Send(&handoff.Reach{Server: server}); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// connect is transfer.Server's. ctx is that of the whole import, with which the way to
// other connections ends, too.
func (r *connector) connect(ctx context.Context) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 2*connectWithin)
	defer cancel()
	defer context.AfterFunc(ctx, func() { r.c.Close() })()
	var m handoff.Message
	err := r.c.Send(&handoff.Connect{Server: r.server})
	if err == nil {
		m, err = r.c.Receive()
	}
	if err != nil {
		// As text, since a server that breaks a connection is asked again, and nobody here is.
		return nil, fmt.Errorf("who connects to the source is gone: %v", err)
	}
	a, ok := m.(*handoff.Connected)
	switch {
	case !ok:
		return nil, fmt.Errorf("who connects to the source answers with %T", m)
	case a.Error != "":
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New(a.Error)}
	}
	return handoff.Network(a.Connection)
}

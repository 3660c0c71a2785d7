package imapserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"

	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/limit"
	"mailstead/imapserver/proxy"
)

// connect has a connection made for a login that is a proxy, and passes it on: auth
// reads nothing of what comes over it.
func (d *door) connect(m *handoff.Connect, tasks *tasks) error {
	ctx, err := d.await(m.Serial)
	if err != nil {
		return err
	}
	tasks.run(func() {
		f, err := d.reach(ctx, m.Server)
		d.abort(m.Serial) // done: the number may come again
		d.Send(&handoff.Connected{Serial: m.Serial, Error: text(err), Connection: f})
		f.Close() // of nil, it does nothing
	})
	return nil
}

// await gives the time that a connection has, up to its abort.
func (d *door) await(serial uint64) (context.Context, error) {
	patience := limit.Default().With(d.parted.settings.Load().Config.Limits).Proxy.Patience
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.connects[serial] != nil {
		return nil, fmt.Errorf("connect: the number %d twice", serial)
	}
	ctx, cancel := context.WithTimeout(d.ctx, patience)
	d.connects[serial] = cancel
	return ctx, nil
}

// abort gives up a connection that nobody waits for.
func (d *door) abort(serial uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if cancel := d.connects[serial]; cancel != nil {
		cancel()
		delete(d.connects, serial)
	}
}

// reach connects to a server that the login's listener stands in front of by now, and to
// no other, whatever the login says.
func (d *door) reach(ctx context.Context, address string) (*os.File, error) {
	l, _ := d.parted.settings.Load().listener(d.hello.Listener)
	if l.Proxy == nil || !slices.ContainsFunc(l.Proxy.Servers, func(s config.Server) bool { return s.Address() == address }) {
		return nil, errors.New("the listener has no such server")
	}
	c, err := proxy.Network(ctx, l.Name, address)
	switch {
	case errors.Is(err, syscall.EAFNOSUPPORT): // these programs are newer than the units
		return nil, fmt.Errorf("%w: mailstead-imapd.service has no network, \"mailstead apply\" gives it one", err)
	case err != nil:
		return nil, err
	}
	defer c.Close()
	return c.(*net.TCPConn).File()
}

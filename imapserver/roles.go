package imapserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"

	"mailstead/imapserver/config"
	"mailstead/imapserver/confine"
	"mailstead/imapserver/spawn"
)

// doorSocket gives the socket at which logins find auth: systemd's, which is
// there while auth is not, or one of our own.
func doorSocket(c *config.Config) (net.Listener, error) {
	return roleSocket(c.Roles.Auth)
}

// roleSocket gives the one socket that systemd has passed, or binds path.
func roleSocket(path string) (net.Listener, error) {
	files := activated()
	switch {
	case len(files) > 1:
		return nil, fmt.Errorf("systemd has passed %d sockets instead of one", len(files))
	case len(files) == 1:
		defer files[0].Close()
		return net.FileListener(files[0])
	case path == "":
		return nil, errors.New("systemd has passed no socket")
	}
	os.Remove(path)
	return net.Listen("unixpacket", path)
}

// RunSpawn is the spawn process: it starts workers for auth, which has that uid
// and connects to the socket that systemd has passed, until SIGTERM.
func RunSpawn(ctx context.Context, uid int, o Options) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	l, err := roleSocket("")
	if err != nil {
		return err
	}
	if err := confine.Landlock(); err != nil {
		o.log().Warn("workers may open all files of their uid, not their mail alone", "err", err)
	}
	s := spawn.New(o.log(), spawn.Program, "worker")
	served := make(chan error, 1)
	go func() { served <- s.Serve(l, uid) }()
	notify(o.log(), daemon.SdNotifyReady)
	go watchdog(ctx, o.log(), func(context.Context) error { return nil })
	select {
	case <-ctx.Done():
		err = nil
	case err = <-served:
	}
	notify(o.log(), daemon.SdNotifyStopping)
	l.Close()
	end, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	s.Stop(end)
	return err
}

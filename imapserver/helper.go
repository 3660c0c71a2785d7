package imapserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"mailstead/imapserver/auth"
	"mailstead/imapserver/config"
	"mailstead/imapserver/handoff"
)

// startHelper runs mailstead-pam with a stream socket as its stdin and stdout.
// gone is closed once it has exited and been reaped.
func startHelper(pam config.PAM, log *slog.Logger) (pipe *net.UnixConn, p *os.Process, gone chan struct{}, err error) {
	pipe, theirs, err := handoff.StreamPair()
	if err != nil {
		return nil, nil, nil, err
	}
	defer theirs.Close()
	cmd := exec.Command(pam.Helper, "--service", pam.Service)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	cmd.Dir = "/"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, os.Stderr
	if err := cmd.Start(); err != nil {
		pipe.Close()
		return nil, nil, nil, fmt.Errorf("start %s: %w", pam.Helper, err)
	}
	gone = make(chan struct{})
	go func() {
		defer close(gone)
		if err := cmd.Wait(); err != nil {
			log.Warn("PAM helper has ended", "pid", cmd.Process.Pid, "err", err)
		}
	}()
	return pipe, cmd.Process, gone, nil
}

// pamServices is where libpam has the rules of its services.
const pamServices = "/etc/pam.d"

// checkService says at once what every helper would say at a login: without rules of
// its own for the service PAM would go by those of "other", and mailstead-pam refuses.
func checkService(pam *config.PAM, log *slog.Logger) {
	if pam == nil {
		return
	}
	path := filepath.Join(pamServices, pam.Service)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		log.Error("nobody can log in through PAM: its service has no rules", "missing", path, "mend", "mailstead apply")
	}
}

// localHelpers starts helpers as children of this process.
type localHelpers struct {
	pam func() *config.PAM // as configured now
	log *slog.Logger
}

// Start is auth.HelperSource's.
func (l *localHelpers) Start(context.Context) (*auth.Helper, error) {
	pam := l.pam()
	if pam == nil {
		return nil, errors.New("no PAM service is configured")
	}
	pipe, p, _, err := startHelper(*pam, l.log)
	if err != nil {
		return nil, err
	}
	return &auth.Helper{Pipe: pipe, Kill: func() { p.Kill() }}, nil
}

// socketHelpers has systemd start helpers, by connecting to their socket: they
// are processes of root, which this one is not. A helper ends when its connection
// does, whatever it is doing.
type socketHelpers struct {
	pam func() *config.PAM // as configured now
}

// Start is auth.HelperSource's.
func (h *socketHelpers) Start(ctx context.Context) (*auth.Helper, error) {
	pam := h.pam()
	if pam == nil || pam.Socket == "" {
		return nil, errors.New("no PAM service is configured")
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", pam.Socket)
	if err != nil {
		return nil, fmt.Errorf("reach mailstead-pam: %w", err)
	}
	return &auth.Helper{Pipe: c, Kill: func() { c.Close() }}, nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
	systemd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mailstead/imapserver"
	"mailstead/imapserver/confine"
	"mailstead/reconcile/web"
	"mailstead/render"
)

func newWebCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "web FILE",
		Short: "serve the web page of this host, as systemd starts it",
		Long: `Serves the page at which users look after their own logins, and admins at the
host, on the socket that systemd passes. FILE is what "mailstead apply" wrote
for it. It needs no privilege and refuses to run as root: docs/web.md says what
does the rest.` + exitStatus(exitDone, exitFailed),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runWeb(cmd.Context(), args[0]) },
	}
}

func runWeb(ctx context.Context, file string) error {
	if os.Geteuid() == 0 {
		return hint(errors.New("the web page does not run as root"), "start %q, or give web a place in the description and apply it", render.WebUnit)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil { // it sees passwords
		return fmt.Errorf("forbid a core: %w", err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var settings render.WebSettings
	if err := json.Unmarshal(data, &settings); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	listeners, err := activation.Listeners()
	if err != nil {
		return fmt.Errorf("take the socket: %w", err)
	}
	if len(listeners) != 1 || listeners[0] == nil {
		return hint(errors.New("there is no socket to serve the page on"), "systemd passes it: start %q", render.WebSocketUnit)
	}
	log := imapserver.NewLog(os.Stderr)
	onlyTalks(log)
	if _, err := systemd.SdNotify(false, systemd.SdNotifyReady); err != nil {
		log.Warn("systemd was not told", "err", err)
	}
	return web.New(settings, log).Serve(ctx, listeners[0])
}

// onlyTalks takes from a process that talks to strangers and to auth what it does not
// need besides: all files, and all system calls but those of a login. It does nothing
// where the kernel or the build has no way to (see confine.ErrNoLandlock): the sandbox of
// the unit holds without it.
func onlyTalks(log *slog.Logger) {
	_, err := confine.Files(nil)
	if errors.Is(err, confine.ErrNoLandlock) {
		return
	}
	if err := errors.Join(err, confine.Limits(), confine.Calls(confine.OfLogin...)); err != nil {
		log.Error("process may do more than it needs", "err", err)
	}
}

// socketOnStdin is the connection that systemd has given as standard input.
func socketOnStdin() (net.Conn, error) {
	if _, err := syscall.Getpeername(0); err != nil {
		return nil, errors.New("standard input is no connection: systemd starts this")
	}
	return net.FileConn(os.Stdin)
}

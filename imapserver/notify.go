package imapserver

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notify tells systemd, if that has started us.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("systemd not notified", "err", err)
	}
}

// watchdog feeds systemd's watchdog as long as the self-test passes, until ctx
// ends.
func watchdog(ctx context.Context, log *slog.Logger, selfTest func(context.Context) error) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return
	}
	t := time.NewTicker(interval / 2)
	defer t.Stop()
	for {
		test, cancel := context.WithTimeout(ctx, interval/2)
		err := selfTest(test)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.Error("self-test failed", "err", err)
		default:
			notify(log, daemon.SdNotifyWatchdog)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

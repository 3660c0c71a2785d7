package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/coreos/go-systemd/v22/activation"
	systemd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"mailstead/imapserver"
	"mailstead/imapserver/control"
	"mailstead/imapserver/exposition"
	"mailstead/imapserver/metrics"
	"mailstead/render"
	"mailstead/schema"
)

func newMetricsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "metrics SOCKET",
		Short: "serve metrics for Prometheus, as systemd starts it",
		Long: `Serves the metrics of the daemon as Prometheus reads them, at /metrics on the
socket that systemd passes. SOCKET is that at which logins find auth. It needs
no privilege and refuses to run as root; docs/metrics.md has the metrics.
A host without root's units has "mailstead metrics serve".` + exitStatus(exitDone, exitFailed),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runMetrics(cmd.Context(), args[0]) },
	}
	cmd.AddCommand(newMetricsServeCommand(), newMetricsFile("alerts", "write alert rules for Prometheus", "rule_files of prometheus.yml names such a file.", exposition.AlertRules),
		newMetricsFile("dashboard", "write a dashboard for Grafana", "Grafana imports it as JSON, and asks which Prometheus it is about.", exposition.Dashboard))
	return cmd
}

// newMetricsFile makes a command that writes a file to its output.
func newMetricsFile(name, short, long string, write func() []byte) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Long: long + exitStatus(exitDone, exitFailed), Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(write())
			return err
		},
	}
}

func runMetrics(ctx context.Context, auth string) error {
	if os.Geteuid() == 0 {
		return hint(errors.New("the metrics are not served as root"), "write metrics: {} into the description, apply it, and start %q", render.MetricsUnit)
	}
	listeners, err := activation.Listeners()
	if err != nil {
		return fmt.Errorf("take the socket: %w", err)
	}
	if len(listeners) != 1 || listeners[0] == nil {
		return hint(errors.New("there is no socket to serve the metrics on"), "systemd passes it: start %q", render.MetricsSocketUnit)
	}
	log := imapserver.NewLog(os.Stderr)
	onlyTalks(log)
	if _, err := systemd.SdNotify(false, systemd.SdNotifyReady); err != nil {
		log.Warn("systemd was not told", "err", err)
	}
	source := func(ctx context.Context) ([]metrics.Series, error) { return imapserver.Scrape(ctx, auth) }
	return exposition.Serve(ctx, listeners[0], exposition.Handler(log, source))
}

func newMetricsServeCommand() *cobra.Command {
	var o source
	cmd := &cobra.Command{
		Use:   "serve [PATH...]",
		Short: "serve metrics for Prometheus, without systemd",
		Long: `Serves the metrics of a daemon that runs without root's units ("apply
--rootless"), where its description says (metrics: {...}), until it is
interrupted. It asks the daemon at its control socket, and so has to run as the
same user. "mailstead up" serves them by itself.

` + sourceHelp + exitStatus(exitDone, exitFailed, exitInvalid),
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.take(args)
			host, err := o.loadHost()
			if err != nil {
				return err
			}
			if host.Metrics == nil {
				return hint(fmt.Errorf("the description of %s has no metrics", host.Name), "write metrics: {} into it: they are then served on the loopback")
			}
			l, err := listenMetrics(host.Metrics)
			if err != nil {
				return err
			}
			return serveMetrics(cmd.Context(), l, host)
		},
	}
	o.flags(cmd)
	return cmd
}

// listenMetrics listens where the metrics of a host are served.
func listenMetrics(m *schema.Metrics) (net.Listener, error) {
	if m.Socket != "" {
		return control.ListenAll(m.Socket)
	}
	return net.Listen("tcp", net.JoinHostPort(m.Address, strconv.Itoa(m.Port)))
}

// serveMetrics serves those of a daemon that we may ask, until ctx ends.
func serveMetrics(ctx context.Context, l net.Listener, host *schema.Host) error {
	asked := render.ControlSocket(host.Paths)
	return exposition.Serve(ctx, l, exposition.Handler(imapserver.NewLog(os.Stderr), func(ctx context.Context) ([]metrics.Series, error) {
		return imapserver.ScrapeDaemon(ctx, asked)
	}))
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mailstead/imapserver/control"
	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
)

// daemonName is the daemon, which stands beside this program.
const daemonName = "mailstead-imapd"

type upOptions struct {
	source
	dir      string
	portBase int
}

func newUpCommand() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up PATH...",
		Short: "serve a description from a directory of its own, without root",
		Long: `Applies a description into one directory and serves it until interrupted: as
whoever runs it, without systemd, on the loopback, with a self-signed
certificate. Ports are moved up by --port-base, so that 143 becomes 1143 and 993
becomes 1993. Beside the virtual users of the description there is a user "demo"
with the password "demo" and a few messages to look at. Accounts of the system
are left out, and all that reaches other servers: proxies, directories, the
outbox and deliveries. The mail stays in the directory, and is there the next
time. Commands that look at what is served, such as "sessions" and "trace", take
that directory with --state.

PATH is a directory with CUE, JSON and YAML files, or one such file.` +
			exitStatus(exitDone, exitFailed, exitInvalid, exitStale, exitLocked, exitPartial),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.take(args)
			return runUp(cmd.Context(), o, newConsole(cmd))
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&o.dir, "dir", "", "`directory` for everything (default: mailstead/NAME below $XDG_STATE_HOME or ~/.local/state)")
	cmd.Flags().IntVar(&o.portBase, "port-base", 1000, "`number` to add to every port")
	return cmd
}

func runUp(ctx context.Context, o upOptions, c *console) error {
	described, err := o.loadHost()
	if err != nil {
		return err
	}
	own, proxies := ownListeners(described.Listeners)
	if len(own) == 0 {
		return hint(fmt.Errorf("%s: no listener serves the host's own mail", described.Name), "\"up\" starts no proxy: it would hand passwords to the real servers")
	}
	described.Listeners = own
	daemon, err := besideUs(daemonName)
	if err != nil {
		return err
	}
	listeners, measured, err := o.places(described)
	if err != nil {
		return err
	}
	dir, err := o.directory(described.Name)
	if err != nil {
		return err
	}
	host, left := demoHost(described, listeners, measured, dir, filepath.Dir(daemon))
	if err := notServed(ctx, host); err != nil { // which is why its ports are taken, if they are
		return err
	}
	if err := portsFree(host); err != nil {
		return err
	}
	if err := applyUp(ctx, o.source, host, c); err != nil {
		return err
	}
	if len(left) > 0 {
		fmt.Fprintf(c.out, "\nNot served here, as they log in through PAM: %s.\n", visible(strings.Join(left, ", ")))
	}
	if len(proxies) > 0 {
		fmt.Fprintf(c.out, "\nNot served here, as other servers stand behind them: the listeners %s.\n", visible(strings.Join(proxies, ", ")))
	}
	writeConnect(c, host)
	if err := ctx.Err(); err != nil {
		return err
	}
	args := []string{daemonName, "serve", "--config", render.ConfigFile(host.Paths)}
	if host.Metrics != nil {
		return serveMeasured(ctx, daemon, args, host)
	}
	err = unix.Exec(daemon, args, os.Environ())
	return fmt.Errorf("start %s: %w", daemon, err)
}

// serveMeasured runs the daemon, and serves its metrics as long as it runs.
func serveMeasured(ctx context.Context, daemon string, args []string, host *schema.Host) error {
	l, err := listenMetrics(host.Metrics)
	if err != nil {
		return err
	}
	defer l.Close()
	runtime.LockOSThread() // whose end the daemon is told
	cmd := &exec.Cmd{Path: daemon, Args: args, Stdout: os.Stdout, Stderr: os.Stderr, SysProcAttr: &unix.SysProcAttr{Pdeathsig: unix.SIGTERM}}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", daemon, err)
	}
	defer context.AfterFunc(ctx, func() { cmd.Process.Signal(unix.SIGTERM) })()
	measured, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- serveMetrics(measured, l, host) }()
	if err = cmd.Wait(); err != nil {
		err = fmt.Errorf("%s: %w", daemonName, err)
	}
	stop()
	return errors.Join(err, <-served)
}

// places gives where the listeners of a description are served here, and its metrics.
func (o *upOptions) places(described *schema.Host) ([]schema.Listener, *schema.Metrics, error) {
	all, m := described.Listeners, described.Metrics
	if m != nil && m.Socket == "" {
		all = append(slices.Clip(all), schema.Listener{Name: "metrics", Port: m.Port})
	}
	all, err := movePorts(all, o.portBase)
	if err != nil {
		return nil, nil, err
	}
	listeners := all[:len(described.Listeners)]
	if m == nil || m.Socket != "" {
		return listeners, m, nil
	}
	last := all[len(listeners)]
	return listeners, &schema.Metrics{Origin: m.Origin, Address: last.Address, Port: last.Port}, nil
}

// notServed makes sure that no daemon serves the directory already: it would
// take what is about to be applied for its own.
func notServed(ctx context.Context, host *schema.Host) error {
	status, err := control.Ask(ctx, render.ControlSocket(host.Paths), control.Request{Verb: control.VerbStatus})
	if errors.Is(err, control.ErrNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	return hint(fmt.Errorf("%s is being served already, by process %d", host.Paths.State, status.PID), "end that process, or choose another --dir")
}

// applyUp applies the host, and delivers the demo messages if this made demo's
// Maildir.
func applyUp(ctx context.Context, s source, host *schema.Host, c *console) error {
	l, err := lookAt(ctx, host, desired.Options{Rootless: true}, false)
	if err != nil {
		return s.invalid(err)
	}
	defer l.close()
	plan, err := l.compare(ctx)
	if err != nil {
		return err
	}
	writePlan(c, c.out, plan, false)
	if err := l.apply(ctx, c, plan, 0); err != nil {
		return err
	}
	if err := recordApplied(ctx, l, 0); err != nil { // by which other commands find the daemon
		return err
	}
	for _, change := range plan.Changes {
		if change.Ref == kind.MaildirRef(demoUser) && change.Op == reconcile.Create {
			return deliverDemo(change.Want.Get("path"))
		}
	}
	return nil
}

// directory is where everything of the host goes.
func (o *upOptions) directory(host string) (string, error) {
	if o.dir != "" {
		return resolve(o.dir)
	}
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", hint(fmt.Errorf("no place to put the mail: %w", err), "name a directory with --dir")
		}
		state = filepath.Join(home, ".local", "state")
	}
	return resolve(filepath.Join(state, "mailstead", host))
}

// resolve makes the path of a directory, which need not exist, absolute and
// free of links as far as it exists: files will name it.
func resolve(dir string) (string, error) {
	path, err := filepath.Abs(dir)
	rest := ""
	for err == nil {
		var real string
		if real, err = filepath.EvalSymlinks(path); err == nil {
			path = filepath.Join(real, rest)
			if err = canHold(path); err == nil {
				return path, nil
			}
			break
		}
		if errors.Is(err, fs.ErrNotExist) {
			path, rest, err = filepath.Dir(path), filepath.Join(filepath.Base(path), rest), nil
		}
	}
	return "", hint(fmt.Errorf("no place to put the mail: %s: %w", dir, err), "choose another --dir")
}

// canHold tells why a path cannot be that of the directory, as far as it can be seen before
// anything is written.
func canHold(dir string) error {
	const most = len(unix.RawSockaddrUnix{}.Path) - 1
	if over := len(render.ControlSocket(upPaths(dir, ""))) - most; over > 0 {
		return fmt.Errorf("the path is %d octets too long for the sockets below it", over)
	}
	if st, err := os.Stat(dir); err == nil && !st.IsDir() {
		return unix.ENOTDIR
	}
	return nil
}

// besideUs finds a program in the directory of this one.
func besideUs(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", name, err)
	}
	path := filepath.Join(filepath.Dir(self), name)
	info, err := os.Stat(path)
	if err == nil && (info.IsDir() || info.Mode()&0o111 == 0) {
		err = fmt.Errorf("%s is not a program", path)
	}
	if err != nil {
		return "", hint(fmt.Errorf("find %s: %w", name, err), "build both: %q", "go build -o bin/ ./cmd/...")
	}
	return path, nil
}

// portsFree finds out, before anything is written, whether the daemon will be
// able to listen.
func portsFree(host *schema.Host) error {
	all := host.Listeners
	if m := host.Metrics; m != nil && m.Socket == "" {
		all = append(slices.Clip(all), schema.Listener{Name: "metrics", Address: m.Address, Port: m.Port})
	}
	for _, l := range all {
		address := net.JoinHostPort(l.Address, strconv.Itoa(l.Port))
		ln, err := net.Listen("tcp", address)
		if errors.Is(err, unix.EADDRINUSE) {
			return hint(fmt.Errorf("listener %s: %s is taken by another program", l.Name, address), "choose other ports with --port-base, or end that program")
		}
		if err != nil {
			return hint(fmt.Errorf("listener %s: %w", l.Name, err), "choose other ports with --port-base")
		}
		ln.Close()
	}
	return nil
}

// writeConnect prints the exact lines with which to look at the mail.
func writeConnect(c *console, host *schema.Host) {
	ca := render.BundleFile(host.Paths, host.Name)
	fmt.Fprintf(c.out, "\nServing the mail in %s; user %s, password %s. Ctrl-C ends it.\n", host.Mail.Root, demoUser, demoPassword)
	for _, l := range host.Listeners {
		port := strconv.Itoa(l.Port)
		fmt.Fprintf(c.out, "\n%s, %s:%s, %s:\n\n", l.Name, l.Address, port, tlsWords[l.TLS])
		for _, line := range connectLines(l.TLS, port, ca) {
			fmt.Fprintf(c.out, "  %s\n", line)
		}
	}
	if m := host.Metrics; m != nil && m.Socket != "" {
		fmt.Fprintf(c.out, "\nMetrics at the socket %s.\n", m.Socket)
	} else if m != nil {
		fmt.Fprintf(c.out, "\nMetrics at http://%s/metrics.\n", net.JoinHostPort(m.Address, strconv.Itoa(m.Port)))
	}
	fmt.Fprintln(c.out)
}

// tlsWords say how TLS starts on a listener.
var tlsWords = map[schema.TLSMode]string{
	schema.STARTTLS: "STARTTLS",
	schema.Implicit: "TLS",
	schema.Plain:    "no TLS",
}

// connectLines are commands for a shell. The bundle holds the self-signed
// certificate, which is its own authority.
func connectLines(mode schema.TLSMode, port, ca string) []string {
	login, server := demoUser+":"+demoPassword, "localhost:"+port
	trust := " -CAfile " + shellQuote(ca) + " -verify_return_error -connect " + server
	mutt := "mutt -e " + shellQuote(`set ssl_starttls=yes ssl_ca_certificates_file="`+ca+`"`) + " -f "
	curl := "curl --cacert " + shellQuote(ca) + " -u " + login
	switch mode {
	case schema.Implicit:
		return []string{
			"openssl s_client -quiet -crlf" + trust,
			curl + " 'imaps://" + server + "/INBOX;MAILINDEX=1'",
			mutt + "imaps://" + login + "@" + server + "/",
		}
	case schema.STARTTLS:
		return []string{
			"openssl s_client -quiet -crlf -starttls imap" + trust,
			curl + " --ssl-reqd 'imap://" + server + "/INBOX;MAILINDEX=1'",
			mutt + "imap://" + login + "@" + server + "/",
		}
	}
	return []string{"curl -u " + login + " 'imap://" + server + "/INBOX;MAILINDEX=1'"}
}

// shellQuote makes a path one word of a shell, unless it is one already.
func shellQuote(path string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+@", r)
	}
	if strings.IndexFunc(path, func(r rune) bool { return !plain(r) }) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"mailstead/imapserver/deliver"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/lmtp"
	"mailstead/imapserver/spawn"
)

// roles are what the program is if its first argument says so: a user's name
// cannot begin like that.
var roles = map[string]func(args []string, log *slog.Logger) error{
	"--lmtp":        parent,
	"--lmtp-front":  front,
	"--lmtp-worker": worker,
}

// role runs one of them, and tells whether it was asked to.
func role(args []string, out io.Writer) (code int, ok bool) {
	if len(args) == 0 || roles[args[0]] == nil {
		return 0, false
	}
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{} // the journal has it
		}
		return a
	}}))
	if err := roles[args[0]](args[1:], log); err != nil {
		log.Error("ended by a fault", "role", args[0], "err", err)
		return 1, true
	}
	return 0, true
}

// parent takes mail by LMTP at the socket that systemd has passed.
func parent(args []string, log *slog.Logger) error {
	f := flag.NewFlagSet("mailstead-deliver --lmtp", flag.ContinueOnError)
	state := f.String("state", "/var/lib/mailstead", "where apply keeps its files: `DIR`")
	host := f.String("host", "localhost", "what clients are greeted by: `NAME`")
	uid := f.Int("front-uid", os.Getuid(), "who talks to clients: `UID`")
	gid := f.Int("front-gid", os.Getgid(), "and its `GID`")
	if err := f.Parse(args); err != nil {
		return err
	}
	l, err := passed()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	process, err := spawn.Start(spawn.Program, []string{"--lmtp-front", *host}, spawn.Identity{UID: *uid, GID: *gid})
	if err != nil {
		return err
	}
	defer process.Close()
	p := &lmtp.Parent{Tables: deliver.NewTables(*state), Log: log, Front: process, Spawn: spawn.New(log, spawn.Program, "--lmtp-worker")}
	return p.Serve(ctx, l)
}

// passed gives the socket of systemd's (sd_listen_fds(3)).
func passed() (*net.UnixListener, error) {
	const first = 3
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || os.Getenv("LISTEN_FDS") != "1" {
		return nil, errors.New("systemd has passed no socket: this is for mailstead-lmtp.service to start")
	}
	f := os.NewFile(first, "lmtp")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	local, ok := l.(*net.UnixListener)
	if !ok {
		return nil, fmt.Errorf("the socket that systemd has passed is no local one: %s", l.Addr())
	}
	return local, nil
}

// front speaks LMTP, for the parent that has started it.
func front(args []string, log *slog.Logger) error {
	if len(args) != 1 {
		return errors.New("this is for the program to start itself")
	}
	c, err := channel()
	if err != nil {
		return err
	}
	defer c.Close()
	return lmtp.RunFront(c, args[0], log)
}

// worker delivers the mail of one uid, for the parent that has started it.
func worker(roots []string, log *slog.Logger) error {
	c, err := channel()
	if err != nil {
		return err
	}
	defer c.Close()
	return lmtp.RunWorker(c, roots, log)
}

// channel opens the way to the parent, in a process that has no privilege left.
func channel() (*handoff.Conn, error) {
	if os.Getuid() < spawn.MinUID || os.Getgid() < spawn.MinUID {
		return nil, errors.New("this is for the program to start itself, as another user")
	}
	os.WriteFile("/proc/self/comm", []byte("mailstead-deliv"), 0) // in place of "exe"; no worse without
	// It is the parent that is told to stop, and tells us in good order.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	return handoff.NewConn(os.NewFile(spawn.Channel, "parent"))
}

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/render"
)

// stage writes what is about to be applied as a generation. Nothing reads it from
// there but history, diff and a return.
func (g generations) stage(l *look, plan *reconcile.Plan, n int) (*generation, error) {
	if err := g.open(); err != nil {
		return nil, err
	}
	if err := g.remove(n); err != nil {
		return nil, err
	}
	for _, r := range l.want {
		if path := renderedPath(r); path != "" {
			if err := g.put(g.path(n, renderedDir, path), []byte(r.Get(contentAttr))); err != nil {
				return nil, err
			}
		}
	}
	host, err := encodeHost(l.host, l.host, l.opts)
	if err != nil {
		return nil, fmt.Errorf("write generation %d: %w", n, err)
	}
	if err := g.putHost(n, host); err != nil {
		return nil, err
	}
	plain, err := encodeApplied(l.host, l.opts)
	if err != nil {
		return nil, fmt.Errorf("write generation %d: %w", n, err)
	}
	gen := &generation{Version: generationVersion, Number: n, At: time.Now().UTC().Truncate(time.Second), By: cmp.Or(l.by, whoApplies()), Host: digestOf(plain), Counts: map[string]int{}}
	for i, c := range plan.Changes {
		gen.Counts[c.Ref.Kind]++
		if i < maxRecorded {
			gen.Changes = append(gen.Changes, recordedChange{c.Ref.String(), c.Op, c.Origin, c.Reason, c.Impact})
		} else {
			gen.More++
		}
	}
	return gen, g.write(gen)
}

// takeOver makes a generation of what was applied before any were kept, or when
// they are lost, so that the host can return to it.
func (g generations) takeOver(ctx context.Context, l *look) error {
	all, err := g.list()
	if len(all) > 0 || err != nil {
		return err
	}
	path := filepath.Join(l.host.Paths.State, appliedFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil // nothing was applied
	}
	if _, err := decodeApplied(path); err != nil {
		return nil // by another version of this program
	}
	gen := &generation{Version: generationVersion, Number: 1, At: time.Now().UTC().Truncate(time.Second), By: "(what was there)", Host: digestOf(data)}
	if _, err := control.Ask(ctx, render.ControlSocket(l.host.Paths), control.Request{Verb: control.VerbStatus}); err == nil {
		gen.Proved = &gen.At
	}
	if err := g.open(); err != nil {
		return err
	}
	if err := errors.Join(g.putHost(1, data), g.write(gen)); err != nil {
		return err
	}
	return g.setCurrent(1)
}

// renderedPath is where the text of a resource goes on the host; "" for one that
// has none, or waits.
func renderedPath(r reconcile.Resource) string {
	if r.Get(contentAttr) == "" || r.Blocked != nil || r.Unreadable != "" {
		return ""
	}
	if path := r.Get("path"); path != "" {
		return path
	}
	return r.Ref.Name
}

// whoApplies names whoever runs the program.
func whoApplies() string {
	name := fmt.Sprintf("uid %d", os.Geteuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if other := os.Getenv("SUDO_USER"); other != "" && os.Geteuid() == 0 {
		name += ", as whom " + other + " acts"
	}
	return name
}

// checkTimeout bounds each check of what is staged.
const checkTimeout = 60 * time.Second

// checkStaged says, before anything is touched, what systemd or the daemon would
// object to in a generation, and which ports somebody else has. The certificates are checked with the daemon's
// start: it takes only keys that are the leaf's.
func (l *look) checkStaged(ctx context.Context, g generations, n int, plan *reconcile.Plan) error {
	errs := []error{l.verifyUnits(ctx, g, n, plan), l.dryStart(ctx)}
	if l.facts.Systemd != 0 {
		errs = append(errs, l.kinds.PortsTaken(ctx, plan))
	}
	return errors.Join(errs...)
}

// verifyUnits has systemd read the units that are to be written. Those of ours
// are looked up among the staged ones, and drop-ins not at all: they are not ours
// to judge.
func (l *look) verifyUnits(ctx context.Context, g generations, n int, plan *reconcile.Plan) error {
	var paths []string
	for _, c := range plan.Changes {
		if c.Ref.Kind == "unit" && c.Want != nil {
			paths = append(paths, g.path(n, renderedDir, renderedPath(*c.Want)))
		}
	}
	program, err := exec.LookPath("systemd-analyze")
	if len(paths) == 0 || l.facts.Systemd == 0 || err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append([]string{"verify", "--man=no", "--recursive-errors=no"}, paths...)...)
	cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+filepath.Dir(paths[0])+":/usr/lib/systemd/system:/lib/systemd/system")
	return refused(ctx, cmd, "systemd does not take the units")
}

// dryStart has the daemon that is to serve read what it is to serve, as whoever it
// runs as: what only root may read would else be found missing at a login. Where
// there is no such program yet, nothing could start it.
func (l *look) dryStart(ctx context.Context) error {
	program := render.Program(l.host.Paths, daemonName)
	if _, err := os.Stat(program); err != nil {
		return nil
	}
	staged, err := l.staged(ctx)
	if err != nil || staged == nil {
		return err
	}
	input, err := json.Marshal(staged)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "check", "--staged")
	cmd.Stdin, cmd.Env = bytes.NewReader(input), []string{} // root's may have secrets
	if have, ok := l.facts.Accounts[render.ServiceUser]; ok && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: uint32(have.UID), Gid: uint32(have.GID)}}
	}
	return refused(ctx, cmd, "the daemon does not take its configuration")
}

// staged collects what the daemon is to read; nil if there is no configuration
// for it, or a certificate that may not be read.
func (l *look) staged(ctx context.Context) (*config.Staged, error) {
	s := &config.Staged{PEM: map[string][]byte{}}
	certificates := map[string]reconcile.Resource{}
	for _, r := range l.want {
		switch r.Ref.Kind {
		case "daemon-config":
			s.Config = []byte(r.Get(contentAttr))
		case "password-file":
			s.Users = []byte(r.Get(contentAttr))
		case "certificate":
			certificates[r.Ref.Name] = r
		}
	}
	if s.Config == nil {
		return nil, nil
	}
	c, err := config.Parse(s.Config)
	if err != nil {
		return nil, err
	}
	for _, b := range c.TLS.Bundles {
		pem, err := kind.StagedBundle(ctx, certificates[b.Name])
		if err != nil {
			return nil, fmt.Errorf("certificate %s: %w", b.Name, err)
		}
		if pem == nil {
			return nil, nil
		}
		s.PEM[b.Name] = pem
	}
	return s, nil
}

// refused runs a check, and gives what it says if it fails.
func refused(ctx context.Context, cmd *exec.Cmd, what string) error {
	cmd.WaitDelay = 5 * time.Second
	text, err := outputAsUser(ctx, cmd)
	if err == nil {
		return nil
	}
	if text == "" {
		text = err.Error()
	}
	return fmt.Errorf("%s: %s", what, strings.ReplaceAll(text, "\n", "\n  "))
}

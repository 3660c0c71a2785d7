package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"mailstead/imapserver/config"
	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
)

// handbackHost returns a whole host to Courier, or to Dovecot.
type handbackHost struct {
	c      *console
	kinds  *kind.Host
	state  *takeoverState
	record *takeover // nil: to Dovecot
	paths  schema.Paths
	force  bool
}

// cutoverPatience is how long a cutover may be at work.
const cutoverPatience = 24 * time.Hour

// runHandbackHost undoes a cutover, or goes on with a return that was interrupted.
func runHandbackHost(ctx context.Context, o handbackOptions, c *console) error {
	if o.check { // the daemon serves the Maildirs, and nobody else opens them meanwhile
		command := "mailstead handback --check MAILDIR"
		if o.dovecot {
			command = "mailstead handback --dovecot --check MAILDIR"
		}
		return hint(errors.New("nothing was changed: --check looks at one Maildir, and none is named"), "name it: %q", command)
	}
	if os.Geteuid() != 0 {
		return hint(errors.New("nothing was changed: handing back the whole host needs root"), "run it as root, or name one Maildir")
	}
	paths := schema.Paths{State: o.state}
	if o.dovecot {
		if _, _, err := (&handbackHost{paths: paths}).served(); err != nil {
			return hint(fmt.Errorf("nothing was changed: whose mail was served here is not known: %w", err), "say where the state of Mailstead is: --state DIR")
		}
	}
	kinds := &kind.Host{}
	defer kinds.Close()
	wait := time.Duration(0)
	if o.cutShort {
		wait = cutoverPatience
	}
	state, err := openTakeover(ctx, o.state, wait)
	if err != nil {
		return err
	}
	defer state.close()
	record, err := state.read()
	if err != nil {
		return err
	}
	if o.cutShort && (record == nil || record.Phase == servingOwn) {
		return nil
	}
	question := "Stop Mailstead and serve this host with Courier again?"
	switch {
	case o.dovecot && record != nil:
		return hint(errors.New("nothing was changed: this host was taken over from Courier"), "go back to that: %q", "mailstead handback")
	case o.dovecot:
		question = "Stop Mailstead and make all mail of this host Dovecot's?"
	case record == nil:
		return hint(errors.New("nothing was changed: this host was not taken over by \"mailstead cutover\", or Courier serves again"),
			"name a Maildir to hand back that one: %q; to Dovecot: %q", "mailstead handback MAILDIR", "mailstead handback --dovecot")
	}
	if !o.yes && (record == nil || record.Phase != returningOld) {
		if err := consent(ctx, c, question); err != nil {
			return err
		}
	}
	h := handbackHost{c: c, kinds: kinds, state: state, record: record, paths: paths, force: o.force}
	return h.run(ctx)
}

// run does it. Whatever fails on the way, Courier is started: it has what it needs
// of every Maildir that it has served before.
func (h *handbackHost) run(ctx context.Context) error {
	if h.record != nil {
		if err := h.state.enter(h.record, returningOld); err != nil {
			return err
		}
	}
	if err := h.mark(ctx); err != nil {
		if h.record == nil { // nobody is without a server yet, and two at once would be worse
			return fmt.Errorf("nothing was changed: say that no apply is to start Mailstead again: %w", err)
		}
		fmt.Fprintf(h.c.err, "mailstead: warning: the deploy hook is not told, and may start our units again: %s\n", visibleLines(err.Error()))
	}
	if err := h.kinds.StopOwn(ctx); err != nil {
		return fmt.Errorf("stop our units: %w", err) // both at once must not be
	}
	failed := h.maildirs(ctx)
	if h.record == nil {
		return h.toDovecot(failed)
	}
	if err := h.kinds.StartOld(ctx, h.record.Units); err != nil {
		return errors.Join(failed, err)
	}
	if err := h.state.end(); err != nil {
		return errors.Join(failed, err)
	}
	if failed != nil {
		return &exitError{code: exitPartial, err: hint(fmt.Errorf("not all mail was handed back, but Courier serves again: %w", failed),
			"mend what is named, and run %q for it while its user is not connected", "mailstead handback MAILDIR")}
	}
	_, err := fmt.Fprintln(h.c.out, "Courier serves again.")
	return err
}

// toDovecot says how it goes on. Dovecot does not start by itself: of mail that was not
// handed back it has old lists, and would give UIDs for the second time.
func (h *handbackHost) toDovecot(failed error) error {
	if failed != nil {
		return &exitError{code: exitPartial, err: hint(fmt.Errorf("not all mail was handed back, and Dovecot must not start before it is: %w", failed),
			"mend what is named, and run %q again", "mailstead handback --dovecot")}
	}
	_, err := fmt.Fprintln(h.c.out, "All mail of the users of this host is Dovecot's, which can start: systemctl enable --now dovecot.socket dovecot.service")
	return err
}

// errHandedBack says that none of our units is to be started but by who applies or
// takes over the host again.
var errHandedBack = errors.New("this host was handed back to the server that was there before")

// mark keeps the deploy hook, and what applies at boot, from starting what is about
// to be stopped. One of them that is at work is waited for.
func (h *handbackHost) mark(ctx context.Context) error {
	lock, err := reconcile.TakeLock(ctx, h.paths.State, hookLockWait)
	if err != nil {
		return err
	}
	defer lock.Release()
	return markApplied(h.paths.State, func(a *applied) { a.HandedBack = true })
}

// maildirs hands back the mail of each user that the daemon served. Of those whom only
// directories know there is no list: their Maildirs are looked for.
func (h *handbackHost) maildirs(ctx context.Context) error {
	users, directories, err := h.served()
	if err != nil {
		return err
	}
	var known, found []ownedMail
	var errs []error
	for _, u := range users {
		known = append(known, ownedMail{who: visible(u.Name) + ": ", dir: u.Maildir, owner: mailOwner{uint32(u.UID), uint32(u.GID)}, bound: handbackTimeout})
	}
	for _, d := range directories {
		for _, root := range d.May.Roots {
			some, err := mailBelow(d.May, root, homeLevels)
			if err != nil {
				errs = append(errs, fmt.Errorf("look for the mail of users of the directory %s: %w", visible(d.Name), err))
			}
			found = append(found, some...)
		}
	}
	errs = append(errs, h.each(ctx, known), h.each(ctx, found)) // one after the other: a Maildir may be in both
	return errors.Join(errs...)
}

// ownedMail is a Maildir to hand back, or a directory with Maildirs of one owner.
type ownedMail struct {
	who   string // for the error; "" if that is not known
	dir   string
	owner mailOwner
	below bool
	bound time.Duration
}

// homeLevels is how deep below a root homes may be, in directories of root's own.
const homeLevels = 3

// mailBelow gives where mail of users of a directory may be below a root: all of it, if
// it has one owner, else each home. Root reads no directories but its own.
func mailBelow(may config.May, root string, depth int) (list []ownedMail, err error) {
	if may.Owner != nil {
		return []ownedMail{{"", root, mailOwner{uint32(may.Owner.UID), uint32(may.Owner.GID)}, true, belowTimeout}}, nil
	}
	names, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		dir := filepath.Join(root, name.Name())
		st, err := os.Lstat(dir)
		if err != nil || !st.IsDir() {
			continue
		}
		own := st.Sys().(*syscall.Stat_t)
		switch uid := int(own.Uid); {
		case uid == 0 && depth > 1:
			some, err := mailBelow(may, dir, depth-1)
			if err != nil {
				return nil, err
			}
			list = append(list, some...)
		case uid >= max(1, may.MinUID) && uid <= may.MaxUID:
			list = append(list, ownedMail{"", dir, mailOwner{own.Uid, own.Gid}, true, handbackTimeout})
		}
	}
	return list, nil
}

// each hands back all of a list, some at once.
func (h *handbackHost) each(ctx context.Context, list []ownedMail) error {
	var mu sync.Mutex
	var errs []error
	var busy sync.WaitGroup
	free := make(chan struct{}, maxLooking)
	for _, m := range list {
		free <- struct{}{}
		busy.Go(func() {
			defer func() { <-free }()
			err := h.one(ctx, m)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	busy.Wait()
	return errors.Join(errs...)
}

// handbackTimeout bounds the work on what is in one user's hands, and belowTimeout that
// on all the mail of an owner. Everybody else waits for Courier.
const (
	handbackTimeout = 10 * time.Minute
	belowTimeout    = 2 * time.Hour
)

// one hands back mail as its owner.
func (h *handbackHost) one(ctx context.Context, m ownedMail) error {
	if _, err := os.Lstat(m.dir); errors.Is(err, fs.ErrNotExist) {
		return nil // there is none to hand back
	}
	ctx, cancel := context.WithTimeout(ctx, m.bound)
	defer cancel()
	cmd := asUser(ctx, m.owner.uid, m.owner.gid, io.Discard, io.Discard, "handback", fmt.Sprintf("--force=%v", h.force), fmt.Sprintf("--below=%v", m.below), fmt.Sprintf("--dovecot=%v", h.record == nil), "--", m.dir)
	if said, err := outputAsUser(ctx, cmd); err != nil {
		return fmt.Errorf("%shand back %s: %w\n%s", m.who, visible(m.dir), err, visibleLines(said))
	}
	return nil
}

// served gives the users of the daemon that ran last, and the directories that it asked.
// Where none ever did there are none to be Courier's, whose files are up to date; for
// Dovecot it is a fault, as with any of their mail it must not start.
func (h *handbackHost) served() ([]config.User, []config.Directory, error) {
	data, err := os.ReadFile(render.ConfigFile(h.paths))
	if errors.Is(err, os.ErrNotExist) && h.record != nil {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	c, err := config.Parse(data)
	if err != nil {
		return nil, nil, err
	}
	f, err := os.Open(render.UsersFile(h.paths))
	if errors.Is(err, os.ErrNotExist) && h.record != nil {
		return nil, c.Directories, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	var users []config.User
	for u, err := range config.ParseUsers(f, c.Workers) {
		if err != nil {
			return nil, nil, err
		}
		users = append(users, u)
	}
	return users, c.Directories, nil
}

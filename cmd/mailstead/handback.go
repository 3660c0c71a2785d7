package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mailstead/imapserver/store"
)

type handbackOptions struct {
	maildir string
	force   bool
	check   bool
	dovecot bool // hand back to Dovecot, not to Courier
	below   bool // maildir is a directory with Maildirs in it

	// Of the whole host.
	state    string
	yes      bool
	cutShort bool // for systemd: only if a cutover has died
}

func newHandbackCommand() *cobra.Command {
	var o handbackOptions
	cmd := &cobra.Command{
		Use:   "handback [MAILDIR]",
		Short: "leave a Maildir, or the whole host, as Courier-IMAP or Dovecot is to find it",
		Long: `Without MAILDIR, undoes a cutover: stops our units, hands back the Maildir of
each user, and those that users of directories had sessions in, and starts
Courier's units as they were. Interrupted, it goes on when it is run again.

With MAILDIR, writes what Courier needs to serve the Maildir as we have: the
same UIDVALIDITY, UIDs, flags, keywords and subscriptions, under the names that
Courier 5 gives directories. Clients notice nothing. First it lists what Courier
cannot represent. No message is touched; mail that nobody has seen moves from
new to cur. Run it once the daemon does not serve the account any more; as root,
it becomes the owner of the Maildir. With --check it only lists; the account is
opened for it as by the daemon, which may make files of ours in the Maildir, or
bring them up to date.

Where Courier was before, its files are kept up to date anyway, and stopping
the daemon is enough. From a handback on, they are kept in any account: it may
come back and go again.

With --dovecot the same goes for Dovecot, whose files are kept up to date by
nobody: it must not start before them. It gets its lists of UIDs and keywords,
its rights and subscriptions, and names of directories in modified UTF-7; its
indexes go, and ours with the annotations: who comes back takes over its files.
Of keywords its files have 26 a folder; letters in the names of messages tell
them. Without MAILDIR, it stops our units, and leaves Dovecot's to you.` + exitStatus(exitDone, exitFailed, exitLocked, exitPartial),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !o.check {
				unheard()
			}
			if len(args) == 0 {
				return runHandbackHost(cmd.Context(), o, newConsole(cmd))
			}
			if o.maildir = args[0]; o.below {
				return handbackBelow(cmd.Context(), o, newConsole(cmd))
			}
			return runHandback(cmd.Context(), o, newConsole(cmd))
		},
	}
	cmd.Flags().BoolVar(&o.force, "force", false, "give folders other names where Courier cannot have theirs")
	cmd.Flags().BoolVarP(&o.check, "check", "n", false, "only list what Courier, or Dovecot, cannot represent of MAILDIR")
	cmd.Flags().BoolVar(&o.dovecot, "dovecot", false, "hand back to Dovecot")
	cmd.Flags().StringVar(&o.state, "state", defaultState, "state `directory` of what was applied, for the whole host")
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&o.cutShort, "cut-short", false, "wait for a cutover that is at work, and do something only if it has died")
	cmd.Flags().Lookup("cut-short").Hidden = true
	cmd.Flags().BoolVar(&o.below, "below", false, "hand back each Maildir below MAILDIR in which there ever was a session, as their owner")
	cmd.Flags().Lookup("below").Hidden = true
	return cmd
}

func runHandback(ctx context.Context, o handbackOptions, c *console) error {
	w := ownersWork{dir: o.maildir, do: func(dir string) error {
		o.maildir = dir
		return handback(ctx, o, c)
	}}
	return w.run(ctx, c, "handback", fmt.Sprintf("--force=%v", o.force), fmt.Sprintf("--check=%v", o.check), fmt.Sprintf("--dovecot=%v", o.dovecot))
}

// deepest is how many directories down a Maildir is looked for: ROOT/DOMAIN/A/B/NAME/Maildir.
const deepest = 6

// handbackBelow hands back the Maildirs below a directory, as their owner. What cannot
// be read there is nobody's mail that was served; nor is what is hidden, unless it is
// called after mail, or lies deep in a home.
func handbackBelow(ctx context.Context, o handbackOptions, c *console) error {
	failed := 0
	err := filepath.WalkDir(o.maildir, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return ctx.Err()
		}
		if store.Served(dir) {
			one := handbackOptions{maildir: dir, force: o.force, dovecot: o.dovecot}
			if err := handback(ctx, one, &console{out: io.Discard, err: c.err}); err != nil {
				failed++
				fmt.Fprintf(c.err, "%s: %s\n", visible(dir), visibleLines(err.Error()))
			}
			return cmp.Or(ctx.Err(), fs.SkipDir)
		}
		name := strings.ToLower(d.Name())
		if dir != o.maildir && strings.HasPrefix(name, ".") && !strings.Contains(name, "mail") || strings.Count(dir[len(o.maildir):], "/") >= deepest {
			return cmp.Or(ctx.Err(), fs.SkipDir)
		}
		if _, err := os.Lstat(filepath.Join(dir, "cur")); err == nil {
			return fs.SkipDir // one that only Courier has served
		}
		return ctx.Err()
	})
	if err == nil && failed > 0 {
		err = fmt.Errorf("%s could not be handed back", number(failed, "Maildir"))
	}
	return err
}

// handback does it, as the owner.
func handback(ctx context.Context, o handbackOptions, c *console) error {
	if o.dovecot && !store.Served(o.maildir) { // or Dovecot has begun again
		_, err := fmt.Fprintf(c.out, "%s is Dovecot's: there was no session of ours in it since.\n", visible(o.maildir))
		return err
	}
	log := slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	a, err := store.Open(ctx, store.Options{Maildir: o.maildir, Log: log, Courier: !o.check && !o.dovecot})
	if errors.Is(err, store.ErrInUse) {
		return hint(err, "stop the daemon, or wait until it has let go of the account: a minute after the last session")
	}
	if err != nil {
		return err
	}
	done, err := handbackAccount(ctx, a, o, c)
	if err = errors.Join(err, a.Close()); err != nil || o.check {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(done.Renamed)) {
		fmt.Fprintf(c.out, "%s is %s now.\n", visible(name), visible(done.Renamed[name]))
	}
	_, err = fmt.Fprintf(c.out, "%s is %s's: %s, %s.\n", visible(o.maildir), o.to(), number(done.Mailboxes, "mailbox"), number(done.Messages, "message"))
	return err
}

// to is the server that is handed back to.
func (o handbackOptions) to() string {
	if o.dovecot {
		return "Dovecot"
	}
	return "Courier"
}

// tellWhole says that there is nothing to list, and of how much.
func tellWhole(ctx context.Context, a *store.Account, o handbackOptions, c *console) error {
	list, err := a.List(ctx)
	if err != nil {
		return err
	}
	mailboxes, messages := 0, 0
	for _, e := range list {
		if !e.Selectable {
			continue
		}
		s, err := a.Status(ctx, e.Name, false)
		if err != nil {
			return fmt.Errorf("%s: %w", visible(e.Name), err)
		}
		mailboxes, messages = mailboxes+1, messages+int(s.Messages)
	}
	_, err = fmt.Fprintf(c.out, "%s can represent all of it: %s, %s.\n", o.to(), number(mailboxes, "mailbox"), number(messages, "message"))
	return err
}

// handbackAccount lists what the other server cannot represent, then hands back.
func handbackAccount(ctx context.Context, a *store.Account, o handbackOptions, c *console) (done store.HandedBack, err error) {
	list := a.Unfit
	if o.dovecot {
		list = a.UnfitForDovecot
	}
	unfit, err := list(ctx)
	if err != nil {
		return done, err
	}
	renames := false
	for _, u := range unfit {
		renames = renames || u.Renames
		fmt.Fprintf(c.out, "%s: %s\n", visible(u.Name), visible(u.Why))
	}
	switch {
	case o.check && len(unfit) == 0:
		return done, tellWhole(ctx, a, o, c)
	case o.check:
		return done, nil
	case o.dovecot:
		return a.HandbackToDovecot(ctx)
	case renames && !o.force:
		return done, hint(store.ErrUnfit, "rename the folders, or give them the names above with --force")
	}
	return a.Handback(ctx, o.force)
}

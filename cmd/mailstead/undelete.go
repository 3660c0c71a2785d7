package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailstead/imapserver/maildir"
)

type undeleteOptions struct {
	importOptions
	since string
	moved bool
}

func newUndeleteCommand() *cobra.Command {
	var o undeleteOptions
	cmd := &cobra.Command{
		Use:   "undelete [PATH...] --user NAME --since AGE",
		Short: "bring back what a user, a client or a rule has removed",
		Long: `Puts messages back into the folders that they were expunged or purged from,
with their dates, flags and keywords, under new UIDs. A folder that was deleted
is made anew, and subscribed to if it was. That is possible for as long as the
description says with "keep"; without it, what is expunged or deleted is gone.
What was moved to the trash is moved back if it is still there; with --moved, so
is what was moved anywhere else. Nothing is brought back twice. A message whose
place is not known goes into "Recovered".

AGE is how long ago it was removed, at most: 90m, 2h, 3d.

` + sourceHelp + exitStatus(exitDone, exitFailed, exitInvalid, exitLocked),
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.take(args)
			return runUndelete(cmd.Context(), o, newConsole(cmd))
		},
	}
	o.source.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "the daemon's configuration `file`, in place of a description")
	f.StringVarP(&o.user, "user", "u", "", "the `name` of the user whose mail it is (required)")
	f.StringVar(&o.since, "since", "", "what was removed at most this long ago, an `age` such as 2h (required)")
	f.StringVar(&o.Into, "into", "", "`mailbox` below which everything goes, in place of where it was")
	f.StringArrayVar(&o.Include, "mailbox", nil, "bring back what was in this mailbox only (repeatable)")
	f.BoolVar(&o.moved, "moved", false, "also move back what was moved to other folders than the trash")
	f.BoolVar(&o.DryRun, "dry-run", false, "say how much there is, and bring nothing back")
	addOutput(cmd, &o.output)
	return cmd
}

func runUndelete(ctx context.Context, o undeleteOptions, c *console) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.user == "" {
		return hint(errors.New("no user is named"), "name the one whose mail it is with --user")
	}
	age, err := parseAge(o.since)
	if err != nil {
		return err
	}
	daemon, _, err := o.daemon()
	if err != nil {
		return err
	}
	user, err := findUser(ctx, daemon, o.user)
	if err != nil {
		return err
	}
	o.user = user.Name // as a directory spells it
	since := time.Now().Add(-age)
	back, err := o.moveBack(ctx, daemon, since)
	if err != nil {
		if o.output != outputJSON {
			writeMoved(c, movedBack(back), o.DryRun) // which has been done all the same
		}
		return err
	}
	o.connections, o.Optional = 1, true // nothing may have been removed there
	j := o.newJob(c)
	j.Kept, j.Since = filepath.Join(user.Maildir, maildir.OwnDir, maildir.KeptDir), since
	j.Moved, j.Origins = movedBack(back), placesBefore(back)
	j.Keeps = daemon.Keep > 0
	return o.start(ctx, daemon, j, o.user, ".undelete", c) // no import has such a name
}

// parseAge reads a duration, which may be in days.
func parseAge(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return 0, hint(fmt.Errorf("--since %q is no age", s), "write it as 90m, 2h or 3d")
	}
	return d, nil
}

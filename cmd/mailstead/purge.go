package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/spf13/cobra"

	"mailstead/imapserver/control"
	"mailstead/reconcile/transfer"
	"mailstead/render"
	"mailstead/schema"
)

type purgeOptions struct {
	source
	user   string
	dryRun bool
	right  bool // the clock is, whatever it says
	output string
}

func newPurgeCommand() *cobra.Command {
	var o purgeOptions
	cmd := &cobra.Command{
		Use:   "purge [PATH...]",
		Short: "remove messages from folders that have a rule for it",
		Long: `Removes what has been in a folder for longer than the description allows
("folders: Trash: purge: after: "30d""), by the rules that were applied last. A
timer runs it every day. The age of a message counts from when it came into that
folder, as the daemon has noted it down.

A clock that is more than a week ahead of when this was last done is not gone
by, unless it is kept right by the network or --clock-is-right says so: mail
would be removed too early.

` + sourceHelp + exitStatus(exitDone, exitFailed, exitInvalid),
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.take(args)
			return runPurge(cmd.Context(), o, newConsole(cmd))
		},
	}
	o.source.flags(cmd)
	cmd.Flags().StringVarP(&o.user, "user", "u", "", "of the user of this `name` only")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "say how many messages it would be, and remove none")
	cmd.Flags().BoolVar(&o.right, "clock-is-right", false, "go by the clock, however far it is ahead")
	addOutput(cmd, &o.output)
	return cmd
}

func runPurge(ctx context.Context, o purgeOptions, c *console) error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	host, err := o.loadHost()
	if err != nil {
		return err
	}
	data, err := os.ReadFile(render.PurgeFile(host.Paths))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	rules, err := render.ParsePurge(data)
	if err != nil {
		return fmt.Errorf("read %s: %w", render.PurgeFile(host.Paths), err)
	}
	if o.user != "" {
		o.user = calledUser(host, o.user)
		if err := unknownUser(host, o.user); err != nil {
			return err
		}
		rules = slices.DeleteFunc(rules, func(r render.PurgeRule) bool { return r.User != o.user })
	}
	if len(rules) > 0 && !o.dryRun {
		if err := o.clock(newPurgeClock(host.Paths)); err != nil {
			return err
		}
	}
	p := purger{socket: render.ControlSocket(host.Paths), remove: !o.dryRun}
	purged, err := p.run(ctx, rules)
	return errors.Join(writePurged(c, o, purged), err)
}

// clock holds the clock to be right, and notes that it was.
func (o purgeOptions) clock(c purgeClock) error {
	if !o.right {
		if err := c.check(); err != nil {
			return err
		}
	}
	return c.note()
}

// purged is what a rule has removed, or would.
type purged struct {
	User     string `json:"user"`
	Folder   string `json:"folder"`
	Days     int    `json:"days"`
	Messages int    `json:"messages"`
}

func writePurged(c *console, o purgeOptions, all []purged) error {
	if o.output == outputJSON {
		return writeJSON(c.out, struct {
			DryRun bool     `json:"dry_run"`
			Rules  []purged `json:"rules"`
		}{o.dryRun, append([]purged{}, all...)})
	}
	sum, verb := 0, "removed"
	if o.dryRun {
		verb = "to be removed"
	}
	for _, p := range all {
		if p.Messages > 0 {
			fmt.Fprintf(c.out, "%s: %s: %s that came in %s ago or earlier\n", visible(p.User), visible(p.Folder), number(p.Messages, "message"), number(p.Days, "day"))
		}
		sum += p.Messages
	}
	_, err := fmt.Fprintf(c.out, "%s %s.\n", number(sum, "message"), verb)
	return err
}

// purger carries out rules, or counts what they are about.
type purger struct {
	socket string
	remove bool
}

// maxPurging is how many users are dealt with at once: each has a worker of their own.
const maxPurging = 4

// run carries out rules, which are in the order of their users. What fails for one
// user keeps nobody else from being dealt with.
func (p purger) run(ctx context.Context, rules []render.PurgeRule) (all []purged, err error) {
	var mu sync.Mutex
	var busy sync.WaitGroup
	var errs []error
	free := make(chan struct{}, maxPurging)
	for len(rules) > 0 && ctx.Err() == nil {
		n := 1
		for n < len(rules) && rules[n].User == rules[0].User {
			n++
		}
		user := rules[:n]
		rules = rules[n:]
		free <- struct{}{}
		busy.Go(func() {
			defer func() { <-free }()
			some, err := p.user(ctx, user)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, some...)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", user[0].User, err))
			}
		})
	}
	busy.Wait()
	slices.SortFunc(all, func(a, b purged) int {
		return strings.Compare(a.User+"\x00"+a.Folder, b.User+"\x00"+b.Folder)
	})
	return all, errors.Join(append(errs, ctx.Err())...)
}

// user carries out the rules of one user.
func (p purger) user(ctx context.Context, rules []render.PurgeRule) (all []purged, err error) {
	c, err := control.Session(ctx, p.socket, rules[0].User)
	if err != nil {
		return nil, err
	}
	s, err := transfer.Begin(ctx, c)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	// The record of removals will say so. A host may have switched ID off.
	var no *imap.Error
	if _, err := s.Command(`ID ("name" "mailstead purge")`); err != nil && !errors.As(err, &no) {
		return nil, err
	}
	for _, r := range rules {
		n, err := p.folder(s, r)
		if errors.As(err, &no) && no.Code == imap.ResponseCodeNonExistent {
			continue // there is nothing in it
		}
		if err != nil {
			return all, fmt.Errorf("%s: %w", r.Folder, err)
		}
		all = append(all, purged{r.User, r.Folder, r.Days, n})
	}
	return all, nil
}

// folder removes what came in on a day that lies so many days back (RFC 8514 §4.3).
func (p purger) folder(s *transfer.Session, r render.PurgeRule) (n int, err error) {
	if err := s.Open(r.Folder, !p.remove); err != nil {
		return 0, err
	}
	const day = "2-Jan-2006"
	now := time.Now()
	old := "SAVEDBEFORE " + now.AddDate(0, 0, -r.Days).Format(day)
	if n, err = searched(s, "COUNT", old); n == 0 || err != nil {
		return 0, err
	}
	// UIDs are in the order of arrival (RFC 9051 §2.3.1.1): what came after a message that
	// stays is no older, whatever a clock said that was behind. One that was ahead keeps nothing.
	first, err := searched(s, "MIN", "NOT "+old+" SAVEDBEFORE "+now.AddDate(0, 0, 2).Format(day))
	if err != nil {
		return 0, err
	}
	if first > 0 {
		old += fmt.Sprintf(" NOT UID %d:*", first)
	}
	if n, err = searched(s, "SAVE COUNT", old); n == 0 || err != nil || !p.remove { // RFC 5182
		return n, err
	}
	if _, err := s.Command("UID STORE $ +FLAGS.SILENT (\\Deleted)"); err != nil {
		return 0, err
	}
	_, err = s.Command("UID EXPUNGE $")
	return n, err
}

// searched gives the COUNT or MIN of what a search finds, 0 of none (RFC 4731 §3.1).
func searched(s *transfer.Session, options, key string) (n int, err error) {
	lines, err := s.Command("UID SEARCH RETURN (%s) %s", options, key)
	what := options[strings.LastIndexByte(options, ' ')+1:]
	for _, line := range lines {
		f := strings.Fields(line)
		if i := slices.Index(f, what); i > 0 && i+1 < len(f) && f[1] == "ESEARCH" {
			n, _ = strconv.Atoi(f[i+1])
		}
	}
	return n, err
}

// newRules gives the rules of want by which more may be removed than by those of was.
func newRules(was, want *schema.Host) (rules []render.PurgeRule) {
	type place struct{ user, folder string }
	before := map[place]int{}
	for _, r := range render.PurgeRules(was) {
		before[place{r.User, r.Folder}] = r.Days
	}
	for _, r := range render.PurgeRules(want) {
		if days := before[place{r.User, r.Folder}]; days == 0 || r.Days < days {
			rules = append(rules, r)
		}
	}
	return rules
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"mailstead/imapserver/maildir"
	"mailstead/reconcile/kind"
	"mailstead/schema/adopt"
)

// newLookAtMailCommand is what adopt and cutover start, as somebody else, to look
// at that user's Maildirs. It only reads, and talks to its parent only.
func newLookAtMailCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "look-at-mail",
		Short:  "look at a user's Maildirs for another mailstead",
		Long:   "Started by mailstead itself; of no use by hand." + exitStatus(exitDone, exitFailed),
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, out := json.NewDecoder(cmd.InOrStdin()), json.NewEncoder(cmd.OutOrStdout())
			for {
				var dir string
				switch err := in.Decode(&dir); {
				case errors.Is(err, io.EOF):
					return nil
				case err != nil:
					return err
				}
				if err := out.Encode(lookAtMail(dir)); err != nil {
					return err
				}
			}
		},
	}
}

// mailOwner is who a Maildir is looked at as.
type mailOwner struct{ uid, gid uint32 }

// The bounds of a helper. It has the user's uid, and so it is in the user's hands: it
// may be made to say anything, or nothing at all.
const (
	maxLooking  = 4               // helpers at once
	maxLooked   = 256 << 20       // octets that one says: some hundred thousand mailboxes;
	maxLookedOf = 8 << 20         // if it is asked for one Maildir, and a little more for each other
	lookTimeout = 5 * time.Minute // for each Maildir
)

// lookAtMails looks at Maildirs, each as its owner, and gives what is there by
// directory. Root starts one helper for each owner. Below one of root's own it does
// not look, unless the whole tree is a copy: nobody's mail belongs to root.
func lookAtMails(ctx context.Context, dirs []string, copied bool) (map[string]*adopt.Mail, error) {
	found := make(map[string]*adopt.Mail, len(dirs))
	byOwner := map[mailOwner][]string{}
	for _, dir := range dirs {
		st, err := os.Lstat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			found[dir] = &adopt.Mail{Maildir: dir, Missing: true}
		case err != nil:
			found[dir] = &adopt.Mail{Maildir: dir, Fault: err.Error()}
		case !st.IsDir():
			found[dir] = &adopt.Mail{Maildir: dir, Fault: "is no directory"}
		default:
			own := st.Sys().(*syscall.Stat_t)
			owner := mailOwner{own.Uid, own.Gid}
			if own.Uid == 0 && !copied {
				found[dir] = &adopt.Mail{Maildir: dir, Fault: "belongs to root"}
				continue
			}
			byOwner[owner] = append(byOwner[owner], dir)
		}
	}
	var mu sync.Mutex
	var errs []error
	var busy sync.WaitGroup
	free := make(chan struct{}, maxLooking)
	for owner, dirs := range byOwner {
		busy.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			some, err := lookAs(ctx, owner, dirs)
			mu.Lock()
			defer mu.Unlock()
			for _, m := range some {
				found[m.Maildir] = m
			}
			errs = append(errs, err)
		})
	}
	busy.Wait()
	return found, errors.Join(errs...)
}

// lookAs looks at the Maildirs of one owner.
func lookAs(ctx context.Context, owner mailOwner, dirs []string) (list []*adopt.Mail, err error) {
	if me := uint32(os.Geteuid()); me == owner.uid || me != 0 {
		for _, dir := range dirs {
			list = append(list, lookAtMail(dir))
		}
		return list, ctx.Err()
	}
	cmd := asUser(ctx, owner.uid, owner.gid, io.Discard, io.Discard, "look-at-mail")
	cmd.WaitDelay = 5 * time.Second
	if list, err = askForMail(ctx, cmd, dirs, lookTimeout); err != nil {
		return nil, fmt.Errorf("look at mail as the uid %d: %w", owner.uid, errors.Join(err, ctx.Err()))
	}
	return list, nil
}

// askForMail starts the helper, and has it look at the Maildirs, each within some time.
func askForMail(ctx context.Context, cmd *exec.Cmd, dirs []string, each time.Duration) (list []*adopt.Mail, err error) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	var asks bytes.Buffer
	for e, i := json.NewEncoder(&asks), 0; i < len(dirs); i++ {
		e.Encode(dirs[i]) // neither a string nor a buffer fails
	}
	from, to := io.Pipe()
	said := &kind.Head{Most: 1024}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &asks, to, said
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var ended error
	go func() {
		ended = waitAsUser(ctx, cmd)
		to.Close()
	}()
	stop := func() {
		cmd.Process.Kill()
		end()
	}
	patience := time.AfterFunc(each, stop)
	answers := kind.NewAnswers(from)
	answers.Allow(min(maxLooked, maxLookedOf+(64<<10)*len(dirs)))
	d := json.NewDecoder(answers)
	for _, dir := range dirs {
		m := &adopt.Mail{}
		if err = d.Decode(m); err == nil && m.Maildir != dir {
			err = fmt.Errorf("it answered for %q, not %q", m.Maildir, dir)
		}
		if err != nil {
			if !patience.Stop() {
				err = fmt.Errorf("it has not told of %q within %v", dir, each)
			}
			stop()
			break
		}
		patience.Reset(each)
		list = append(list, m)
	}
	io.Copy(io.Discard, from) // up to its end
	patience.Stop()
	if err = errors.Join(err, ended); err != nil && said.String() != "" {
		err = fmt.Errorf("%w (it says %q)", err, said)
	}
	return list, err
}

// lookAtMail reads what is in a Maildir and what Courier has written of it.
func lookAtMail(dir string) *adopt.Mail {
	m := &adopt.Mail{Maildir: dir}
	names, err := entriesOf(dir)
	if err != nil {
		m.Fault = err.Error()
		return m
	}
	var dots []string
	for _, name := range names {
		if name[0] == '.' {
			dots = append(dots, name)
		}
	}
	slices.Sort(dots)
	enc := maildir.DetectEncoding(dots)
	m.Folders = append(m.Folders, lookAtFolder(dir, maildir.Inbox))
	for _, dot := range dots {
		name, err := maildir.DecodeName(dot, enc)
		st, serr := os.Lstat(filepath.Join(dir, dot))
		if err != nil || serr != nil || !st.IsDir() {
			m.Odd = append(m.Odd, strconv.QuoteToGraphic(dot))
			continue
		}
		if st, err := os.Lstat(filepath.Join(dir, dot, "cur")); err == nil && st.IsDir() {
			m.Folders = append(m.Folders, lookAtFolder(filepath.Join(dir, dot), name))
		}
	}
	if data, err := maildir.ReadFile(dir, maildir.SubscriptionsFile); err == nil {
		m.Subscribed = maildir.ParseSubscriptions(data, enc).Names()
	} else if data, err := maildir.ReadFile(dir, maildir.DovecotSubscriptionsFile); err == nil {
		subs, _ := maildir.ParseDovecotSubscriptions(data)
		m.Subscribed = subs.Names()
	}
	m.Shared = slices.Contains(names, "shared-maildirs")
	return m
}

// lookAtFolder counts the messages of a mailbox, and says what Courier would
// answer to STATUS.
func lookAtFolder(dir, name string) adopt.Folder {
	f := adopt.Folder{Name: name}
	known := map[string]bool{}
	data, err := maildir.ReadFile(dir, maildir.UIDDBFile)
	if err == nil {
		var db maildir.UIDDB
		if db, err = maildir.ParseUIDDB(data); err == nil {
			f.Validity, f.Next = db.Validity, db.Next
			for _, m := range db.Messages {
				known[m.Base] = true
			}
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.Fault = err.Error()
	}
	for _, sub := range []string{"new", "cur"} { // new first: what moves meanwhile is seen
		list, err := entriesOf(filepath.Join(dir, sub))
		if err != nil && (sub == "cur" || !errors.Is(err, fs.ErrNotExist)) {
			f.Fault = err.Error()
		}
		for _, file := range list {
			if file[0] == '.' {
				continue
			}
			f.Messages++
			f.Newest = max(f.Newest, delivered(file))
			if base, _ := maildir.SplitName(file); f.Validity != 0 && !known[base] {
				f.Next++
			}
		}
	}
	return f
}

// entriesOf lists a directory, as it is at one moment where the file system allows
// that.
func entriesOf(dir string) ([]string, error) {
	l, err := maildir.ListDir(dir)
	if err != nil {
		return nil, err
	}
	defer l.Release()
	return slices.Collect(l.All()), nil
}

// delivered is when a message came, by the name that its file has: the seconds
// stand in front (https://cr.yp.to/proto/maildir.html).
func delivered(file string) (seconds int64) {
	for i := 0; i < len(file) && i < 12 && file[i] >= '0' && file[i] <= '9'; i++ {
		seconds = seconds*10 + int64(file[i]-'0')
	}
	return seconds
}

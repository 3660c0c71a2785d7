package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailstead/imapserver/control"
	"mailstead/schema/adopt"
)

// mailCheck asks the running daemon for the mailboxes of each user, and compares
// them with what Courier's files said.
type mailCheck struct {
	ask  func(ctx context.Context, user string) (map[string]mailbox, error) // what clients are shown now
	look func(ctx context.Context, dir string) *adopt.Mail                  // at a Maildir as it is now
}

// maxAsking is how many users are asked for at once: each has a worker of their own.
const maxAsking = 4

// users gives what is not as it was, a line for each fault, and what has changed
// since but need not be.
func (m mailCheck) users(ctx context.Context, before []userMail, progress func(done int)) (faults, changes []string) {
	var mu sync.Mutex
	var busy sync.WaitGroup
	free, done := make(chan struct{}, maxAsking), 0
	for _, u := range before {
		if u.Mail == nil || u.Mail.Missing {
			continue
		}
		free <- struct{}{}
		busy.Go(func() {
			defer func() { <-free }()
			some, others := m.user(ctx, u)
			mu.Lock()
			defer mu.Unlock()
			faults, changes = append(faults, some...), append(changes, others...)
			done++
			progress(done)
		})
	}
	busy.Wait()
	slices.Sort(faults)
	slices.Sort(changes)
	return faults, changes
}

// The patience with a mailbox in which something happens all the time: so many tries, and
// as many more within a minute as find other files than the one before: what differs then
// may be what has just arrived.
const (
	checkTries = 8
	checkPause = 250 * time.Millisecond
	checkBusy  = time.Minute
)

// user compares one user's mailboxes. Mail that arrives, and what clients do,
// makes for other numbers than before: then those of the files are taken again.
func (m mailCheck) user(ctx context.Context, u userMail) (faults, changes []string) {
	now, begun := u.Mail, time.Now()
	for try := 1; ; try++ {
		final := false
		if answer, err := m.ask(ctx, u.User); err != nil {
			faults = []string{fmt.Sprintf("%s: %v", visible(u.User), err)}
		} else {
			faults, changes, final = compareMail(u, now, answer)
		}
		if len(faults) == 0 || final || try >= checkTries {
			return faults, changes
		}
		select {
		case <-time.After(checkPause):
		case <-ctx.Done():
			return append(faults, fmt.Sprintf("%s: %v", u.User, ctx.Err())), nil
		}
		last := now
		now = m.look(ctx, u.Mail.Maildir)
		if now != nil && last != nil && !slices.Equal(now.Folders, last.Folders) && time.Since(begun) < checkBusy {
			try--
		}
	}
}

// mailbox is what the daemon says of one.
type mailbox struct {
	validity, next uint32
	messages       int
}

// mailboxesOf gives the mailboxes of a user as a client sees them, by name without prefix.
func mailboxesOf(ctx context.Context, socket, namespace, user string) (map[string]mailbox, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	nc, err := control.Session(ctx, socket, user)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	c := imapclient.New(nc, nil)
	defer c.Close()
	if err := c.WaitGreeting(); err != nil {
		return nil, fmt.Errorf("begin a session: %w", err)
	}
	list, err := c.List("", "*", &imap.ListOptions{ReturnStatus: &imap.StatusOptions{NumMessages: true, UIDNext: true, UIDValidity: true}}).Collect()
	if err != nil {
		return nil, fmt.Errorf("list the mailboxes: %w", err)
	}
	all := map[string]mailbox{}
	for _, l := range list {
		if l.Status == nil || l.Status.NumMessages == nil {
			continue
		}
		all[strings.TrimPrefix(l.Mailbox, namespace)] = mailbox{l.Status.UIDValidity, uint32(l.Status.UIDNext), int(*l.Status.NumMessages)}
	}
	return all, c.Logout().Wait()
}

// compareMail compares what Courier said, what is in the files now, and what the
// daemon answers. final says that no second look can mend a fault.
func compareMail(u userMail, now *adopt.Mail, answer map[string]mailbox) (faults, changes []string, final bool) {
	name := visible(u.User)
	if now == nil || now.Missing || now.Fault != "" {
		return []string{name + ": the Maildir cannot be looked at any more"}, nil, false
	}
	files := map[string]adopt.Folder{}
	for _, f := range now.Folders {
		files[f.Name] = f
	}
	for _, was := range u.Mail.Folders {
		at := fmt.Sprintf("%s: %s", name, visible(was.Name))
		is, ok := answer[was.Name]
		file, there := files[was.Name]
		switch {
		case !ok && !there:
			changes = append(changes, at+" has been deleted since")
		case !ok:
			faults = append(faults, at+" is not shown")
		case was.Validity != 0 && is.validity != was.Validity:
			faults, final = append(faults, fmt.Sprintf("%s has the UIDVALIDITY %d, and had %d", at, is.validity, was.Validity)), true
		case was.Validity != 0 && is.next < was.Next:
			faults, final = append(faults, fmt.Sprintf("%s has the UIDNEXT %d, and had %d", at, is.next, was.Next)), true
		case is.messages != file.Messages:
			faults = append(faults, fmt.Sprintf("%s has %d messages, and %d files", at, is.messages, file.Messages))
		case is.messages < was.Messages:
			changes = append(changes, fmt.Sprintf("%s has %d messages, and had %d: clients have removed some since", at, is.messages, was.Messages))
		case was.Validity != 0 && int(is.next-was.Next) < is.messages-was.Messages:
			faults = append(faults, fmt.Sprintf("%s has the UIDNEXT %d for %d messages, and had %d for %d", at, is.next, is.messages, was.Next, was.Messages))
		}
	}
	return faults, changes, final
}

// unreadable lists the mailboxes whose mail cannot be told, by user.
func unreadable(list []userMail) error {
	var errs []error
	for _, u := range list {
		if u.Mail == nil {
			continue // why it could not be looked at has been told
		}
		if u.Mail.Fault != "" {
			errs = append(errs, fmt.Errorf("%s: the mail cannot be looked at: %s", visible(u.User), visible(u.Mail.Fault)))
		}
		for _, f := range u.Mail.Folders {
			if f.Fault != "" {
				errs = append(errs, fmt.Errorf("%s: %s cannot be looked at: %s", visible(u.User), visible(f.Name), visible(f.Fault)))
			}
		}
	}
	return errors.Join(errs...)
}

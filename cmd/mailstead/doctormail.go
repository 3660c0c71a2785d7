package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"mailstead/reconcile"
	"mailstead/reconcile/doctor"
	"mailstead/reconcile/kind"
	"mailstead/schema"
)

// What looking at mail may take: of one user, who may keep us waiting, and how many
// users at once.
const (
	mailPatience    = 30 * time.Second
	mailPatienceAll = 2 * time.Hour
	mailAtOnce      = 4
)

// maxDirectoryMail is of how many users the mail is looked at whom only a directory
// knows.
const maxDirectoryMail = 10_000

// mailbag is the mail of one user: what to look at, and what came of it.
type mailbag struct {
	reconcile.Resource
	broken bool // the plan says what of it is missing or wrong
	scan   kind.Scan
	err    error
}

// mail looks at everybody's Maildir, as its owner.
func (u *checkup) mail(ctx context.Context) error {
	if !u.privileged() {
		u.Skip("Maildirs", "only root can become their owners")
		return nil
	}
	bags := u.bags()
	if err := u.scanAll(ctx, bags); err != nil {
		return err
	}
	removed := 0
	disks := u.disks()
	for _, b := range bags {
		user, path := b.Ref.Name, b.Get("path")
		if b.err == nil {
			disks.add(b.scan.Disk, fmt.Sprintf("mail of %s (%s)", user, path), b.Origin)
		}
		removed += b.scan.Removed
		switch {
		case b.err != nil && !b.broken:
			u.Add(doctor.New(doctor.MailUnreadable, fmt.Sprintf("mail of %s (%s)", user, path), b.err.Error()).At(b.Origin).
				Do(fmt.Sprintf("mailstead explain-login %s says where it ends.", user)))
		case b.err == nil:
			u.Add(doctor.Mail(user, path, b.scan, b.broken, b.Origin)...)
		}
	}
	u.Look("Maildirs", len(bags))
	for _, v := range disks {
		u.Add(v.Judge()...)
	}
	if u.o.removeTmp {
		u.Look("files removed from tmp", removed)
	}
	return nil
}

// volumes are the file systems on which mail and state are.
type volumes []*doctor.Volume

func (all *volumes) add(d kind.Disk, what, origin string) {
	for _, v := range *all {
		if v.ID == d.ID {
			v.More++
			return
		}
	}
	*all = append(*all, &doctor.Volume{Disk: d, What: what, Origin: origin})
}

// disks begins with that of the state.
func (u *checkup) disks() (all volumes) {
	if d, err := kind.DiskAt(u.host.Paths.State); err == nil {
		all.add(d, u.host.Paths.State, u.host.Origin.String())
	}
	return all
}

// bags gives the mail to look at, by its owner. What has yet to be made is not
// there.
func (u *checkup) bags() (bags []*mailbag) {
	paths := map[string]bool{}
	changes, unread := map[reconcile.Ref]reconcile.Change{}, map[reconcile.Ref]bool{}
	for _, c := range u.plan.Changes {
		changes[c.Ref] = c
	}
	for _, x := range u.plan.Unreadable {
		unread[x.Ref] = true
	}
	for _, r := range u.l.want {
		if r.Ref.Kind != "maildir" || r.Blocked != nil {
			continue
		}
		paths[r.Get("path")] = true
		change, changed := changes[r.Ref]
		if changed && change.Have == nil {
			continue
		}
		broken := changed || unread[r.Ref]
		bags = append(bags, &mailbag{Resource: r, broken: broken})
	}
	for _, r := range u.ofDirectories() {
		if !paths[r.Get("path")] {
			bags = append(bags, &mailbag{Resource: r})
		}
	}
	slices.SortStableFunc(bags, func(a, b *mailbag) int { return cmp.Compare(a.Get("owner"), b.Get("owner")) })
	return bags
}

// ofDirectories gives the mail below mail.root of those whom only a directory knows.
func (u *checkup) ofDirectories() (all []reconcile.Resource) {
	i := slices.IndexFunc(u.host.Directories, func(d schema.Directory) bool { return len(d.Homes) == 0 })
	owner, known := u.l.facts.Accounts[u.host.Mail.User]
	if i < 0 || !known {
		return nil
	}
	root, err := os.Open(u.host.Mail.Root)
	if err != nil {
		return nil
	}
	defer root.Close()
	names, _ := root.Readdirnames(maxDirectoryMail)
	if len(names) == maxDirectoryMail {
		u.Skip("Maildirs of more users of directories", fmt.Sprintf("%d are enough for one look", maxDirectoryMail))
	}
	slices.Sort(names)
	for _, name := range names {
		home := filepath.Join(u.host.Mail.Root, name)
		if !strings.HasPrefix(name, ".") {
			all = append(all, kind.Maildir(kind.MaildirSpec{User: name, Path: filepath.Join(home, "Maildir"), Home: home, UID: owner.UID, GID: owner.GID}, u.host.Directories[i].Origin.String()))
		}
	}
	return all
}

// scanAll looks at the mail of some at once, each by a helper of its own: who keeps
// one waiting keeps few others waiting.
func (u *checkup) scanAll(ctx context.Context, bags []*mailbag) error {
	todo := make(chan *mailbag)
	var busy sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for range min(mailAtOnce, len(bags)) {
		busy.Go(func() {
			h := &kind.Host{Patience: mailPatience}
			if u.o.allMessages {
				h.Patience = mailPatienceAll
			}
			defer h.Close()
			for b := range todo {
				b.scan, b.err = h.Scan(ctx, kind.ScanSpec{Maildir: b.Resource, All: u.o.allMessages, RemoveTmp: u.o.removeTmp})
				if errors.Is(b.err, context.DeadlineExceeded) && ctx.Err() == nil {
					b.err = fmt.Errorf("it could not be looked at within %v", h.Patience)
				}
				mu.Lock()
				done++
				u.progress(done, len(bags))
				mu.Unlock()
			}
		})
	}
	for _, b := range bags {
		todo <- b
	}
	close(todo)
	busy.Wait()
	return ctx.Err()
}

// progress says on a terminal how far it has come.
func (u *checkup) progress(done, of int) {
	if !u.c.progress || done%16 != 0 && done != of {
		return
	}
	fmt.Fprint(u.c.err, eraseLine)
	if done < of {
		fmt.Fprintf(u.c.err, "[%d/%d] Maildirs", done, of)
	}
}

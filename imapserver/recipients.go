package imapserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"mailstead/imapserver/auth"
	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
)

// The bounds of those whose mail is known to be there, and of how long that holds: it may
// be removed.
const (
	maxFirst = 1 << 14
	thereFor = time.Minute
)

// recipients says where the mail of users is whom only directories know, to those who
// deliver it: root, and the owner of all of a directory's mail, who is told of that
// mail alone.
type recipients struct {
	log      *slog.Logger
	auth     *auth.Auth
	settings func() *Settings
	begin    func(u config.User, stream *os.File) error // a session

	mu    sync.Mutex
	there map[string]time.Time // Maildirs, since when that was seen
}

// openRecipients binds their socket, whether there are directories now or by a reload.
func openRecipients(s *Settings) (net.Listener, error) {
	return control.ListenAll(control.RecipientSocket(s.Config.Control))
}

// serve answers until ctx ends.
func (d *recipients) serve(ctx context.Context, l net.Listener) {
	if err := (control.RecipientServer{Allow: d.allow, Answer: d.answer}).Serve(ctx, l); err != nil {
		d.log.Error("socket of deliveries lost", "err", err)
	}
}

func (d *recipients) allow(uid int) bool {
	for _, each := range d.settings().Config.Directories {
		if uid == 0 || each.May.Owner != nil && each.May.Owner.UID == uid {
			return true
		}
	}
	return false
}

func (d *recipients) answer(ctx context.Context, uid int, r control.RecipientRequest) control.Recipient {
	var untold control.Recipient // if a directory may know one of the names, and does not say
	for i, name := range r.Names[:min(len(r.Names), control.MaxNames)] {
		u, err := d.auth.Find(ctx, name)
		switch {
		case errors.Is(err, auth.ErrUnknown):
			continue
		case errors.Is(err, auth.ErrUntold):
			untold = control.Recipient{Untold: true, Error: err.Error()}
			continue
		case err == nil && u.Elsewhere != "": // another server takes that mail
			return control.Recipient{}
		case err == nil && uid != 0 && u.UID != uid:
			err = fmt.Errorf("the mail of %q is of uid %d, and uid %d asks", name, u.UID, uid)
		case err == nil:
			err = d.first(u)
		}
		if err != nil {
			return control.Recipient{Error: err.Error()}
		}
		return control.Recipient{Known: true, Meant: i, Name: u.Name, UID: u.UID, GID: u.GID, Maildir: u.Maildir, Roots: d.roots(u), Quota: (*control.Quota)(u.Quota)}
	}
	return untold
}

// roots are the directories that whoever delivers to a user has to see, as for sessions.
func (d *recipients) roots(u config.User) []string {
	for _, each := range d.settings().Config.Directories {
		for _, root := range each.May.Roots {
			if each.Name == u.Directory && each.May.Owner != nil && within(u.Maildir, root) {
				return []string{root}
			}
		}
	}
	return []string{home(u)}
}

// first has the mail of a user be there who may never have logged in: a session makes
// it, as that of the first login does.
func (d *recipients) first(u config.User) error {
	d.mu.Lock()
	seen := d.there[u.Maildir]
	d.mu.Unlock()
	if time.Since(seen) < thereFor {
		return nil
	}
	ours, theirs, err := handoff.StreamPair()
	if err != nil {
		return err
	}
	defer ours.Close()
	if err := d.begin(u, theirs); err != nil {
		return err
	}
	ours.SetDeadline(time.Now().Add(doorTimeout))
	greeting, err := bufio.NewReader(io.LimitReader(ours, 64<<10)).ReadString('\n')
	if err == nil && strings.HasPrefix(greeting, "* BYE") {
		err = errors.New(strings.TrimSpace(greeting))
	}
	if err != nil {
		return fmt.Errorf("mail of %q: %w", u.Name, err)
	}
	io.WriteString(ours, "a LOGOUT\r\n") // it ends anyhow
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.there) >= maxFirst {
		clear(d.there)
	}
	d.there[u.Maildir] = time.Now()
	return nil
}

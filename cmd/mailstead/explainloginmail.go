package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailstead/imapserver/control"
	"mailstead/imapserver/limit"
	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/render"
)

// maildir is the user's mail: as the description wants it, or as a directory says. It
// is nil where neither knows.
func (w *loginWalk) maildir() *reconcile.Resource {
	for _, r := range w.want {
		if r.Ref == kind.MaildirRef(w.User) {
			return &r
		}
	}
	if w.whose == nil {
		return nil
	}
	r := kind.Maildir(kind.MaildirSpec{User: w.whose.Name, Path: w.whose.Maildir, Home: w.whose.Home, UID: w.whose.UID, GID: w.whose.GID}, w.userOrigin())
	return &r
}

// atMail goes to the Maildir as its owner, and looks at it.
func (w *loginWalk) atMail(ctx context.Context, m *reconcile.Resource) {
	w.add(loginStep{Step: "owner", Came: control.StepOK, Seen: fmt.Sprintf("uid and gid %s, home %s, Maildir %s", m.Get("owner"), m.Get("home"), m.Get("path")), Origin: m.Origin})
	if m.Blocked != nil {
		w.add(loginStep{Step: "Maildir", Came: control.StepEnds, Seen: m.Blocked.Reason, Remedy: m.Blocked.Command, Origin: m.Origin})
		return
	}
	if os.Geteuid() != 0 && !w.opts.Rootless {
		w.add(loginStep{Step: "directories", Came: control.StepUntold, Seen: "only root can become the owner of the mail", Remedy: "Run this as root.", Origin: m.Origin})
		return
	}
	w.kinds.Patience = mailPatience
	way, err := w.kinds.Way(ctx, *m)
	if err != nil {
		w.add(loginStep{Step: "directories", Came: control.StepEnds, Seen: err.Error(), Origin: m.Origin})
		return
	}
	step := wayStep(way, m)
	if w.add(step); step.Came == control.StepOK {
		w.atMaildir(ctx, m)
	}
}

// wayStep says how far the owner of mail gets.
func wayStep(way []kind.WayStep, m *reconcile.Resource) loginStep {
	last := way[len(way)-1]
	step := loginStep{Step: "directories", Came: control.StepEnds, Origin: m.Origin}
	uid, _, _ := strings.Cut(m.Get("owner"), ":")
	switch {
	case last.Error != "" && len(way) > 1 && last.Path == m.Get("path"):
		step.Seen, step.Remedy = fmt.Sprintf("%s: %s", last.Path, last.Error), "See whether its file system is mounted (findmnt); mailstead apply makes what is missing, empty."
	case last.Error != "":
		step.Seen, step.Remedy = fmt.Sprintf("%s: %s", last.Path, last.Error), "See whether its file system is mounted (findmnt). Else make the directory, or correct the user's home in the description."
	case !last.Dir:
		step.Seen, step.Remedy = last.Path+" is no directory", "Move it away, then run mailstead apply."
	case !last.Enter:
		step.Seen = fmt.Sprintf("uid %s may not go through %s, which has mode %04o and belongs to %d:%d", uid, last.Path, last.Mode, last.UID, last.GID)
		if step.Remedy = fmt.Sprintf("chmod o+x %s, or give it to its owner with chown.", last.Path); fmt.Sprint(last.UID) == uid {
			step.Remedy = "chmod u+x " + last.Path
		}
	default:
		step.Came, step.Seen = control.StepOK, fmt.Sprintf("uid %s may go through all %d on the way", uid, len(way))
	}
	return step
}

// atMaildir looks at the Maildir itself.
func (w *loginWalk) atMaildir(ctx context.Context, m *reconcile.Resource) {
	step := loginStep{Step: "Maildir", Came: control.StepOK, Origin: m.Origin}
	scan, err := w.kinds.Scan(ctx, kind.ScanSpec{Maildir: *m})
	switch {
	case err != nil:
		step.Came, step.Seen, step.Remedy = control.StepEnds, err.Error(), "Do what it says, or run mailstead apply."
	case scan.Missing:
		step.Came, step.Seen, step.Remedy = control.StepEnds, "there is none", "Run mailstead apply."
	default:
		step.Seen = number(scan.Messages, "message") + " in " + number(scan.Mailboxes, "mailbox")
		var wrong []string
		for _, f := range scan.Flaws {
			wrong = append(wrong, fmt.Sprintf("%d %s", f.Count, f.Flaw))
		}
		if len(wrong) > 0 {
			step.Seen += "; wrong there: " + strings.Join(wrong, ", ")
			step.Remedy = "mailstead doctor says what that means; mailstead apply mends directories and modes."
		}
	}
	w.add(step)
}

// atSession counts the user's sessions, begins one more, and opens INBOX.
func (w *loginWalk) atSession(ctx context.Context) {
	w.atSessions(ctx)
	if !w.whose.Session {
		w.add(loginStep{Step: "mailbox", Came: control.StepUntold, Seen: "not tried: whom only a directory knows has to log in once before", Origin: w.userOrigin(),
			Remedy: "Give the password: --password-stdin."})
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*probeTimeout)
	defer cancel()
	quota, err := w.open(ctx)
	if quota != "" {
		w.add(loginStep{Step: "quota", Came: control.StepOK, Seen: quota, Origin: w.userOrigin()})
	}
	step := loginStep{Step: "mailbox", Came: control.StepOK, Seen: "INBOX opens", Origin: w.userOrigin()}
	if err != nil {
		step.Came, step.Seen, step.Remedy = control.StepEnds, err.Error(), "The journal of the unit says more: journalctl -u mailstead-spawn -u mailstead-imapd."
	}
	w.add(step)
}

// atSessions holds the user's sessions against the limit.
func (w *loginWalk) atSessions(ctx context.Context) {
	answer, err := control.Ask(ctx, render.ControlSocket(w.host.Paths), control.Request{Verb: control.VerbSessions, User: w.whose.Name})
	if err != nil || answer.Error != "" {
		return // the steps before have asked the same daemon
	}
	most := limit.Default().With(w.host.Limits).Login.PerUser
	step := loginStep{Step: "sessions", Came: control.StepOK, Origin: w.fieldOrigin("limits"), Seen: fmt.Sprintf("%d of %d", len(answer.Connected), most)}
	if len(answer.Connected) >= most {
		step.Came, step.Remedy = control.StepEnds, "mailstead sessions --user "+w.whose.Name+" says who they are; limits: sessionsPerUser allows more."
	}
	w.add(step)
}

// open begins a session of the user's, and gives what it says of the quota.
func (w *loginWalk) open(ctx context.Context) (quota string, err error) {
	conn, err := control.Session(ctx, render.ControlSocket(w.host.Paths), w.whose.Name)
	if err != nil {
		return "", err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c := imapclient.New(conn, nil)
	defer c.Close()
	if err := c.WaitGreeting(); err != nil {
		return "", fmt.Errorf("session of %s: %w", w.whose.Name, reasonless(ctx, err))
	}
	if roots, err := c.GetQuotaRoot("INBOX").Wait(); err == nil {
		quota = quotaText(roots)
	}
	return quota, reasonless(ctx, examineInbox(c, w.whose.Name))
}

// reasonless prefers that time has run out to what that did to the connection.
func reasonless(ctx context.Context, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("no answer within %v", 2*probeTimeout)
	}
	return err
}

// quotaText says how much of each quota is used; full ones only keep mail from coming.
func quotaText(roots []imapclient.QuotaData) string {
	var parts []string
	for _, root := range roots {
		for kind, r := range root.Resources {
			part := fmt.Sprintf("%s %d of %d", strings.ToLower(string(kind)), r.Usage, r.Limit)
			if kind == imap.QuotaResourceStorage {
				part = fmt.Sprintf("%d of %d KiB", r.Usage, r.Limit)
			}
			if r.Usage >= r.Limit {
				part += " (full: reading goes on, and nothing new is stored)"
			}
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

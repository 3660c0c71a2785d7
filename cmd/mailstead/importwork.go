package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"mailstead/imapserver/config"
	"mailstead/imapserver/confine"
	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
	"mailstead/reconcile/transfer"
)

// importJob is what the one who does the work is told. It goes through a pipe,
// since it holds a password.
type importJob struct {
	Prefix      string // of the personal namespace here
	Journal     string // directory
	Options     transfer.Options
	Verify      bool
	Output      string
	Terminal    bool // stderr is one
	Resumes     bool // it is done again soon: if it is ended it is done in part, as long as it has brought anything
	Connections int
	ConnectBy   string // socket of who has the network, whose channel comes behind the sessions; "": a process that is started for it

	Server  *transfer.Server // one of the four
	CA      []byte           // PEM; nil: the system's
	Maildir string
	Mbox    string
	Kept    string
	Since   time.Time // for Kept, as are
	Keeps   bool      // anything is kept from now on
	Moved   []moved   // what was moved back
	Origins map[string]map[uint32]string
}

// sourceName is what an import is remembered under that has no name. Directories of
// one name are told apart by where they are.
func (j *importJob) sourceName() string {
	if j.Server != nil {
		return j.Server.User + "@" + j.Server.Host
	}
	path := j.Maildir + j.Mbox
	sum := sha256.Sum256([]byte(path))
	return fmt.Sprintf("%s-%x", filepath.Base(path), sum[:4])
}

// newImportWorkCommand is what import starts as the user whose mail it is: what
// another server sends is read by nobody who could do more.
func newImportWorkCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "import-work",
		Short:  "bring mail in for another mailstead",
		Long:   "Started by mailstead itself; of no use by hand." + exitStatus(exitDone, exitFailed, exitLocked),
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var j importJob
			if err := json.NewDecoder(cmd.InOrStdin()).Decode(&j); err != nil {
				return fmt.Errorf("read what is to be done: %w", err)
			}
			c := newConsole(cmd)
			c.progress = j.Terminal
			return j.work(cmd.Context(), c)
		},
	}
}

// firstSession is the descriptor of the first session with the daemon.
const firstSession = 3

// importMemory is what the work may use before its garbage is collected at once.
const importMemory = 40 << 20

// start begins the sessions and has the work done as the owner of the mail.
func (j *importJob) start(ctx context.Context, socket string, user config.User, c *console) error {
	if uid := os.Geteuid(); uid != user.UID && uid != 0 {
		return hint(fmt.Errorf("the mail of %q belongs to the uid %d", user.Name, user.UID), "run this as root")
	}
	cmd := asUser(ctx, uint32(user.UID), uint32(user.GID), c.out, c.err, "import-work")
	files, err := j.open(ctx, socket, user)
	for _, f := range files {
		defer f.Close()
	}
	if err != nil {
		return err
	}
	cmd.ExtraFiles = files
	data, err := json.Marshal(j)
	if err != nil {
		return err
	}
	cmd.Stdin = bytes.NewReader(data)
	return runAsUser(ctx, cmd, uint32(user.UID))
}

// open begins the sessions, and the way to the source. What it gives beside an error is
// to be closed as well.
func (j *importJob) open(ctx context.Context, socket string, user config.User) (files []*os.File, err error) {
	take := func(c interface{ File() (*os.File, error) }) error {
		f, err := c.File()
		if err == nil {
			files = append(files, f)
		}
		return err
	}
	for range j.Connections + 1 {
		c, err := control.Session(ctx, socket, user.Name)
		if errors.Is(err, control.ErrNotRunning) {
			return files, hint(err, "mail is brought in through it: start it first")
		}
		if err != nil {
			return files, err
		}
		err = take(c)
		c.Close()
		if err != nil {
			return files, err
		}
	}
	if j.Server == nil {
		return files, nil
	}
	var c *handoff.Conn
	if j.ConnectBy != "" {
		c, err = openConnector(ctx, j.ConnectBy, j.Server.Address())
	} else {
		c, err = startConnector(user, j.Server.Address())
	}
	if err != nil {
		return files, err
	}
	defer c.Close()
	err = take(c)
	return files, err
}

// work does it, in a process of the user's.
func (j *importJob) work(ctx context.Context, c *console) error {
	debug.SetGCPercent(40)
	debug.SetMemoryLimit(importMemory)
	var sessions []net.Conn
	for i := range j.Connections + 1 {
		f := os.NewFile(uintptr(firstSession+i), "session "+strconv.Itoa(i))
		conn, err := net.FileConn(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("session with the daemon: %w", err)
		}
		sessions = append(sessions, conn)
	}
	to, err := transfer.NewTarget(ctx, j.Prefix, sessions)
	if err != nil {
		return err
	}
	defer to.Close()
	guard := filepath.Dir(j.Journal)
	if j.Kept != "" {
		guard = j.Journal // which does not have to wait for an import
	}
	journal, err := transfer.OpenJournal(j.Journal, guard)
	if errors.Is(err, transfer.ErrLocked) {
		return &exitError{exitLocked, err}
	}
	if err != nil {
		return err
	}
	defer journal.Close()
	if j.Server != nil {
		if err := j.reach(guard); err != nil {
			return err
		}
	}
	open, err := j.opener()
	if err != nil {
		return err
	}
	p := newTransferProgress(c)
	t := &transfer.Transfer{Open: open, Target: to, Journal: journal, Options: j.Options, Progress: p}
	defer func() {
		for _, name := range t.Idle {
			if !j.Resumes { // of every hour it is no news
				fmt.Fprintf(c.err, "mailstead: warning: no mailbox there is left out as %q\n", name)
			}
		}
	}()
	if j.Verify {
		compared, differences, err := t.Verify(ctx)
		p.clear()
		return errors.Join(writeVerified(c, j.Output, compared, differences, err == nil), err)
	}
	reports, err := t.Run(ctx)
	p.clear()
	if j.Kept != "" && !j.Keeps && len(reports)+len(j.Moved) == 0 && err == nil {
		return hint(errors.New("nothing is kept on this host: what was expunged is gone; and there is nothing to be moved back"), "for the future, say keep: \"14d\" in the description")
	}
	faults := errors.Join(writeImported(c, j, reports, err == nil), transfer.Faults(reports))
	if faults == nil && err != nil && j.Resumes && ctx.Err() != nil && slices.ContainsFunc(reports, func(r transfer.Report) bool { return r.Brought > 0 }) {
		return &exitError{code: exitPartial}
	}
	return errors.Join(faults, err)
}

// reach finds the way to who connects to the server, and takes from this process what it
// does not need: it is about to read what another host sends. That is all files but those
// below guard and large messages, and all system calls but those of a worker, of which
// it needs no socket. As with onlyTalks, the sandbox of the unit holds without.
func (j *importJob) reach(guard string) error {
	c, err := handoff.NewConn(os.NewFile(uintptr(firstSession+j.Connections+1), "connector"))
	if err != nil {
		return err
	}
	j.Server.Connect = (&connector{server: j.Server.Address(), c: c.Bound(0)}).connect
	x509.SystemCertPool() // reads them now; a handshake says if there are none
	if _, err = confine.Files([]string{guard, os.TempDir()}); errors.Is(err, confine.ErrNoLandlock) {
		return nil
	}
	return errors.Join(err, confine.Limits(), confine.Calls())
}

func (j *importJob) opener() (transfer.Opener, error) {
	switch {
	case j.Kept != "":
		return (&transfer.Kept{Dir: j.Kept, Since: j.Since, Origins: j.Origins}).Open, nil
	case j.Server == nil && j.Maildir != "":
		return (&transfer.Maildir{Dir: j.Maildir}).Open, nil
	case j.Server == nil:
		return (&transfer.Mbox{Path: j.Mbox}).Open, nil
	}
	if j.CA != nil {
		j.Server.Roots = x509.NewCertPool()
		if !j.Server.Roots.AppendCertsFromPEM(j.CA) {
			return nil, errors.New("--ca has no certificate in it")
		}
	}
	return j.Server.Open, nil
}

// askOnce reads a line from a terminal without its echo.
func askOnce(c *console, question string) (string, error) {
	f := c.in.(*os.File)
	fmt.Fprint(c.err, question)
	line, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(c.err)
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	return string(line), nil
}

package dialogue

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailstead/imapserver/maildir"
)

// Account is a user of a server, made for one script, with an empty Maildir.
type Account struct {
	Server   string // "mailstead" or "dovecot"
	User     string
	Password string
	Maildir  string
	UID, GID int // who owns the mail
	// Others are the accounts of the other users of the script, by the names that
	// it has for them.
	Others map[string]*Account

	// Dial connects to a listener: "plain", "starttls" or "tls". The
	// certificates are for localhost, issued by Roots.
	Dial  func(listener string) (net.Conn, error)
	Roots *x509.CertPool
	// Use gives a folder its special use.
	Use func(use, folder string) error

	delivered int
	files     map[string]string // folder and message: base name of the file
}

// folder is the directory of a mailbox, in Maildir++.
func (a *Account) folder(name string) string {
	if strings.EqualFold(name, "INBOX") {
		return a.Maildir
	}
	return filepath.Join(a.Maildir, "."+name)
}

func (a *Account) makeFolder(name string) error {
	dir := a.folder(name)
	for _, d := range []string{dir, dir + "/cur", dir + "/new", dir + "/tmp"} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return err
		}
		if err := os.Chown(d, a.UID, a.GID); err != nil {
			return err
		}
	}
	return a.write(filepath.Join(dir, "maildirfolder"), "")
}

func (a *Account) write(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	return os.Chown(path, a.UID, a.GID)
}

// deliver puts a message into a folder as a mail server does: written into
// tmp/, renamed into new/; or into cur/ with flags.
func (a *Account) deliver(folder, name, message, where string, date time.Time) error {
	a.delivered++
	base := fmt.Sprintf("%d.M%06dP1.dialogue", 1700000000+a.delivered, a.delivered)
	dir := a.folder(folder)
	tmp := filepath.Join(dir, "tmp", base)
	if err := a.write(tmp, strings.ReplaceAll(message, "\r\n", "\n")); err != nil {
		return err
	}
	if !date.IsZero() {
		if err := os.Chtimes(tmp, date, date); err != nil {
			return err
		}
	}
	if a.files == nil {
		a.files = map[string]string{}
	}
	a.files[folder+"/"+name] = base
	return os.Rename(tmp, filepath.Join(dir, strings.Replace(where, "*", base, 1)))
}

// file finds the file that a message was last delivered as.
func (a *Account) file(folder, name string) (path string, err error) {
	base, ok := a.files[folder+"/"+name]
	if !ok {
		return "", fmt.Errorf("no message %s was delivered into %s", name, folder)
	}
	for _, pattern := range []string{"new/" + base + "*", "cur/" + base + "*"} {
		found, err := filepath.Glob(filepath.Join(a.folder(folder), pattern))
		if err != nil {
			return "", err
		}
		if len(found) > 0 {
			return found[0], nil
		}
	}
	return "", fmt.Errorf("%s: %w", base, os.ErrNotExist)
}

// remove unlinks a message.
func (a *Account) remove(folder, name string) error {
	path, err := a.file(folder, name)
	if err != nil {
		return err
	}
	return os.Remove(path)
}

// setFlags renames the file of a message.
func (a *Account) setFlags(folder, name, flags string) error {
	path, err := a.file(folder, name)
	if err != nil {
		return err
	}
	base, _, _ := strings.Cut(filepath.Base(path), ":")
	return os.Rename(path, filepath.Join(a.folder(folder), "cur", base+":2,"+strings.Trim(flags, "-")))
}

// act does an action on the Maildir.
func (a *Account) act(s *Script, step Step) error {
	args := slices.Clone(step.Args)
	if user, folder, other := strings.Cut(args[0], "/"); other {
		if a.Others[user] == nil {
			return fmt.Errorf("no user %q", user)
		}
		a, args[0] = a.Others[user], folder
	}
	switch step.Verb {
	case "mkdir":
		return a.makeFolder(args[0])
	case "use":
		return a.Use(args[0], args[1])
	case "remove":
		return a.remove(args[0], args[1])
	case "flags":
		return a.setFlags(args[0], args[1], args[2])
	}
	var date time.Time
	where := "new/*"
	for _, arg := range args[2:] {
		t, err := time.Parse(time.RFC3339, arg)
		switch {
		case err == nil:
			date = t
		case step.Verb == "put":
			where = "cur/*:2," + arg
		default:
			return err
		}
	}
	if step.Verb == "put" && where == "new/*" {
		where = "cur/*:2,"
	}
	return a.deliver(args[0], args[1], s.messages[args[1]], where, date)
}

// useFolder adds a line to our own file of special uses.
func useFolder(dir, use, folder string) error {
	own := filepath.Join(dir, maildir.OwnDir)
	if err := os.MkdirAll(own, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(own, maildir.SpecialUseFile), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s %s\n", use, folder)
	return errors.Join(err, f.Close())
}

// makeMaildir makes the top of an empty Maildir.
func makeMaildir(a *Account) error {
	for _, dir := range []string{"", "cur", "new", "tmp"} {
		path := filepath.Join(a.Maildir, dir)
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		if err := os.Chown(path, a.UID, a.GID); err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/imapserver/maildir"
	"mailstead/reconcile/kind"
	"mailstead/reconcile/transfer"
	"mailstead/render"
	"mailstead/schema"
)

type importOptions struct {
	source
	config      string // of the daemon, in place of a description
	user        string
	name        string
	from        string
	tls         string
	ca          string
	password    string // file
	maildir     string
	mbox        string
	output      string
	connections int
	verify      bool
	hourly      bool
	within      time.Duration // 0: without an end
	connectBy   string        // socket of who has the network; "": it is started
	transfer.Options
}

func newImportCommand() *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import [PATH...] --user NAME [--from URL | --maildir DIR | --mbox PATH]",
		Short: "bring an account's mail in from elsewhere",
		Long: `Brings all mailboxes of an account elsewhere into those of a user of this host,
with dates, flags, keywords and special use, while the user is served. It may be
interrupted at any point and is run again: what has been brought is not brought
twice, and only what is new is asked for. Nothing is changed at the source.

The source is an IMAP server (imaps://alice@mail.example.com, or imap:// for
STARTTLS), a tree of Maildirs as Courier, Dovecot or mbsync left it, or mbox
files, those of Google's Takeout among them. The password is the first line of
--password-file, or is asked for. Without a source, it is the imports of that
user in the description, all of them or the one of --name.

Without --into, INBOX goes to INBOX, and a mailbox with a special use to ours of
that use. With --into Old, everything goes below "Old", and the INBOX there into
"Old" itself.

--mailbox and --exclude take names that the source has, or patterns of them, in
which * is anything but "/", ? one character and [ab] one of these; [Gmail]/* is
meant as it stands, too. It is a failure if the source does not have what
--mailbox names, and nothing was brought of it before.

` + sourceHelp + exitStatus(exitDone, exitFailed, exitInvalid, exitLocked),
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.take(args)
			return runImport(cmd.Context(), o, newConsole(cmd))
		},
	}
	o.importFlags(cmd)
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "say how much there is, and bring nothing")
	cmd.Flags().BoolVar(&o.Flags, "flags", true, "change here the flags that have changed at the source since they were brought")
	cmd.Flags().IntVar(&o.connections, "connections", 4, "`number` of connections to the source, at most; it is asked by fewer once it refuses one")
	cmd.Flags().BoolVar(&o.hourly, "hourly", false, "all that the description wants every hour, of every user; what the timer runs")
	cmd.Flags().DurationVar(&o.within, "within", 0, "stop an import that takes longer than this `duration`, and go on with it in the next run (with --hourly: 30m, if nothing is said)")
	cmd.Flags().StringVar(&o.connectBy, "connect-by", "", "have who serves this `socket` connect to the source, in place of a process of this command; what the timer runs has it")
	cmd.AddCommand(newImportVerifyCommand())
	return cmd
}

func newImportVerifyCommand() *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "verify [PATH...] --user NAME [--from URL | --maildir DIR | --mbox PATH]",
		Short: "compare what was brought in with its source, message by message",
		Long: `Reads every message on both sides and compares octets, date and flags. Says
which are missing or differ, or were brought twice; mail that the user has
changed, moved or removed since is among them. It takes the options of the
import that it looks after; without a source, it looks after those of the user
in the description.` + exitStatus(exitDone, exitFailed, exitInvalid, exitLocked),
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.take(args)
			o.verify, o.connections = true, 1
			return runImport(cmd.Context(), o, newConsole(cmd))
		},
	}
	o.importFlags(cmd)
	return cmd
}

func (o *importOptions) importFlags(cmd *cobra.Command) {
	o.source.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "the daemon's configuration `file`, in place of a description")
	f.StringVarP(&o.user, "user", "u", "", "the `name` of the user who gets the mail (required)")
	f.StringVar(&o.from, "from", "", "the account at an IMAP server, as a `URL`")
	f.StringVar(&o.tls, "tls", "", "`how` TLS starts: implicit or starttls (default: by the URL), or none, to a loopback address")
	completeWith(cmd, "tls", transfer.TLSImplicit, transfer.TLSStart, transfer.TLSNone)
	f.StringVar(&o.ca, "ca", "", "`file` of the certificates that the server's is checked against (default: the system's)")
	f.StringVar(&o.password, "password-file", "", "`file` with the password on its first line")
	f.StringVar(&o.maildir, "maildir", "", "a tree of Maildirs, in `directory`")
	f.StringVar(&o.mbox, "mbox", "", "an mbox file, or a directory of them, at `path`")
	f.StringVar(&o.name, "name", "", "what the import is remembered under (default: after the source)")
	f.StringVar(&o.Into, "into", "", "`mailbox` below which everything goes")
	f.StringArrayVar(&o.Include, "mailbox", nil, "bring this mailbox only, by its name there or a `pattern` with * (repeatable)")
	f.StringArrayVar(&o.Exclude, "exclude", nil, "leave out this mailbox, by its name there or a `pattern` (repeatable)")
	addOutput(cmd, &o.output)
}

// check refuses what no source and no daemon need to be asked about.
func (o *importOptions) check() error {
	if err := checkOutput(o.output); err != nil {
		return err
	}
	if wrong, advice := schema.FolderFault(o.Into); o.Into != "" && wrong != "" { // as of the description's
		return hint(fmt.Errorf("--into %q %s", o.Into, wrong), "%s", cmp.Or(advice, "name a mailbox as clients here do"))
	}
	return nil
}

func runImport(ctx context.Context, o importOptions, c *console) error {
	if err := o.check(); err != nil {
		return err
	}
	daemon, host, err := o.daemon()
	if err != nil {
		return err
	}
	if o.from == "" && o.maildir == "" && o.mbox == "" {
		return o.declared(ctx, daemon, host, c)
	}
	job, err := o.job(c)
	if err != nil {
		return err
	}
	return o.start(ctx, daemon, job, o.user, o.name, c)
}

// hourlyWithin is how long one of those takes that are done every hour: so much that the
// others still have their turn within the hour where a server or a user holds one up.
const hourlyWithin = 30 * time.Minute

// start begins a job for a user.
func (o *importOptions) start(ctx context.Context, daemon *config.Config, j *importJob, user, name string, c *console) (err error) {
	if o.within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.within)
		defer cancel()
		defer func() {
			if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				err = o.late(err, user+", "+name, c)
			}
		}()
	}
	u, err := findUser(ctx, daemon, user)
	if err != nil {
		return err
	}
	j.Resumes = o.hourly
	j.Prefix, j.Journal = daemon.Namespace, filepath.Join(u.Maildir, maildir.OwnDir, "import", name)
	return j.start(ctx, daemon.Control, u, c)
}

// late says that an import has not come to its end in its time: of those of every hour that
// is a fault only where it has not come any further.
func (o *importOptions) late(err error, which string, c *console) error {
	text := fmt.Sprintf("not done within %v: the next run goes on with it", o.within)
	if exit, said := errors.AsType[*exitError](err); !said || exit.code != exitPartial {
		return errors.New(text)
	}
	if o.output == outputText {
		fmt.Fprintln(c.out, text)
	} else {
		fmt.Fprintf(c.err, "mailstead: warning: %s: %s\n", visible(which), text)
	}
	return nil
}

// declared does what the description asks for, one after the other: of one user, or
// of everyone what is to be done every hour.
func (o *importOptions) declared(ctx context.Context, daemon *config.Config, host *schema.Host, c *console) error {
	if host == nil {
		return hint(errors.New("one source is needed"), "name it with --from, --maildir or --mbox")
	}
	o.user = calledUser(host, o.user)
	if o.hourly && o.within == 0 {
		o.within = hourlyWithin
	}
	var errs []error
	found := false
	for _, u := range host.Users {
		for _, i := range u.Imports {
			if o.hourly && !i.Hourly || !o.hourly && u.Name != o.user || o.name != "" && i.Name != o.name {
				continue
			}
			found = true
			if o.output == outputText {
				fmt.Fprintf(c.out, "%s, %s:\n", visible(u.Name), visible(i.Name))
			}
			err := o.one(ctx, daemon, u.Name, i, c)
			exit, said := errors.AsType[*exitError](err) // by who has done the work
			switch {
			case ctx.Err() != nil && said && exit.code != exitPartial:
				return exit
			case ctx.Err() != nil:
				return ctx.Err()
			case said && o.hourly && exit.code == exitLocked:
				// One that takes longer than an hour, or is done by hand.
			case err != nil:
				errs = append(errs, fmt.Errorf("%s, %s: %w", u.Name, i.Name, err))
			}
		}
	}
	if !found && !o.hourly {
		return o.noImport(host)
	}
	return errors.Join(errs...)
}

// noImport says that the description has none of what was asked for, and what it has.
func (o *importOptions) noImport(host *schema.Host) error {
	if o.user == "" {
		return hint(errors.New("no user is named"), "name the one who gets the mail with --user")
	}
	var names []string
	for _, u := range host.Users {
		for _, i := range u.Imports {
			if u.Name == o.user {
				names = append(names, i.Name)
			}
		}
	}
	if names != nil {
		return hint(fmt.Errorf("the description has no import %q of %q", o.name, o.user), "there are: %s", strings.Join(names, ", "))
	}
	return hint(fmt.Errorf("the description has no such import of %q", o.user), "name a source with --from, --maildir or --mbox")
}

// one does one of the description's.
func (o *importOptions) one(ctx context.Context, daemon *config.Config, user string, i schema.Import, c *console) error {
	password, err := passwordIn(i.PasswordFile)
	if err != nil {
		return err
	}
	j := o.newJob(c)
	j.Options.Into, j.Options.Include, j.Options.Exclude = i.Into, i.Mailboxes, i.Exclude
	j.Server = &transfer.Server{Host: i.Server, Port: i.Port, TLS: string(i.TLS), User: i.User, Password: password}
	if i.CA != "" {
		if j.CA, err = os.ReadFile(i.CA); err != nil {
			return err
		}
	}
	return o.start(ctx, daemon, j, user, i.Name, c)
}

// daemon reads what the daemon serves by, and the description unless that was said
// by --config.
func (o *importOptions) daemon() (daemon *config.Config, host *schema.Host, err error) {
	path := o.config
	if path == "" {
		if host, err = o.loadHost(); err != nil {
			return nil, nil, err
		}
		path = render.ConfigFile(host.Paths)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, hint(fmt.Errorf("read the daemon's configuration: %w", err), "apply the description first")
	}
	if daemon, err = config.Parse(data); err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", path, err)
	}
	return daemon, host, nil
}

// findUser gives the row of a user who has mail here. Whom the list does not have a
// directory may know.
func findUser(ctx context.Context, daemon *config.Config, name string) (config.User, error) {
	f, err := os.Open(daemon.Users)
	if err != nil {
		return config.User{}, err
	}
	defer f.Close()
	var alike []config.User
	for u, err := range config.ParseUsers(f, daemon.Workers) {
		if err != nil {
			return config.User{}, fmt.Errorf("read %s: %w", daemon.Users, err)
		}
		if strings.EqualFold(u.Name, name) {
			alike = append(alike, u)
		}
		if u.Name == name { // whoever comes after
			break
		}
	}
	if u, ok := called(alike, func(u config.User) string { return u.Name }, name); ok {
		if u.Elsewhere != "" {
			return u, fmt.Errorf("the mail of %q is on another host: %s", u.Name, visible(u.Elsewhere))
		}
		return u, nil
	}
	none := hint(fmt.Errorf("no user %q on this host", name), "the users are those of the description that was applied")
	if len(daemon.Directories) == 0 {
		return config.User{}, none
	}
	r, err := control.AskRecipient(ctx, control.RecipientSocket(daemon.Control), control.RecipientRequest{Names: []string{name}})
	switch {
	case err != nil:
		return config.User{}, fmt.Errorf("user %q: ask the directories: %w", name, err)
	case r.Error != "":
		return config.User{}, fmt.Errorf("user %q: %s", name, visible(r.Error))
	case !r.Known:
		return config.User{}, none
	}
	u := config.User{Name: r.Name, UID: r.UID, GID: r.GID, Home: r.Maildir, Maildir: r.Maildir}
	return u, maySay(daemon, u)
}

// maySay refuses a user of whom no directory may say what auth says. The work is done as
// that uid, and auth, which talks to strangers, may have been taken over.
func maySay(daemon *config.Config, u config.User) error {
	var faults []string
	for _, d := range daemon.Directories {
		u.Directory = d.Name
		err := daemon.Admit(u)
		if err == nil {
			return nil
		}
		faults = append(faults, fmt.Sprintf("directory %s: %v", d.Name, err))
	}
	return fmt.Errorf("user %q: auth says what no directory may: %s", u.Name, strings.Join(faults, "; "))
}

func (o *importOptions) newJob(c *console) *importJob {
	return &importJob{Options: o.Options, Verify: o.verify, Output: o.output, Connections: max(1, min(o.connections, 16)), Terminal: c.progress, ConnectBy: o.connectBy}
}

// job makes of the flags what is to be done.
func (o *importOptions) job(c *console) (*importJob, error) {
	j := o.newJob(c)
	given := 0
	for _, s := range []string{o.from, o.maildir, o.mbox} {
		if s != "" {
			given++
		}
	}
	switch {
	case o.user == "":
		return nil, hint(errors.New("no user is named"), "name the one who gets the mail with --user")
	case given != 1:
		return nil, hint(errors.New("one source is needed"), "name it with --from, --maildir or --mbox")
	}
	var err error
	switch {
	case o.from != "":
		err = o.server(j, c)
	case o.maildir != "":
		j.Maildir, err = filepath.Abs(o.maildir)
	default:
		j.Mbox, err = filepath.Abs(o.mbox)
	}
	if err != nil {
		return nil, err
	}
	if o.name == "" {
		o.name = j.sourceName()
	}
	if o.name = plainName(o.name); o.name == "" {
		return nil, fmt.Errorf("%q is no name for an import", o.name)
	}
	return j, nil
}

// plainName makes a directory's name of what an import is called.
func plainName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_@.", r) {
			return r
		}
		return '_'
	}, s)
	return strings.Trim(s[:min(len(s), 100)], ".")
}

// server reads --from and what belongs to it.
func (o *importOptions) server(j *importJob, c *console) error {
	u, err := url.Parse(o.from)
	if err != nil || u.Host == "" || u.User.Username() == "" || u.Scheme != "imap" && u.Scheme != "imaps" || strings.Trim(u.Path, "/") != "" {
		return hint(fmt.Errorf("--from %q is no account at an IMAP server", o.from), "write it as imaps://alice@mail.example.com, with %%40 for an @ in the name")
	}
	if _, there := u.User.Password(); there {
		return hint(errors.New("--from holds a password, which everyone on this machine could read"), "give it by --password-file")
	}
	s := transfer.Server{Host: u.Hostname(), User: u.User.Username(), TLS: o.tls}
	if s.TLS == "" && u.Scheme == "imaps" {
		s.TLS = transfer.TLSImplicit
	} else if s.TLS == "" {
		s.TLS = transfer.TLSStart
	}
	s.Port = 143
	switch s.TLS {
	case transfer.TLSImplicit:
		s.Port = 993
	case transfer.TLSStart:
	case transfer.TLSNone:
		if ip, err := netip.ParseAddr(s.Host); err != nil || !ip.IsLoopback() {
			return errors.New("--tls none sends the password in the clear: it is for loopback addresses alone")
		}
	default:
		return fmt.Errorf("--tls %q: there are implicit, starttls and none", o.tls)
	}
	if p := u.Port(); p != "" {
		if s.Port, err = strconv.Atoi(p); err != nil {
			return fmt.Errorf("--from: port %q: %w", p, err)
		}
	}
	if o.ca != "" {
		if j.CA, err = os.ReadFile(o.ca); err != nil {
			return err
		}
	}
	s.Password, err = o.readPassword(c)
	j.Server = &s
	return err
}

// readPassword reads the password of the account at the source.
func (o *importOptions) readPassword(c *console) (string, error) {
	if o.password == "" {
		if !c.ask {
			return "", hint(errors.New("no password"), "give it by --password-file: there is no terminal to ask on")
		}
		return askOnce(c, "Password of "+visible(o.from)+": ")
	}
	return passwordIn(o.password)
}

// passwordIn reads a password from the first line of a file, which others must not be
// able to read: as the key of a certificate, it could be anybody's by now.
func passwordIn(path string) (string, error) {
	if kind.Exposed(path) {
		return "", hint(fmt.Errorf("%s can be read by every user of the host", path), "chmod 600 %s, and replace the password if somebody may have read it", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("%s: its first line is empty", path)
	}
	return line, nil
}

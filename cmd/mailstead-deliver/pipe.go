package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/config"
	"mailstead/imapserver/deliver"
	"mailstead/imapserver/limit"
	"mailstead/imapserver/maildir"
)

const usage = `mailstead-deliver puts the message on standard input into the mailbox of a user.

  mailstead-deliver [-f SENDER] [-a ADDRESS] [-m MAILBOX] USER
  mailstead-deliver [-f SENDER] [-a ADDRESS] [-m MAILBOX] -d MAILDIR
  mailstead-deliver -e

It runs as the owner of the mail, or as root, who becomes that. USER is a user of the
description, or an address of one ("alice+lists@example.org" goes to the mailbox
"lists" of alice, if there is one). The description needs "deliver: {}". With -e, sender
and user are what the mail server says by SENDER and RECIPIENT in the environment: Exim
puts nothing that comes from outside on a command line.

`

const exits = `
EXIT STATUS
  0   the message is in the mailbox, and on disk
  64  the command line makes no sense
  67  there is no such user
  69  the message can never be delivered: it is too large
  75  it could not be delivered now: the mailbox or the disk is full, or a fault of the host
`

// pipeOptions is the command line of a delivery from standard input.
type pipeOptions struct {
	sender, address, mailbox, maildir, state string
	named                                    bool // a sender was given, be it ""
	user                                     string
}

// run is the whole program: it gives the exit code.
func run(args []string, in io.Reader, out io.Writer) int {
	if code, ok := role(args, out); ok {
		return code
	}
	o, err := parsePipe(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(out, "mailstead-deliver: error: %v\nhint: see \"mailstead-deliver --help\"\n", err)
		return deliver.ExitUsage
	}
	if err := o.deliver(in, out); err != nil {
		fmt.Fprintf(out, "mailstead-deliver: error: %v\n", err)
		return deliver.AsFault(err).Exit()
	}
	return 0
}

func parsePipe(args []string, out io.Writer) (o pipeOptions, err error) {
	f := flag.NewFlagSet("mailstead-deliver", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.sender, "f", "", "who has sent it, for Return-Path; \"\" for a bounce: `SENDER`")
	f.StringVar(&o.address, "a", "", "whom it was sent to, for Delivered-To: `ADDRESS`")
	f.StringVar(&o.mailbox, "m", "", "where it goes; INBOX if there is no such mailbox: `MAILBOX`")
	f.StringVar(&o.maildir, "d", "", "deliver into that Maildir, whoever's it is: `MAILDIR`")
	env := f.Bool("e", false, "take sender and recipient from the environment")
	f.StringVar(&o.state, "state", "/var/lib/mailstead", "where apply keeps its files: `DIR`")
	err = f.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(out, usage)
		f.SetOutput(out)
		f.PrintDefaults()
		fmt.Fprint(out, exits)
		return o, err
	}
	if err != nil {
		return o, err
	}
	f.Visit(func(set *flag.Flag) { o.named = o.named || set.Name == "f" })
	if *env && f.NArg() == 0 && o.maildir == "" {
		return o, o.environment()
	}
	switch {
	case *env:
		return o, errors.New("with -e the environment names the user")
	case o.maildir == "" && f.NArg() != 1:
		return o, fmt.Errorf("one user is wanted, and there are %d", f.NArg())
	case o.maildir != "" && f.NArg() > 0:
		return o, fmt.Errorf("with -d there is no user: %q", f.Arg(0))
	}
	o.user = f.Arg(0)
	return o, nil
}

// environment takes sender and recipient as Exim's pipe transport and Postfix's
// local(8) say them.
func (o *pipeOptions) environment() error {
	user, ok := os.LookupEnv("RECIPIENT")
	if !ok {
		return errors.New("there is no RECIPIENT in the environment")
	}
	o.user, o.address = user, user
	o.sender, o.named = os.LookupEnv("SENDER")
	return nil
}

func (o pipeOptions) deliver(in io.Reader, out io.Writer) error {
	found, err := o.find()
	if err != nil {
		return err
	}
	if err := become(found.UID, found.GID); err != nil {
		return err
	}
	log := func(text string, pairs ...any) {
		fmt.Fprintf(out, "mailstead-deliver: warning: %s%s\n", text, written(pairs))
	}
	d := deliver.New(&maildir.Ops{}, limit.Default().LMTP.Message, log)
	return d.Deliver(deliver.Place{Maildir: found.Maildir, Quota: found.Quota}, deliver.Envelope{
		Sender: strings.Trim(o.sender, "<>"), NoSender: !o.named, Recipient: o.address, Mailbox: cmp.Or(o.mailbox, found.Mailbox),
	}, in)
}

// find gives whose mail it is: the user's, or that of the owner of a Maildir.
func (o pipeOptions) find() (deliver.Found, error) {
	if o.maildir == "" {
		return deliver.NewTables(o.state).Find(o.user)
	}
	var st unix.Stat_t
	if err := unix.Lstat(o.maildir, &st); err != nil {
		return deliver.Found{}, &fs.PathError{Op: "stat", Path: o.maildir, Err: err}
	}
	return deliver.Found{Delivery: config.Delivery{UID: int(st.Uid), GID: int(st.Gid), Maildir: o.maildir}}, nil
}

// written gives pairs as text.
func written(pairs []any) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, ", %v %q", pairs[i], fmt.Sprint(pairs[i+1]))
	}
	return b.String()
}

// become has root be the owner of the mail, before anything of it is touched.
func become(uid, gid int) error {
	switch os.Geteuid() {
	case uid:
		return nil
	case 0:
		return errors.Join(syscall.Setgroups(nil), syscall.Setgid(gid), syscall.Setuid(uid))
	}
	return fmt.Errorf("the mail is of uid %d, and this is uid %d: the mail server has to run the program as the owner of the mail", uid, os.Geteuid())
}

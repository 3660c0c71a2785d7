package main

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"mailstead/imapserver"
	"mailstead/imapserver/config"
)

// The exit codes.
const (
	exitDone     = 0
	exitFailed   = 1
	exitNoSocket = config.NoSocket
)

// verb is what the first word of the command line asks for.
type verb struct {
	name    string
	usage   string // after the name
	summary string // "" keeps it out of the help: the daemon runs it itself
	run     func(p *program, args []string) error
}

var verbs = []verb{
	{"serve", "[--config PATH]", "serve mail until SIGTERM; SIGHUP reloads", serve},
	{"check", "[--config PATH | --staged]", "say what a start would object to; binds nothing and serves nobody", check},
	{"ctl", "status|reload [--config PATH | --control PATH]", "ask the daemon that runs", ctl},
	{"outbox", "[--sendmail PATH]", "send the message that comes in on standard input, a socket, as who has connected", sendOutbox},
	{"version", "", "say which version this is", version},
	{"login", "", "", login},
	{"spawn", "", "", spawn},
	{"worker", "", "", worker},
}

// program is what a verb writes to.
type program struct {
	out, err io.Writer
}

// errUsage is for a command line that makes no sense; it has been explained.
var errUsage = errors.New("usage")

// run is the whole program: it gives the exit code.
func run(args []string, out, err io.Writer) int {
	p := &program{out, err}
	if len(args) == 0 {
		p.help(err)
		return exitFailed
	}
	if args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		p.help(out)
		return exitDone
	}
	for _, v := range verbs {
		if v.name == args[0] {
			return p.report(v.run(p, args[1:]))
		}
	}
	fmt.Fprintf(err, "mailstead-imapd: error: no such verb: %q\nhint: see \"mailstead-imapd --help\"\n", args[0])
	return exitFailed
}

func (p *program) report(err error) int {
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return exitDone
	case !errors.Is(err, errUsage):
		fmt.Fprintf(p.err, "mailstead-imapd: error: %v\n", err)
	}
	if errors.Is(err, imapserver.ErrNoSocket) {
		return exitNoSocket
	}
	return exitFailed
}

func (p *program) help(w io.Writer) {
	fmt.Fprint(w, "mailstead-imapd is Mailstead's IMAP daemon. \"mailstead apply\" configures and starts it.\n\n")
	for _, v := range verbs {
		if v.summary != "" {
			fmt.Fprintf(w, "  mailstead-imapd %s %s\n        %s\n", v.name, v.usage, v.summary)
		}
	}
	fmt.Fprintf(w, "\nEXIT STATUS\n  %d  done\n  %d  failed\n", exitDone, exitFailed)
}

// flags begins the flags of a verb.
func (p *program) flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet("mailstead-imapd "+name, flag.ContinueOnError)
	f.SetOutput(p.err)
	return f
}

// parse reads flags; no other arguments may be left.
func parse(f *flag.FlagSet, args []string) error {
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return errUsage
	case f.NArg() > 0:
		return fmt.Errorf("%s: unexpected argument %q", f.Name(), f.Arg(0))
	}
	return nil
}

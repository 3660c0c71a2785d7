package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"mailstead/schema"
)

// manProgram is a program that no administrator has to start, but may ask.
type manProgram struct {
	name, summary string
	text          string
	usage         []schema.Term // how it is called, and what that does
	exits         []schema.Term // nil: 0 is done, 1 failed
}

// manPrograms are all that come with mailstead.
var manPrograms = []manProgram{
	{
		name: "mailstead-imapd", summary: "IMAP daemon of a host that mailstead set up",
		text: `Serves the mail of a host. It reads two files that "mailstead apply" has written,
config.json and users.ndjson in /var/lib/mailstead, and is started by the units
that apply has written as well. What it logs is in the journal:
"journalctl -u mailstead-imapd".`,
		usage: []schema.Term{
			{Word: "mailstead-imapd serve [--config PATH]", Meaning: "serve mail until SIGTERM; SIGHUP reloads"},
			{Word: "mailstead-imapd check [--config PATH | --staged]", Meaning: "say what a start would object to; binds nothing and serves nobody"},
			{Word: "mailstead-imapd ctl status|reload [--config PATH | --control PATH]", Meaning: "ask the daemon that runs"},
			{Word: "mailstead-imapd outbox [--sendmail PATH]", Meaning: "send the message that comes in on standard input, a socket, as who has connected"},
			{Word: "mailstead-imapd version", Meaning: "say which version this is"},
		},
	},
	{
		name: "mailstead-deliver", summary: "puts a message into the mailbox of a user",
		text: `Is what mail servers hand mail to: "mailstead snippet" says how. The message comes
on standard input, and goes into the Maildir of a user of the description, which
has to say deliver: {}. It runs as the owner of the mail, or as root, who becomes
that. The message is on disk before it ends well.`,
		usage: []schema.Term{
			{Word: "mailstead-deliver [-f SENDER] [-a ADDRESS] [-m MAILBOX] USER", Meaning: "deliver to a user, or to an address of one; SENDER becomes Return-Path, ADDRESS Delivered-To; INBOX where there is no such mailbox"},
			{Word: "mailstead-deliver [-f SENDER] [-a ADDRESS] [-m MAILBOX] -d MAILDIR", Meaning: "deliver into that Maildir, whoever's it is"},
			{Word: "mailstead-deliver -e", Meaning: "take sender and user from SENDER and RECIPIENT in the environment, as Exim and Postfix set them"},
		},
		exits: []schema.Term{
			{Word: "0", Meaning: "the message is in the mailbox, and on disk"}, {Word: "64", Meaning: "the command line makes no sense"}, {Word: "67", Meaning: "there is no such user"},
			{Word: "69", Meaning: "the message can never be delivered: it is too large"}, {Word: "75", Meaning: "it could not be delivered now: the mailbox or the disk is full, or a fault of the host"},
		},
	},
	{
		name: "mailstead-pam", summary: "asks PAM whether a login is good, for mailstead-imapd",
		text: `Takes questions on standard input, one after the other, and answers them on
standard output. systemd starts one for each connection of the daemon's. A PAM
module that hangs, crashes or forks takes down one login.`,
		usage: []schema.Term{
			{Word: "mailstead-pam [--service NAME]", Meaning: "ask by the rules of /etc/pam.d/NAME (default: mailstead)"},
			{Word: "mailstead-pam --check", Meaning: "say whether this program was built with PAM, and end"},
		},
	},
}

func (p manProgram) page() string {
	var b strings.Builder
	manHead(&b, p.name, manSection, p.summary)
	b.WriteString(".SH SYNOPSIS\n")
	for i, u := range p.usage {
		if i > 0 {
			b.WriteString(".br\n")
		}
		b.WriteString(roff(u.Word) + "\n")
	}
	b.WriteString(".SH DESCRIPTION\n")
	roffText(&b, p.text)
	for _, u := range p.usage {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(u.Word), roff(u.Meaning))
	}
	exits := p.exits
	if exits == nil {
		exits = []schema.Term{{Word: "0", Meaning: "done"}, {Word: "1", Meaning: "failed"}}
	}
	b.WriteString(".SH EXIT STATUS\n")
	for _, e := range exits {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(e.Word), roff(e.Meaning))
	}
	manSeeAlso(&b, "mailstead(8)", "mailstead(7)")
	return b.String()
}

const overview = `Mailstead turns one description of a mail host into a host that serves mail over
IMAP, from Maildirs. Nothing is started, and nothing on the host is changed, before
"mailstead apply":

  mailstead init       writes a description to start from into /etc/mailstead
  mailstead plan       says what would be changed, and what that means to whom
  mailstead apply      shows the same, asks, and does it
  mailstead status     says what is wanted, was applied, is on disk and is served

A description is one directory of CUE, JSON and YAML files; mailstead(5) has every
field, and "mailstead explain FIELD" says the same of one. A host that had Courier
is described by "mailstead adopt" and taken over by "mailstead cutover".

After an upgrade the daemon goes on as it is, until the next apply. A package that
is removed leaves mail, description and record where they are.`

// manFiles are the places that an admin has to know; docs/files.md has them all.
var manFiles = []schema.Term{
	{Word: "/etc/mailstead", Meaning: "the description"},
	{Word: "/var/lib/mailstead", Meaning: "what was applied, the certificates as they are served, the record of what was made"},
	{Word: "/run/mailstead", Meaning: "the control socket"},
	{Word: "/etc/systemd/system/mailstead-*", Meaning: "the units"},
	{Word: "~/Maildir", Meaning: "mail of a system user; that of others is below /var/vmail"},
	{Word: "/usr/share/doc/mailstead/docs", Meaning: "the whole documentation, beginning with README.md"},
}

func manOverview(root *cobra.Command) string {
	var b strings.Builder
	manHead(&b, "mailstead", "7", "a mail host from one description")
	b.WriteString(".SH DESCRIPTION\n")
	roffText(&b, overview)
	manCommands(&b, root)
	b.WriteString(".SH FILES\n")
	for _, f := range manFiles {
		fmt.Fprintf(&b, ".TP\n.I %s\n%s\n", roff(f.Word), roff(f.Meaning))
	}
	manSeeAlso(&b, "mailstead(5)", "mailstead(8)", "mailstead-imapd(8)")
	return b.String()
}

func manDescription(fields []schema.Field) string {
	var b strings.Builder
	manHead(&b, "mailstead", "5", "what a description of mail hosts can say")
	b.WriteString(".SH DESCRIPTION\n")
	roffText(&b, `A description is a directory with CUE, JSON and YAML files, such as /etc/mailstead.
NAME stands for a name of your choice. Of each field its type is told, and what a
change of it means to the people connected:`)
	for _, i := range schema.Impacts {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(i.Word), roff(i.Meaning))
	}
	b.WriteString(".SH FIELDS\n")
	for _, f := range fields {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s.\n", roff(f.Path), roff(strings.Join(fieldTraits(f), ", ")))
		b.WriteString(roff(f.Doc) + "\n")
		if f.Example != "" {
			b.WriteString("Example:\n.nf\n" + roff(f.Example) + "\n.fi\n")
		}
	}
	manSeeAlso(&b, "mailstead(7)", "mailstead-explain(8)")
	return b.String()
}

// fieldTraits are what is to be known of a field in a few words.
func fieldTraits(f schema.Field) []string {
	traits := []string{f.Type}
	if f.Secret {
		traits = append(traits, "never shown")
	}
	if f.Impact != "" {
		traits = append(traits, "change: "+f.Impact)
	}
	if f.Required {
		return append(traits, "required")
	}
	return append(traits, "default: "+f.Default)
}

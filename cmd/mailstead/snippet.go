package main

import (
	"github.com/spf13/cobra"

	"mailstead/render"
)

func newSnippetCommand() *cobra.Command {
	var o source
	cmd := &cobra.Command{
		Use:   "snippet exim|postfix|dovecot-lda [PATH...]",
		Short: "say what a mail server needs to deliver to the users of the description",
		Long: `Writes the lines by which Exim, Postfix or Dovecot's delivery agent puts mail
into the Maildirs of the description: by LMTP where it has a socket
(deliver: lmtp: {}), or else by running mailstead-deliver. docs/delivery.md says
where the lines go. Nothing is changed: the mail server's files are its own.

` + sourceHelp + exitStatus(exitDone, exitFailed, exitInvalid),
		Args:      cobra.MinimumNArgs(1),
		ValidArgs: render.Snippets,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.take(args[1:])
			host, err := o.loadHost()
			if err != nil {
				return err
			}
			text, err := render.Snippet(args[0], host)
			if err != nil {
				return err
			}
			_, err = newConsole(cmd).out.Write(text)
			return err
		},
	}
	o.flags(cmd)
	return cmd
}

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"mailstead/imapserver/maildir"
)

type flattenOptions struct {
	dir string
	yes bool
}

func newFlattenCommand() *cobra.Command {
	var o flattenOptions
	cmd := &cobra.Command{
		Use:   "flatten DIR",
		Short: "make a Maildir of mailboxes that lie in each other",
		Long: `mbsync ("SubFolders Verbatim" or "Legacy") and Dovecot ("LAYOUT=fs") leave
trees in which a mailbox lies in the directory of another one. Mailstead, like
Courier, serves Maildir++: every folder in the top, with its levels parted by
dots. This lists the directories that get other names, and with --yes renames
them. No message is renamed or changed, and UIDs go along: what these programs
keep in each mailbox is read when that is first served.

mbsync goes on with such a tree when it is told "SubFolders Maildir++" and
"Inbox DIR". As root, it becomes the owner of DIR.` + exitStatus(exitDone, exitFailed),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.dir = args[0]
			return runFlatten(cmd.Context(), o, newConsole(cmd))
		},
	}
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "rename them")
	return cmd
}

func runFlatten(ctx context.Context, o flattenOptions, c *console) error {
	w := ownersWork{dir: o.dir, do: func(dir string) error { return flatten(dir, o.yes, c) }}
	return w.run(ctx, c, "flatten", fmt.Sprintf("--yes=%v", o.yes))
}

// flatten does it, as the owner.
func flatten(dir string, yes bool, c *console) error {
	moves, err := maildir.PlanFlat(dir)
	if err != nil {
		return err
	}
	if len(moves) == 0 {
		_, err := fmt.Fprintf(c.out, "%s: no mailbox lies in another one.\n", visible(dir))
		return err
	}
	for _, m := range moves {
		if m.To == "" {
			fmt.Fprintf(c.out, "%s goes, once it is empty\n", visible(m.From))
		} else {
			fmt.Fprintf(c.out, "%s becomes %s\n", visible(m.From), visible(m.To))
		}
	}
	if !yes {
		return hint(errors.New("nothing is renamed yet"), "do it with --yes")
	}
	return new(maildir.Ops).Flatten(dir, moves)
}

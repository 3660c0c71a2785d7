package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"mailstead/schema"
)

// starterName is the file that init writes.
const starterName = "mailstead.cue"

type initOptions struct {
	dir  string
	host string
}

func newInitCommand() *cobra.Command {
	var o initOptions
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "write a description to start from",
		Long: `Writes ` + starterName + ` into DIR (default ` + defaultDescription + `): a description
of this host that is complete as it stands, with comments on what else can be
said. A file that is there already is never overwritten.` + exitStatus(exitDone, exitFailed),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.dir = defaultDescription
			if len(args) > 0 {
				o.dir = args[0]
			}
			return runInit(o, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&o.host, "host", "", "name of the host (default: the name of this machine, with its domain)")
	return cmd
}

// wholeName is what this machine calls itself, which has to be with its domain: clients
// connect to it, and certbot is asked for a certificate for it.
func wholeName(fsys fs.FS, own func() (string, error)) (string, error) {
	name, err := machineName(fsys, "/", own)
	if err == nil && !strings.Contains(name, ".") {
		err = hint(fmt.Errorf("this machine is called %s, which is no name that clients could connect to", visible(name)), "name the host with --host, such as --host mail.example.org")
	}
	return name, err
}

func runInit(o initOptions, out io.Writer) error {
	if o.host == "" {
		name, err := wholeName(os.DirFS("/"), os.Hostname)
		if err != nil {
			return err
		}
		o.host = name
	}
	text, err := schema.Starter(o.host)
	if err != nil {
		return hint(err, "name the host with --host, such as --host mail.example.org")
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return fmt.Errorf("write description: %w", err)
	}
	path := filepath.Join(o.dir, starterName)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // hashes of passwords may come into it
	if errors.Is(err, fs.ErrExist) {
		return hint(fmt.Errorf("%s is there already, and is left as it is", path), "see %q", "mailstead plan "+shellQuote(o.dir))
	}
	if err != nil {
		return fmt.Errorf("write description: %w", err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write description: %w", err)
	}
	_, err = fmt.Fprintf(out, "Wrote %s for %s. Read it, then:\n\n  mailstead plan %s\n", path, o.host, shellQuote(o.dir))
	return err
}

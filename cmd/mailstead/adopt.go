package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mailstead/imapserver/pam"
	"mailstead/reconcile/target"
	"mailstead/render"
	"mailstead/schema"
	"mailstead/schema/adopt"
)

type adoptOptions struct {
	dir      string
	root     string
	host     string
	doveconf string
	stdout   bool
}

func newAdoptCommand() *cobra.Command {
	var o adoptOptions
	cmd := &cobra.Command{
		Use:   "adopt [DIR]",
		Short: "write a description of the host as it is, with Courier-IMAP or Dovecot",
		Long: `Reads how this host serves mail now: Courier's files in /etc/courier,
/etc/imapproxy.conf, certbot's lineages, the users with their Maildirs, folders
and subscriptions; or with --doveconf what Dovecot says of itself. Writes a
description of it into DIR (default ` + defaultDescription + `):
` + adopt.CUEName + `, and for virtual users, whose password hashes it has, ` + adopt.UsersName + `.
Files that are there already are never overwritten.

Each value that is not our default has behind it the option and the line that
it comes from. What has no meaning any more, and what people may notice, stands
at the head. No program is run to find out what a file means: one that only a
shell could tell is an error with its place. docs/courier.md says what becomes
of every option.

Nothing else is written, and no mail is touched. Go on with "mailstead plan",
then "mailstead cutover".` + exitStatus(exitDone, exitFailed),
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.dir = defaultDescription
			if len(args) > 0 {
				o.dir = args[0]
			}
			return runAdopt(cmd.Context(), o, newConsole(cmd))
		},
	}
	cmd.Flags().StringVar(&o.root, "root", "/", "read the host whose root directory is `DIR`")
	cmd.Flags().StringVar(&o.host, "host", "", "name of the host (default: the name of this machine)")
	cmd.Flags().StringVar(&o.doveconf, "doveconf", "", "`file` with the output of \"doveconf -nP\", or - to run it")
	cmd.Flags().BoolVar(&o.stdout, "stdout", false, "write the description to standard output, without users' hashes")
	return cmd
}

func runAdopt(ctx context.Context, o adoptOptions, c *console) error {
	h, trash, err := readHost(ctx, o)
	if err != nil {
		return err
	}
	text, err := h.Describe(trash, checkDescription)
	if err != nil {
		return hint(err, "name the host with --host if its name is at fault")
	}
	for _, left := range text.Left {
		fmt.Fprintf(c.err, "left out: %s\n", visible(left))
	}
	if o.stdout {
		_, err := c.out.Write(text.CUE)
		return err
	}
	if err := writeDescription(o.dir, text); err != nil {
		return err
	}
	lost := ""
	if n := len(text.Left); n > 0 {
		lost = fmt.Sprintf(" (%d of what there was left out, as said above)", n)
	}
	_, err = fmt.Fprintf(c.out, "Wrote %s for %s: %s%s. Read it, then:\n\n  mailstead plan %s\n",
		filepath.Join(o.dir, adopt.CUEName), h.Name, number(text.Has, "user"), lost, shellQuote(o.dir))
	return err
}

// readHost reads a host and looks at the mail of its users. It gives the folder,
// too, that the server moves deleted mail to.
func readHost(ctx context.Context, o adoptOptions) (*adopt.Host, string, error) {
	fsys, closeFS, err := hostFiles(o.root)
	if err != nil {
		return nil, "", err
	}
	defer closeFS()
	if o.host == "" {
		if o.host, err = machineName(fsys, o.root, os.Hostname); err != nil {
			return nil, "", err
		}
	}
	var h *adopt.Host
	trash := ""
	if o.doveconf != "" {
		h, err = readDovecot(ctx, fsys, o)
	} else if h, trash, err = adopt.ReadCourier(fsys, o.host); errors.Is(err, adopt.ErrNone) {
		err = hint(err, "--doveconf reads a host of Dovecot's, and %q begins without either", "mailstead init")
	}
	if errors.Is(err, fs.ErrPermission) {
		err = hint(err, "run it as root: Courier's files and users' mail are not for everybody")
	}
	if err != nil {
		return nil, "", err
	}
	addPAM(fsys, h)
	return h, trash, lookAtUsers(ctx, h, o.root)
}

// addPAM lets modules of PAM ask servers where the host's rules have such, since the old
// server let them. Our service has the host's common rules, and what another one has
// besides is not asked.
func addPAM(fsys fs.FS, h *adopt.Host) {
	if !slices.ContainsFunc(h.Users, func(u *adopt.User) bool { return u.Hash == "" }) {
		return
	}
	ours := target.PAMAskers(fsys, render.PAMFile, render.PAMService(""))
	if len(ours) > 0 {
		h.Fields = append(h.Fields, adopt.Field{Name: "pam: network", Value: "true", Comment: strings.Join(ours, ", ")})
	}
	for _, service := range []string{"imap", "dovecot"} {
		path := filepath.Join(pam.Host[0], service)
		text, err := fs.ReadFile(fsys, path[1:])
		if err != nil {
			continue
		}
		for _, asker := range target.PAMAskers(fsys, path, text) {
			module, _, _ := strings.Cut(asker, " ")
			if !slices.ContainsFunc(ours, func(o string) bool { return strings.HasPrefix(o, module+" ") }) {
				h.Notes = append(h.Notes, adopt.Note{Origin: adopt.Origin{File: path}, Noticed: true,
					Text: fmt.Sprintf("has %s, which is not asked any more: the PAM service is mailstead, with the common rules alone; what they lack goes into /etc/pam.d/common-auth", asker)})
			}
		}
	}
}

// readDovecot reads what doveconf says: from a file, or from the program.
func readDovecot(ctx context.Context, fsys fs.FS, o adoptOptions) (*adopt.Host, error) {
	if o.doveconf != "-" {
		conf, err := os.ReadFile(o.doveconf)
		if err != nil {
			return nil, fmt.Errorf("read Dovecot's configuration: %w", err)
		}
		return adopt.ReadDovecot(fsys, o.host, o.doveconf, conf)
	}
	// -P tells where the key is; passwords that it tells as well go nowhere.
	conf, err := exec.CommandContext(ctx, "doveconf", "-nP").Output()
	if err != nil {
		return nil, hint(fmt.Errorf("run doveconf: %w", err), "write what %q says into a file, and name it with --doveconf", "doveconf -nP")
	}
	return adopt.ReadDovecot(fsys, o.host, "doveconf", conf)
}

// hostFiles gives the files of a host. No link leads out of a root that is not
// this host's own.
func hostFiles(root string) (fs.FS, func(), error) {
	if filepath.Clean(root) == "/" {
		return os.DirFS("/"), func() {}, nil
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, nil, fmt.Errorf("read host: %w", err)
	}
	return r.FS(), func() { r.Close() }, nil
}

// machineName is what the host calls itself: with its domain, where it says it. What
// clients are to connect to is its own name, and that of its mail only if it is its own with
// the domain: other mail is for the domain alone. Here, own is what it is called if neither
// says it.
func machineName(fsys fs.FS, root string, own func() (string, error)) (string, error) {
	read := func(file string) string {
		data, _ := fs.ReadFile(fsys, file) // one that cannot be read says nothing
		return strings.ToLower(strings.TrimSpace(string(data)))
	}
	host, mail := read("etc/hostname"), read("etc/mailname")
	switch {
	case strings.Contains(host, "."):
		return host, nil
	case strings.Contains(mail, ".") && (host == "" || strings.HasPrefix(mail, host+".")):
		return mail, nil
	}
	if filepath.Clean(root) != "/" {
		return "", hint(errors.New("the host does not say its name with its domain"), "name it with --host")
	}
	name, err := own()
	if err != nil {
		return "", hint(fmt.Errorf("name of this machine: %w", err), "name the host with --host")
	}
	return name, nil
}

// lookAtUsers adds what is in the users' Maildirs.
func lookAtUsers(ctx context.Context, h *adopt.Host, root string) error {
	var dirs []string
	for _, u := range h.Users {
		dirs = append(dirs, filepath.Join(root, u.Maildir))
	}
	found, err := lookAtMails(ctx, dirs, filepath.Clean(root) != "/")
	if err != nil {
		return err
	}
	for i, u := range h.Users {
		u.Found(found[dirs[i]])
	}
	return nil
}

// checkDescription loads a description that is not written yet.
func checkDescription(text adopt.Description) schema.Diagnostics {
	dir, err := os.MkdirTemp("", "mailstead-adopt")
	if err != nil {
		return schema.Diagnostics{{Code: schema.CodeInternal, Message: err.Error()}}
	}
	defer os.RemoveAll(dir)
	if err := writeDescription(dir, text); err != nil {
		return schema.Diagnostics{{Code: schema.CodeInternal, Message: err.Error()}}
	}
	_, err = schema.Load(schema.Options{Inputs: []string{dir}})
	var faults schema.Diagnostics
	if err != nil && !errors.As(err, &faults) {
		faults = schema.Diagnostics{{Code: schema.CodeInternal, Message: err.Error()}}
	}
	return faults
}

// writeDescription writes the files, and replaces none.
func writeDescription(dir string, text adopt.Description) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write description: %w", err)
	}
	for _, f := range []struct {
		name string
		mode fs.FileMode
		data []byte
	}{{adopt.UsersName, 0o600, text.Users}, {adopt.CUEName, 0o644, text.CUE}} {
		if f.data == nil {
			continue
		}
		path := filepath.Join(dir, f.name)
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
		if errors.Is(err, fs.ErrExist) {
			return hint(fmt.Errorf("%s is there already, and is left as it is", path), "name another directory, and compare the two")
		}
		if err == nil {
			_, err = file.Write(f.data)
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			return fmt.Errorf("write description: %w", err)
		}
	}
	return nil
}

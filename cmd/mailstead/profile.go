package main

import (
	"cmp"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"mailstead/render"
	"mailstead/render/profile"
	"mailstead/schema"
)

type profileOptions struct {
	source
	who      string // a user, or "@" and a domain; "" with every
	every    bool
	form     string
	out      string
	cert     string
	key      string
	unsigned bool
}

// profileForm is a form in which settings are said.
type profileForm struct {
	name   string
	what   string // for the help
	ending string // of a file that is one; "" says nothing
	make   func(*profile.Settings) ([]byte, error)
}

// profileForms are in the order of the help.
var profileForms = []profileForm{
	{"text", "for the terminal", ".txt", profileText},
	{"json", "the same for programs", ".json", profileJSON},
	{appleForm, "a profile for Apple's Mail", ".mobileconfig", (*profile.Settings).MobileConfig},
	{"autoconfig", "config-v1.1.xml of Thunderbird", "", (*profile.Settings).Autoconfig},
	{"autodiscover", "the answer to Outlook", "", (*profile.Settings).Autodiscover},
	{pageForm, "a page in HTML, to print", ".html", (*profile.Settings).Page},
	{"srv", "SRV records of the domain, for its zone", ".zone", func(s *profile.Settings) ([]byte, error) { return s.Zone(), nil }},
}

// The forms that every user is given.
const (
	appleForm = "mobileconfig"
	pageForm  = "settings"
)

func newProfileCommand() *cobra.Command {
	var o profileOptions
	var names []string
	help := ""
	for _, f := range profileForms {
		names = append(names, f.name)
		help += fmt.Sprintf("  %-13s %s\n", f.name, f.what)
	}
	cmd := &cobra.Command{
		Use:   "profile {USER | @DOMAIN | --all} [PATH...]",
		Short: "say to mail programs what they need to know of a user",
		Long: `Writes the settings of a user, or of everybody with an address in a domain, in
the form that a mail program reads:

` + help + `
It goes by the description. The server for outgoing mail is somebody else's,
and the description may name it (profiles: submission); without one there is
nothing for Apple's Mail or Thunderbird, who insist on it. No file has a
password in it.

A profile for Apple's Mail is signed where the description says with which
certificate (profiles: sign), whose key only root reads, or with that of
--certificate. With --all, everybody's profile and page go into the directory
that -o names.

` + sourceHelp + exitStatus(exitDone, exitFailed, exitInvalid),
		ValidArgsFunction: firstUser,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 && !o.every {
				return errors.New("name a user, @ and a domain, or --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !o.every {
				o.who, args = args[0], args[1:]
			}
			o.take(args)
			return runProfile(o, newConsole(cmd))
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&o.form, "format", "", "`form` of the settings: "+strings.Join(names, ", ")+" (default: by the ending of FILE, or text)")
	completeWith(cmd, "format", names...)
	cmd.Flags().StringVarP(&o.out, "output", "o", "", "write to `FILE`, for the owner alone, in place of standard output")
	cmd.Flags().BoolVar(&o.every, "all", false, "of every user of the description")
	cmd.Flags().StringVar(&o.cert, "certificate", "", "sign with the certificate in `FILE`, followed by its chain")
	cmd.Flags().StringVar(&o.key, "key", "", "the key of --certificate, if it is in another `FILE`")
	cmd.Flags().BoolVar(&o.unsigned, "unsigned", false, "sign nothing, whatever the description says")
	return cmd
}

func runProfile(o profileOptions, c *console) error {
	if o.key != "" && o.cert == "" {
		return errors.New("--key is that of --certificate, which is not given")
	}
	host, err := o.loadHost()
	if err != nil {
		return err
	}
	if o.every {
		return o.writeEvery(host, c)
	}
	if err := o.checkOut(); err != nil {
		return err
	}
	form, err := o.chosen()
	if err != nil {
		return err
	}
	s, err := o.settings(host)
	if err != nil {
		return err
	}
	data, err := form.make(s)
	if err == nil && form.name == appleForm {
		var sign signer
		if sign, err = o.signer(host); err == nil {
			data, err = sign.sign(data)
		}
	}
	switch {
	case errors.Is(err, profile.ErrNoOutgoing):
		return noOutgoing(err)
	case err != nil:
		return err
	case o.out != "":
		return replaceFile(o.out, data)
	case data[0] != '<' && form.name == appleForm && isTerminal(c.out):
		return hint(errors.New("a signed profile is no text for a terminal"), "write it to a file: -o %s.mobileconfig", o.who)
	}
	_, err = c.out.Write(data)
	return err
}

// checkOut refuses to write settings over a description, be it of this host or not.
func (o profileOptions) checkOut() error {
	if ext := filepath.Ext(o.out); ext == ".cue" || ext == ".yaml" || ext == ".yml" {
		return hint(fmt.Errorf("%s has the name of a description, and settings are none", o.out), "name a file such as %s.txt", o.who)
	}
	return o.checkApart(o.out)
}

func noOutgoing(err error) error {
	return hint(err, "write the mail server that users send by into it: profiles: submission: server: \"smtp.example.org\"")
}

// chosen is the form that is meant.
func (o profileOptions) chosen() (profileForm, error) {
	var names []string
	for _, f := range profileForms {
		if f.name == o.form || o.form == "" && f.ending != "" && f.ending == filepath.Ext(o.out) {
			return f, nil
		}
		names = append(names, f.name)
	}
	if o.form != "" {
		return profileForm{}, hint(fmt.Errorf("no such form of settings: %q", o.form), "there are %s", strings.Join(names, ", "))
	}
	return profileForms[0], nil
}

// settings are those of whoever is named.
func (o profileOptions) settings(host *schema.Host) (*profile.Settings, error) {
	if domain, ok := strings.CutPrefix(o.who, "@"); ok {
		s, err := profile.ForDomain(host, domain)
		if err != nil {
			err = hint(err, "its addresses are in %s", strings.Join(profile.Domains(host), ", "))
		}
		return s, err
	}
	who := calledUser(host, o.who)
	s, err := profile.For(host, who)
	if near := nearUser(host, who); err != nil && near != "" && near != who {
		return nil, hint(err, "did you mean %q?", near)
	}
	var elsewhere *profile.ElsewhereError
	if errors.As(err, &elsewhere) {
		err = hint(err, "that server knows how mail programs reach it")
	}
	return s, err
}

// signer signs profiles; without a key it leaves them as they are.
type signer struct {
	chain []*x509.Certificate
	key   crypto.Signer
}

func (s signer) sign(data []byte) ([]byte, error) {
	if s.key == nil {
		return data, nil
	}
	return profile.Sign(data, s.chain, s.key)
}

// signer reads what profiles are signed with.
func (o profileOptions) signer(host *schema.Host) (s signer, err error) {
	certFile := o.cert
	switch {
	case o.unsigned:
		return s, nil
	case certFile == "" && (host.Profiles == nil || host.Profiles.Sign == ""):
		return s, nil
	case certFile == "":
		certFile = render.BundleFile(host.Paths, host.Profiles.Sign)
	}
	pair, err := tls.LoadX509KeyPair(certFile, cmp.Or(o.key, certFile))
	switch {
	case errors.Is(err, fs.ErrPermission):
		return s, hint(err, "run it as root, who may read the key, or with --unsigned")
	case errors.Is(err, fs.ErrNotExist):
		return s, hint(err, "run it on the host once the certificate is there, name one with --certificate, or use --unsigned")
	case err != nil:
		return s, fmt.Errorf("read %s: %w", certFile, err)
	}
	for _, der := range pair.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return s, fmt.Errorf("read %s: %w", certFile, err)
		}
		s.chain = append(s.chain, cert)
	}
	s.key, _ = pair.PrivateKey.(crypto.Signer) // as crypto/tls has checked
	return s, nil
}

// writeEvery writes what users are given, for each of them.
func (o profileOptions) writeEvery(host *schema.Host, c *console) error {
	if o.out == "" || o.form != "" {
		return hint(errors.New("--all writes a profile and a page for each user"), "name a directory for them with -o, and no --format")
	}
	sign, err := o.signer(host)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o700); err != nil {
		return err
	}
	written, elsewhere := 0, 0
	var failed []error // of one, which keeps nobody else from theirs
	for _, u := range host.Users {
		if u.Elsewhere != "" {
			elsewhere++
			continue
		}
		switch err := o.writeGiven(host, u, sign); {
		case errors.Is(err, profile.ErrNoOutgoing):
			return noOutgoing(err)
		case err != nil:
			failed = append(failed, fmt.Errorf("profile of %s: %w", u.Name, err))
		default:
			written++
		}
	}
	fmt.Fprintf(c.out, "%s: profiles and pages of users: %d\n", o.out, written)
	if elsewhere > 0 {
		fmt.Fprintf(c.out, "without any, since their mail is elsewhere: %d\n", elsewhere)
	}
	return errors.Join(failed...)
}

// writeGiven writes what one user is given.
func (o profileOptions) writeGiven(host *schema.Host, u schema.User, sign signer) error {
	s, err := profile.ForUser(host, u)
	if err != nil {
		return err
	}
	for _, form := range profileForms {
		if form.name != appleForm && form.name != pageForm {
			continue
		}
		data, err := form.make(s)
		if err == nil && form.name == appleForm {
			data, err = sign.sign(data)
		}
		if err == nil {
			err = replaceFile(filepath.Join(o.out, u.Name+form.ending), data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

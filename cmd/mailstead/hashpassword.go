package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"github.com/go-crypt/x/yescrypt"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"mailstead/imapserver/sasl"
)

// maxPassword is how many bytes of a password are read. No scheme has use for
// more, and a client has to send it before it is known to anyone.
const maxPassword = 1024

// bcryptMax is where bcrypt stops reading: a longer password would be accepted
// with any ending.
const bcryptMax = 72

// schemes are the ways to hash a password, the default first. Every login costs
// the server one computation, so the costs are chosen for some tens of
// milliseconds and little memory: an IMAP client opens several connections.
var schemes = []struct {
	name string
	hash func(password string) (string, error)
}{
	{"argon2id", hashArgon2id},
	{"bcrypt", hashBcrypt},
	{"sha512-crypt", hashSHA512},
	{"yescrypt", hashYescrypt},
	{"scram-sha-256", makeVerifier},
}

type hashPasswordOptions struct {
	scheme string
}

func newHashPasswordCommand() *cobra.Command {
	var o hashPasswordOptions
	names := make([]string, 0, len(schemes))
	for _, s := range schemes {
		names = append(names, s.name)
	}
	cmd := &cobra.Command{
		Use:   "hash-password",
		Short: "turn a password into what a description may hold",
		Long: `Reads a password, twice and without echo from a terminal or one line from a
pipe, and prints its hash in crypt(5) form, for a virtual user's password in the
description; with --scheme scram-sha-256, a verifier of SCRAM. The password
itself is shown nowhere.

  printf %s "$PASSWORD" | mailstead hash-password --scheme bcrypt` +
			exitStatus(exitDone, exitFailed),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runHashPassword(o, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&o.scheme, "scheme", names[0], "one of "+strings.Join(names, ", "))
	completeWith(cmd, "scheme", names...)
	return cmd
}

func runHashPassword(o hashPasswordOptions, in io.Reader, out, prompts io.Writer) error {
	for _, s := range schemes {
		if s.name != o.scheme {
			continue
		}
		password, err := readPassword(in, prompts)
		if err != nil {
			return err
		}
		if err := checkPassword(password); err != nil {
			return err
		}
		hash, err := s.hash(password)
		if err != nil {
			return fmt.Errorf("hash password: %w", err)
		}
		_, err = fmt.Fprintln(out, hash)
		return err
	}
	return hint(fmt.Errorf("no such scheme: %q", o.scheme), "see %q", "mailstead hash-password --help")
}

// readPassword asks twice on a terminal, and otherwise reads the only line.
func readPassword(in io.Reader, prompts io.Writer) (string, error) {
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return askPassword(int(f.Fd()), prompts)
	}
	text, err := io.ReadAll(io.LimitReader(in, maxPassword+3))
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if bytes.ContainsRune(text, '\n') {
		return "", errors.New("the password has more than one line")
	}
	return string(text), nil
}

// askPassword reads the password twice. The echo is off before the first
// prompt appears, so that nothing typed early is shown, and an interrupt gives
// it back before the program ends.
func askPassword(fd int, prompts io.Writer) (string, error) {
	restore, err := silence(fd)
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	defer restore()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, unix.SIGTERM)
	defer signal.Stop(interrupted)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-interrupted:
			restore()
			fmt.Fprintln(prompts)
			os.Exit(report(prompts, context.Canceled))
		case <-done:
		}
	}()
	var answers [2][]byte
	for i, prompt := range []string{"Password: ", "The same again: "} {
		fmt.Fprint(prompts, prompt)
		answers[i], err = term.ReadPassword(fd)
		fmt.Fprintln(prompts)
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
	}
	if !bytes.Equal(answers[0], answers[1]) {
		return "", errors.New("the two passwords differ")
	}
	return string(answers[0]), nil
}

// silence turns the echo of a terminal off and gives what turns it on again.
func silence(fd int) (restore func(), err error) {
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	quiet := *before
	quiet.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return nil, err
	}
	return func() { unix.IoctlSetTermios(fd, unix.TCSETS, before) }, nil
}

// checkPassword refuses what no client can send or what only looks like a
// password. It names no part of it.
func checkPassword(password string) error {
	switch {
	case password == "":
		return errors.New("the password is empty")
	case len(password) > maxPassword:
		return fmt.Errorf("the password is longer than %d bytes", maxPassword)
	case !utf8.ValidString(password):
		return errors.New("the password is not UTF-8")
	case strings.ContainsFunc(password, unicode.IsControl):
		return errors.New("the password contains a control character")
	}
	return nil
}

func hashArgon2id(password string) (string, error) {
	h, err := argon2.New(argon2.WithVariantID(), argon2.WithM(19456), argon2.WithT(2), argon2.WithP(1))
	if err != nil {
		return "", err
	}
	return encode(h.Hash(password))
}

func hashBcrypt(password string) (string, error) {
	if len(password) > bcryptMax {
		return "", hint(fmt.Errorf("bcrypt reads only the first %d bytes of a password, and this one is longer", bcryptMax),
			"choose another --scheme")
	}
	h, err := bcrypt.New(bcrypt.WithCost(10))
	if err != nil {
		return "", err
	}
	return encode(h.Hash(password))
}

func hashSHA512(password string) (string, error) {
	h, err := shacrypt.New(shacrypt.WithSHA512(), shacrypt.WithRounds(100000))
	if err != nil {
		return "", err
	}
	return encode(h.Hash(password))
}

// hashYescrypt uses the parameters of Debian's passwd: N=4096, r=32.
func hashYescrypt(password string) (string, error) {
	salt := make([]byte, 16)
	rand.Read(salt)
	setting := fmt.Sprintf("$y$%s$%s$", yescrypt.EncodeSetting(0, 12, 32), yescrypt.Encode64(salt))
	hash, err := yescrypt.Hash([]byte(password), []byte(setting))
	return string(hash), err
}

// makeVerifier makes what SCRAM needs, as clients prepare the password.
func makeVerifier(password string) (string, error) {
	salt := make([]byte, 16)
	rand.Read(salt)
	v, err := sasl.MakeVerifier(password, salt, sasl.UseIterations)
	if errors.Is(err, sasl.ErrPrepare) {
		return "", hint(err, "choose another --scheme, or a password of letters, digits and signs")
	}
	return v.String(), err
}

func encode(d algorithm.Digest, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return d.Encode(), nil
}

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"mailstead/imapserver/handoff"
	"mailstead/imapserver/sasl"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1 // also of --check, where the program was built without PAM
)

// errWithout is what a program that was built without PAM says.
var errWithout = errors.New("built without PAM: build it with cgo, libpam's headers (libpam0g-dev) and \"go build -tags pam ./cmd/mailstead-pam\"")

// loginTimeout is when a login that PAM has not answered ends the process.
// Whoever asked has given up before, and has asked another helper.
const loginTimeout = 60 * time.Second

// serviceName is what may be a file below /etc/pam.d.
var serviceName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

// run is the whole program: it gives the exit code.
func run(args []string, in io.Reader, out, errs io.Writer) int {
	f := flag.NewFlagSet("mailstead-pam", flag.ContinueOnError)
	f.SetOutput(errs)
	service := f.String("service", "mailstead", "the PAM service, a `NAME` below /etc/pam.d")
	check := f.Bool("check", false, "say whether this program was built with PAM, and end")
	if err := f.Parse(args); errors.Is(err, flag.ErrHelp) {
		return exitDone
	} else if err != nil {
		return exitFailed
	}
	err := serve(*service, *check, f.Args(), in, out)
	if err != nil {
		fmt.Fprintf(errs, "mailstead-pam: error: %v\n", err)
		return exitFailed
	}
	return exitDone
}

func serve(service string, check bool, rest []string, in io.Reader, out io.Writer) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case check && built:
		_, err := fmt.Fprintln(out, "mailstead-pam: built with PAM")
		return err
	case check:
		return errWithout
	case !serviceName.MatchString(service):
		return fmt.Errorf("%q is not the name of a PAM service", service)
	}
	for {
		var r handoff.PAMRequest
		err := handoff.ReadFrame(in, &r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := handoff.WriteFrame(out, answer(service, r)); err != nil {
			return err
		}
	}
}

// answer asks PAM. What a login may not hold has been refused before; it is
// once more here, as C ends a string at its first NUL.
func answer(service string, r handoff.PAMRequest) handoff.PAMAnswer {
	if err := sasl.Check(sasl.Credentials{User: r.User, Password: r.Password}); err != nil {
		return handoff.PAMAnswer{Result: handoff.PAMRefused, Detail: err.Error()}
	}
	late := time.AfterFunc(loginTimeout, func() {
		fmt.Fprintln(os.Stderr, "mailstead-pam: error: PAM hangs")
		os.Exit(exitFailed)
	})
	defer late.Stop()
	return login(service, r)
}

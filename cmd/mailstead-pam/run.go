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
	"mailstead/imapserver/pam"
	"mailstead/imapserver/sasl"
)

// The exit codes.
const (
	exitDone   = 0
	exitFailed = 1 // also of --check, where the program was built without PAM
)

// errWithout is what a program that was built without PAM says.
var errWithout = errors.New("built without PAM: build it with cgo, libpam's headers (libpam0g-dev) and \"go build -tags pam ./cmd/mailstead-pam\"")

// A login is cut off after what its request says, and after maxWithin in any case.
// grace later the guard is taken for stopped.
const (
	maxWithin = 60 * time.Second
	grace     = 2 * time.Second
)

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
	err := serve(*service, *check, f.Args(), in, out, errs)
	if err != nil {
		fmt.Fprintf(errs, "mailstead-pam: error: %v\n", err)
		return exitFailed
	}
	return exitDone
}

func serve(service string, check bool, rest []string, in io.Reader, out, errs io.Writer) error {
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
	if _, err := pam.Host.Service(service); built && err != nil {
		fmt.Fprintf(errs, "mailstead-pam: error: every login is refused: %v\n", err)
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
		a, err := answer(service, r)
		if err != nil {
			return err
		}
		if err := handoff.WriteFrame(out, a); err != nil {
			return err
		}
	}
}

// answer asks PAM. What a login may not hold has been refused before; it is
// once more here, as C ends a string at its first NUL. The rules are looked at
// each time: they may be gone since the last one.
func answer(service string, r handoff.PAMRequest) (handoff.PAMAnswer, error) {
	if err := sasl.Check(sasl.Credentials{User: r.User, Password: r.Password}); err != nil {
		return handoff.PAMAnswer{Result: handoff.PAMRefused, Detail: err.Error()}, nil
	}
	rules, err := pam.Host.Service(service)
	if built && err != nil {
		return handoff.PAMAnswer{Result: handoff.PAMError, Detail: err.Error()}, nil
	}
	within := time.Duration(r.Within) * time.Millisecond
	if within <= 0 || within > maxWithin {
		within = maxWithin
	}
	r.Within = int(within.Milliseconds())
	late := time.AfterFunc(within+grace, func() {
		fmt.Fprintln(os.Stderr, "mailstead-pam: error: the process that watches PAM's modules hangs")
		os.Exit(exitFailed)
	})
	defer late.Stop()
	return login(service, pam.Has(rules, "session"), r)
}

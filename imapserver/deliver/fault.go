package deliver

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Fault is why a message was not delivered, as a mail server has to be told:
// by a code of SMTP, an enhanced one (RFC 3463), and words.
type Fault struct {
	Code     int    // 4xx: try again; 5xx: never
	Enhanced string // "4.2.2"
	Text     string // one line, without the name of a user or a file
	Cause    error  // for the log; may be nil
}

// ParseFault reads what Error gives of a Fault without a cause.
func ParseFault(s string) *Fault {
	code, rest, _ := strings.Cut(s, " ")
	enhanced, text, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(code)
	if err != nil || n < 400 || n > 599 {
		return AsFault(errors.New(s))
	}
	return &Fault{n, enhanced, text, nil}
}

// Error says all of it.
func (f *Fault) Error() string {
	if f.Cause != nil {
		return fmt.Sprintf("%d %s %s: %v", f.Code, f.Enhanced, f.Text, f.Cause)
	}
	return fmt.Sprintf("%d %s %s", f.Code, f.Enhanced, f.Text)
}

// Unwrap gives the cause.
func (f *Fault) Unwrap() error { return f.Cause }

// The exit codes of sysexits.h that mail servers know.
const (
	ExitUsage       = 64
	ExitNoUser      = 67
	ExitUnavailable = 69
	ExitTempFail    = 75
)

// Exit gives the exit code that means the same. All that may pass is TEMPFAIL:
// for the other codes that could be meant (CANTCREAT, IOERR) some mail servers
// return the mail to its sender.
func (f *Fault) Exit() int {
	switch {
	case f.Code < 500:
		return ExitTempFail
	case f.Enhanced == unknownUser:
		return ExitNoUser
	}
	return ExitUnavailable
}

// unknownUser is the enhanced code that has an exit code of its own.
const unknownUser = "5.1.1"

// The faults that have no cause. A mailbox that is full is a "persistent
// transient failure" (RFC 3463 §3.3): its owner may make room. A message that
// would not fit into an empty one never fits.
var (
	ErrUnknown  = &Fault{550, unknownUser, "there is no such user here", nil}
	ErrFull     = &Fault{452, "4.2.2", "the mailbox is full", nil}
	ErrTooLarge = &Fault{552, "5.2.3", "the message is larger than the mailbox may be", nil}
	ErrTooLong  = &Fault{552, "5.3.4", "the message is larger than any may be here", nil}
)

// AsFault gives what a mail server is to be told of an error: what is no Fault
// may pass. A disk that is full has a code of its own.
func AsFault(err error) *Fault {
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return &Fault{452, "4.3.1", "there is no space left", err}
	}
	return &Fault{451, "4.3.0", "the message could not be delivered now", err}
}

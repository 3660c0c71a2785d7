package transfer

import (
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// What the daemon takes of keywords on one message.
const (
	maxKeywords = 64
	maxKeyword  = 255 // octets of one
)

// limited says whether the daemon refuses something for its size or number.
func limited(err error) bool {
	var no *imap.Error
	return errors.As(err, &no) && no.Code == imap.ResponseCodeLimit
}

// fewerKeywords gives flags with fewer keywords, to be tried one after the other where
// the daemon finds that there are too many: those that one message may have, and none,
// for a mailbox that has too many already.
func fewerKeywords(flags string) (tries []string) {
	n := 0
	fit := strings.Join(slices.DeleteFunc(strings.Fields(flags), func(f string) bool {
		if strings.HasPrefix(f, `\`) {
			return false
		}
		n++
		return len(f) > maxKeyword || n > maxKeywords
	}), " ")
	for _, less := range []string{fit, systemOnly(flags)} {
		if less != flags && !slices.Contains(tries, less) {
			tries = append(tries, less)
		}
	}
	return tries
}

// systemOnly leaves keywords out.
func systemOnly(flags string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(flags), func(f string) bool { return !strings.HasPrefix(f, `\`) }), " ")
}

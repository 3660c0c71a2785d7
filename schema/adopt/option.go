package adopt

import (
	"slices"
	"strings"
)

// Outcome is what becomes of an option.
type Outcome string

// What becomes of them. Lost is what people may notice: a value other than the
// default stands at the head of the description that adopt writes.
const (
	Taken  Outcome = "taken over" // into the field that is named
	Always Outcome = "always so"  // the daemon does it, or finds it out, without being told
	Gone   Outcome = "no meaning" // of the old program alone
	Lost   Outcome = "not done"   // the daemon does not do it
)

// program is whose option it is: a file, or where else the option stands.
type program string

const (
	imapd       program = "/etc/courier/imapd"
	imapdSSL    program = "/etc/courier/imapd-ssl"
	authdaemon  program = "/etc/courier/authdaemonrc"
	environment program = "Courier's environment"
	accounts    program = "Courier's account options"
	imapproxy   program = "/etc/imapproxy.conf"
	mbsync      program = "~/.mbsyncrc"
)

// option is a row of the table: an option, the value that Debian 12 ships it
// with, and what becomes of it.
type option struct {
	program program
	name    string
	value   string // Debian's; notSet where the line is commented out
	outcome Outcome
	field   string // of the description; "" unless Taken
	why     string
}

// notSet is the value of an option that Debian ships commented out.
const notSet = "\x00"

// find gives the row of an option.
func find(p program, name string) (option, bool) {
	i := slices.IndexFunc(table, func(o option) bool { return o.program == p && o.name == name })
	if i < 0 {
		return option{}, false
	}
	return table[i], true
}

// usual tells whether a value is the one that Debian ships. Not set and empty are
// the same to Courier, but for IMAP_EMPTYTRASH.
func (o option) usual(value string) bool {
	if o.value == notSet {
		return value == "" && o.name != "IMAP_EMPTYTRASH"
	}
	return strings.TrimSpace(value) == o.value
}

package adopt

import (
	"fmt"
	"strconv"
	"strings"
)

// readAuthdaemonrc reads Courier's authdaemonrc, which no shell sees: authdaemond
// reads it line by line, and a # ends a line wherever it stands.
func readAuthdaemonrc(file string, data []byte) (Settings, error) {
	s := Settings{}
	for n, line := range numbered(data) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return nil, &SyntaxError{Origin{file, n}, "is no assignment"}
		}
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value = value[1 : len(value)-1]
		}
		s[name] = Setting{name, value, Origin{file, n}}
	}
	return s, nil
}

// readImapproxy reads imapproxy.conf: a keyword, blanks and a value a line. Of a
// keyword that is there twice, the last counts.
func readImapproxy(file string, data []byte) (Settings, error) {
	s := Settings{}
	for n, line := range numbered(data) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		at := strings.IndexAny(line, " \t")
		if at < 0 {
			return nil, &SyntaxError{Origin{file, n}, "is a keyword without a value"}
		}
		s[line[:at]] = Setting{line[:at], strings.TrimSpace(line[at:]), Origin{file, n}}
	}
	return s, nil
}

// account is a line of passwd, or of userdb.
type account struct {
	name, hash    string
	uid, gid      int
	home, maildir string // maildir "": as the server has it for everyone
	options       map[string]string
	quota         string // as maildirquota(7) has it: 5000000S,1000C
	limit         string // a quota in our fields; "": that of quota
	left          string // why the description leaves it out; "" if nothing is known
	shut          bool   // and the old server lets it in no more
	challenge     bool   // there is a password for CRAM-MD5 and its like
	origin        Origin
}

// readPasswd reads the host's passwd (passwd(5)). A line that is none is left out:
// the system leaves it out, too.
func readPasswd(file string, data []byte) []account {
	var list []account
	for n, line := range numbered(data) {
		f := strings.Split(line, ":")
		if len(f) != 7 || f[0] == "" || strings.HasPrefix(f[0], "#") || strings.HasPrefix(f[0], "+") {
			continue
		}
		uid, uerr := strconv.Atoi(f[2])
		gid, gerr := strconv.Atoi(f[3])
		if uerr == nil && gerr == nil && uid >= 0 && gid >= 0 {
			list = append(list, account{name: f[0], uid: uid, gid: gid, home: f[5], origin: Origin{file, n}})
		}
	}
	return list
}

// readUserdb reads a file of authuserdb (makeuserdb(8)): a name, a tab, and
// fields parted by bars.
func readUserdb(file string, data []byte) ([]account, error) {
	var list []account
	for n, line := range numbered(data) {
		if line == "" || line[0] == '#' {
			continue
		}
		name, rest, ok := strings.Cut(line, "\t")
		if !ok || name == "" {
			return nil, &SyntaxError{Origin{file, n}, "is no name with a tab and fields behind it"}
		}
		a := account{name: name, uid: -1, gid: -1, origin: Origin{file, n}}
		if err := a.userdbFields(rest); err != nil {
			return nil, &SyntaxError{a.origin, err.Error()}
		}
		list = append(list, a)
	}
	return list, nil
}

func (a *account) userdbFields(text string) (err error) {
	var imap, system string
	for field := range strings.SplitSeq(text, "|") {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "imappw": // for this service alone, before the one for all
			imap = value
		case "systempw":
			system = value
		case "home":
			a.home = value
		case "mail":
			a.maildir = value
		case "uid":
			a.uid, err = strconv.Atoi(value)
		case "gid":
			a.gid, err = strconv.Atoi(value)
		case "options":
			a.options = options(value)
		case "quota":
			a.quota = value
		case "hmac-md5pw", "hmac-sha1pw", "hmac-sha256pw":
			a.challenge = true
		}
		if err != nil {
			return fmt.Errorf("%s of %s is no number", key, strconv.Quote(a.name))
		}
	}
	if a.hash = imap; imap == "" {
		a.hash = system
	}
	return nil
}

// options reads account options: "disableimap=1,sharedgroup=x".
func options(text string) map[string]string {
	m := map[string]string{}
	for o := range strings.SplitSeq(text, ",") {
		if name, value, ok := strings.Cut(strings.TrimSpace(o), "="); ok {
			m[name] = value
		}
	}
	return m
}

// numbered gives the lines of a file, counted from 1, without their ends.
func numbered(data []byte) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		n := 0
		for line := range strings.Lines(string(data)) {
			n++
			if !yield(n, strings.TrimRight(line, "\r\n")) {
				return
			}
		}
	}
}

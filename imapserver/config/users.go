package config

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// MaxUserLine bounds one line of users.ndjson.
const MaxUserLine = 16 << 10

// usersHead is the first line of users.ndjson. The count makes a file that was
// cut off between two lines as plain as one that was cut off within a line.
type usersHead struct {
	Version int `json:"version"`
	Users   int `json:"users"`
}

// EncodeUsers writes users.ndjson: a line with the version and the number of
// users, then a line for each user, by name. What ParseUsers would refuse it
// does not write; the first fault ends it.
func EncodeUsers(w io.Writer, workers Workers, users []User) error {
	b := bufio.NewWriter(w)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(usersHead{FormatVersion, len(users)}); err != nil {
		return fmt.Errorf("write users: %w", err)
	}
	order := userOrder{workers: workers}
	for _, u := range users {
		if err := order.next(u); err != nil {
			return fmt.Errorf("encode user %q: %w", u.Name, err)
		}
		if err := e.Encode(u); err != nil {
			return fmt.Errorf("write users: %w", err)
		}
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write users: %w", err)
	}
	return nil
}

// ParseUsers reads users.ndjson line by line and yields each user once it is
// checked, in ascending order of the name. The first fault is yielded with its
// line and ends the iteration, so that nobody logs in from half a file: keep
// what was yielded only when the iteration ended without an error.
func ParseUsers(r io.Reader, workers Workers) iter.Seq2[User, error] {
	return func(yield func(User, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 0, 4096), MaxUserLine)
		// A last line without its line feed is a torn file, so the feeds stay in.
		lines.Split(scanWholeLines)
		head, err := readUsersHead(lines)
		if err != nil {
			yield(User{}, fmt.Errorf("users: line 1: %w", err))
			return
		}
		order := userOrder{workers: workers}
		n := 0
		for ; lines.Scan(); n++ {
			var u User
			err := decodeLine(lines.Bytes(), &u)
			if err == nil {
				err = order.next(u)
			}
			if err != nil {
				yield(User{}, fmt.Errorf("users: line %d: %w", n+2, err))
				return
			}
			if !yield(u, nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(User{}, fmt.Errorf("users: line %d: %w", n+2, err))
		} else if n != head.Users {
			yield(User{}, fmt.Errorf("users: %d users where the first line announces %d: the file is torn", n, head.Users))
		}
	}
}

func readUsersHead(lines *bufio.Scanner) (usersHead, error) {
	var head usersHead
	if !lines.Scan() {
		if err := lines.Err(); err != nil {
			return head, err
		}
		return head, errors.New("the file is empty")
	}
	if err := checkVersion(lines.Bytes()); err != nil {
		return head, err
	}
	if err := decodeLine(lines.Bytes(), &head); err != nil {
		return head, err
	}
	if head.Version != FormatVersion {
		return head, versionError(head.Version)
	}
	return head, nil
}

// decodeLine decodes one line, whose place the caller adds.
func decodeLine(line []byte, v any) error {
	if len(bytes.TrimSpace(line)) == 0 {
		return errors.New("the line is empty")
	}
	return decodeStrict(line, v)
}

var errTorn = errors.New("the line has no end: the file is torn")

func scanWholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, errTorn
	}
	return 0, nil, nil
}

// userOrder holds what a user must have in common with the users before: the
// order by name, which also finds duplicates, and the uid where there is one.
type userOrder struct {
	workers Workers
	last    *User
}

func (o *userOrder) next(u User) error {
	if err := checkUser(u); err != nil {
		return err
	}
	if u.Master {
		if o.last != nil && o.last.Master && u.Name <= o.last.Name {
			return fmt.Errorf("name: master %q stands after %q", u.Name, o.last.Name)
		}
		o.last = &u
		return nil
	}
	switch {
	case o.last != nil && o.last.Master:
		return errors.New("a user stands after a master")
	case u.Directory != "":
		return errors.New("directory: this is the file of those that no directory knows")
	case o.workers == WorkerPerUID && (u.UID == 0 || u.GID == 0):
		return errors.New("uid or gid 0: no worker runs as root")
	case o.last == nil:
	case u.Name == o.last.Name:
		return fmt.Errorf("name: %q is given twice", u.Name)
	case u.Name < o.last.Name:
		return fmt.Errorf("name: %q stands after %q", u.Name, o.last.Name)
	case o.workers == WorkerInline && (u.UID != o.last.UID || u.GID != o.last.GID):
		return fmt.Errorf("uid %d and gid %d: one process for everything needs the same for all users (%d and %d)", u.UID, u.GID, o.last.UID, o.last.GID)
	}
	o.last = &u
	return nil
}

func checkUser(u User) error {
	var f faults
	switch {
	case u.Name == "":
		f.add("name: missing")
	case len(u.Name) > maxUserName:
		f.add("name: %d bytes, more than %d", len(u.Name), maxUserName)
	default:
		f.at("name", checkText(u.Name))
	}
	// The hash itself stays out of the message: it would go to the log.
	if u.Hash != "" && (len(u.Hash) > maxHash || !cryptHash().MatchString(u.Hash)) {
		f.add("hash: not in the form of crypt(5)")
	}
	if u.Master {
		if u.Hash == "" || u.Home != "" || u.Maildir != "" || u.Elsewhere != "" || u.Quota != nil {
			f.add("master: a master has a hash, and no mail")
		}
		return errors.Join(f...)
	}
	if err := checkIdentity(u.UID, u.GID); err != nil {
		f = append(f, err)
	}
	f.at("home", checkPath(u.Home))
	f.at("maildir", checkPath(u.Maildir))
	f.at("off", checkOff(u.Off))
	if u.Elsewhere != "" && !imapURL().MatchString(u.Elsewhere) {
		f.add("elsewhere: %q is not the IMAP URL of a user", u.Elsewhere)
	}
	if q := u.Quota; q != nil && (q.Storage < 0 || q.Messages < 0) {
		f.add("quota: less than nothing")
	}
	return errors.Join(f...)
}

package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// DovecotUIDListFile is where Dovecot keeps the UIDs of a mailbox.
const DovecotUIDListFile = "dovecot-uidlist"

// ErrUIDList says that a dovecot-uidlist file holds nothing to go on.
var ErrUIDList = errors.New("not a dovecot-uidlist file")

// ParseDovecotUIDList reads a dovecot-uidlist file of version 1 or 3. Version 1
// is that of courierimapuiddb. Version 3 starts with "3 V<uidvalidity>
// N<next uid>" and more fields; its lines are "<uid> [<letter><value>...]
// :<base name>". They are appended without a change of the first line, and
// expunged messages stay listed: the next UID is above both.
func ParseDovecotUIDList(data []byte) (UIDDB, error) {
	if version, _, _ := bytes.Cut(data, []byte{' '}); string(version) == "1" {
		db, err := ParseUIDDB(data)
		if err != nil {
			return db, fmt.Errorf("%w: %w", ErrUIDList, err)
		}
		return db, nil
	}
	head, body, whole := bytes.Cut(data, []byte{'\n'})
	if !whole {
		return UIDDB{}, fmt.Errorf("%w: its first line does not end", ErrUIDList)
	}
	db, err := parseUIDListHead(string(head))
	if err != nil {
		return UIDDB{}, fmt.Errorf("%w: %w", ErrUIDList, err)
	}
	for line := range bytes.Lines(body) {
		m, ok := parseUIDListLine(line)
		if ok {
			db.Messages = append(db.Messages, m)
		} else {
			db.Dropped++
		}
	}
	if err := db.sanitise(); err != nil {
		return UIDDB{}, fmt.Errorf("%w: %w", ErrUIDList, err)
	}
	return db, nil
}

func parseUIDListHead(head string) (db UIDDB, err error) {
	fields := strings.Fields(head)
	if len(fields) == 0 || fields[0] != "3" {
		return db, errors.New("first line is of neither version 1 nor 3")
	}
	for _, f := range fields[1:] {
		switch f[0] {
		case 'V':
			db.Validity, err = parseUID(f[1:])
		case 'N':
			db.Next, err = parseUID(f[1:])
		}
		if err != nil {
			return db, fmt.Errorf("field %q: %w", f, err)
		}
	}
	if db.Validity == 0 || db.Next == 0 {
		return db, errors.New("first line has no uidvalidity or no next uid")
	}
	return db, nil
}

// parseUIDListLine reads a line. One that has lost its end has another name at
// its end, which no message has.
func parseUIDListLine(line []byte) (UIDDBMessage, bool) {
	fields, base, ok := strings.Cut(strings.TrimRight(string(line), "\r\n"), " :")
	if !ok {
		return UIDDBMessage{}, false
	}
	uid, _, _ := strings.Cut(fields, " ")
	n, err := parseUID(uid)
	if err != nil {
		return UIDDBMessage{}, false
	}
	if i := strings.LastIndex(base, infoPrefix); i >= 0 {
		base = base[:i]
	}
	return UIDDBMessage{UID: n, Base: base}, base != ""
}

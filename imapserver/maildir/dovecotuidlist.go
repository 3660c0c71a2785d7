package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
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

// parseUIDListLine reads a line.
func parseUIDListLine(line []byte) (UIDDBMessage, bool) {
	uid, _, base, ok := cutUIDListLine(line)
	if !ok {
		return UIDDBMessage{}, false
	}
	n, err := parseUID(uid)
	if err != nil {
		return UIDDBMessage{}, false
	}
	return UIDDBMessage{UID: n, Base: base}, base != ""
}

// cutUIDListLine parts a line. One that has lost its end has another name at its
// end, which no message has.
func cutUIDListLine(line []byte) (uid, fields, base string, ok bool) {
	head, base, ok := strings.Cut(strings.TrimRight(string(line), "\r\n"), " :")
	uid, fields, _ = strings.Cut(head, " ")
	if i := strings.LastIndex(base, infoPrefix); i >= 0 {
		base = base[:i]
	}
	return uid, fields, base, ok
}

// EncodeDovecotUIDList makes a file of version 3 that goes on from an old one, of
// any version: what that says besides of the mailbox (its GUID) and of messages (as
// their UIDLs by POP3) stays. Without a GUID, Dovecot gives one. Sizes are RFC822.SIZE,
// -1 where it is not known: one that is neither here nor in the name, Dovecot reads the
// message for, and takes it for that of the file when it copies it.
func EncodeDovecotUIDList(validity, next uint32, messages iter.Seq2[UIDDBMessage, int64], old []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "3 V%d N%d", validity, next)
	fields := make(map[string]string) // by base name
	if head, body, _ := bytes.Cut(old, []byte{'\n'}); bytes.HasPrefix(head, []byte("3 ")) {
		for _, f := range strings.Fields(string(head))[1:] {
			if f[0] != 'V' && f[0] != 'N' {
				b.WriteString(" " + f)
			}
		}
		for line := range bytes.Lines(body) {
			if _, f, base, ok := cutUIDListLine(line); ok && f != "" {
				fields[base] = f + " "
			}
		}
	}
	b.WriteByte('\n')
	for m, size := range messages {
		if strings.ContainsAny(m.Base, "\r\n") {
			continue // from such a line on, Dovecot believes nothing of the file
		}
		f := fields[m.Base]
		if size >= 0 && !strings.Contains(m.Base, ",W=") && !strings.Contains(" "+f, " W") {
			f = fmt.Sprintf("W%d %s", size, f)
		}
		fmt.Fprintf(&b, "%d %s:%s\n", m.UID, f, m.Base)
	}
	return b.Bytes()
}

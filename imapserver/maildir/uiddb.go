package maildir

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// UIDDBFile is where Courier keeps the UIDs of a mailbox.
const UIDDBFile = "courierimapuiddb"

// UIDDB is the content of a courierimapuiddb file, made sound: UIDs ascend,
// none occurs twice, none is as high as Next, and no base name occurs twice.
type UIDDB struct {
	Validity uint32
	Next     uint32
	Messages []UIDDBMessage
	Ours     bool // it was written by us, and not by Courier since
	Dropped  int  // lines that could not be used
}

// uiddbOurs is a fourth field of the first line, which Courier overlooks, and
// does not write when it next changes the file.
const uiddbOurs = "mailstead"

// UIDDBMessage is one line: the UID of the message with that base name.
type UIDDBMessage struct {
	UID  uint32
	Base string
}

// ErrUIDDB says that a courierimapuiddb file holds nothing to go on.
var ErrUIDDB = errors.New("not a courierimapuiddb file")

// ParseUIDDB reads a courierimapuiddb file: "1 <uidvalidity> <next uid>", then
// lines "<uid> <base name>". What a damaged file still says for sure is taken,
// and nothing that would give a UID to two messages. ErrUIDDB where its first
// line cannot be trusted.
func ParseUIDDB(data []byte) (UIDDB, error) {
	head, body, whole := bytes.Cut(data, []byte{'\n'})
	if !whole {
		// A number that has lost its end is another number: UIDs would be given
		// for the second time.
		return UIDDB{}, fmt.Errorf("%w: its first line does not end", ErrUIDDB)
	}
	f := bytes.Fields(head)
	if len(f) < 3 || string(f[0]) != "1" {
		return UIDDB{}, fmt.Errorf("%w: first line is not \"1 <uidvalidity> <next uid>\"", ErrUIDDB)
	}
	validity, err := parseUID(string(f[1]))
	if err != nil {
		return UIDDB{}, fmt.Errorf("%w: uidvalidity: %w", ErrUIDDB, err)
	}
	next, err := parseUID(string(f[2]))
	if err != nil {
		return UIDDB{}, fmt.Errorf("%w: next uid: %w", ErrUIDDB, err)
	}
	db := UIDDB{Validity: validity, Next: next, Ours: len(f) > 3 && string(f[3]) == uiddbOurs}
	for line := range bytes.Lines(body) {
		if m, ok := parseUIDDBLine(line); ok {
			db.Messages = append(db.Messages, m)
		} else {
			db.Dropped++
		}
	}
	if err := db.sanitise(); err != nil {
		return UIDDB{}, fmt.Errorf("%w: %w", ErrUIDDB, err)
	}
	return db, nil
}

func parseUIDDBLine(line []byte) (UIDDBMessage, bool) {
	uid, base, ok := strings.Cut(strings.TrimLeft(strings.TrimRight(string(line), "\r\n"), " \t"), " ")
	if !ok {
		return UIDDBMessage{}, false
	}
	n, err := parseUID(uid)
	if err != nil {
		return UIDDBMessage{}, false
	}
	// Courier writes base names; one with its flags is known all the same.
	if i := strings.LastIndex(base, infoPrefix); i >= 0 {
		base = base[:i]
	}
	return UIDDBMessage{UID: n, Base: base}, base != ""
}

// sanitise sorts by UID and drops lines that claim the same UID, since none can
// be trusted then, and those that name a message for the second time. The next
// UID is raised above all that were seen.
func (db *UIDDB) sanitise() error {
	if len(db.Messages) == 0 {
		return nil
	}
	slices.SortStableFunc(db.Messages, func(a, b UIDDBMessage) int { return cmp.Compare(a.UID, b.UID) })
	highest := db.Messages[len(db.Messages)-1].UID
	if highest == math.MaxUint32 {
		return fmt.Errorf("no uid is left after %d", highest)
	}
	db.Next = max(db.Next, highest+1)
	seen := make(map[string]bool, len(db.Messages))
	kept := make([]UIDDBMessage, 0, len(db.Messages))
	for i, m := range db.Messages {
		twice := i > 0 && db.Messages[i-1].UID == m.UID || i+1 < len(db.Messages) && db.Messages[i+1].UID == m.UID
		if twice || seen[m.Base] {
			db.Dropped++
			continue
		}
		seen[m.Base] = true
		kept = append(kept, m)
	}
	db.Messages = kept
	return nil
}

// parseUID reads a number that is not 0 and fits 32 bits (RFC 9051 §2.3.1.1).
// Courier's own are unsigned long, and what is out of range there came of a
// fault.
func parseUID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err == nil && n == 0 {
		err = errors.New("0 is not allowed")
	}
	return uint32(n), err
}

// EncodeUIDDB is the inverse of ParseUIDDB. Its last line ends in LF, without
// which Courier would drop it.
func EncodeUIDDB(db UIDDB) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "1 %d %d", db.Validity, db.Next)
	if db.Ours {
		b.WriteString(" " + uiddbOurs)
	}
	b.WriteByte('\n')
	for _, m := range db.Messages {
		b.WriteString(strconv.FormatUint(uint64(m.UID), 10))
		b.WriteByte(' ')
		b.WriteString(m.Base)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

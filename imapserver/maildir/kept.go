package maildir

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// KeptDir is where messages lie that were expunged and are kept for a while, in
// our directory of the Maildir: a directory with cur, new and tmp, which no mail
// server lists.
const KeptDir = "kept"

// keptDay is how long one file of notes is written.
const keptDay = 24 * 60 * 60

// maxKeptSuffix bounds the flags that go along in the name of a kept file.
const maxKeptSuffix = 64

// KeptName names a message that was expunged at one time and is kept until another:
// both are in the name, in seconds since 1970. unique is a name that no other file
// has, suffix the flags of the name that it had.
func KeptName(at, until time.Time, unique, suffix string) string {
	if len(suffix) > maxKeptSuffix {
		suffix = WithFlags("", ParseFlags(suffix))
	}
	return fmt.Sprintf("%d-%d.%s%s", at.Unix(), until.Unix(), unique, suffix)
}

// ParseKeptName reads the times of such a name.
func ParseKeptName(name string) (at, until time.Time, ok bool) {
	times, _, _ := strings.Cut(name, ".")
	first, last, _ := strings.Cut(times, "-")
	a, aerr := strconv.ParseInt(first, 10, 64)
	u, uerr := strconv.ParseInt(last, 10, 64)
	return time.Unix(a, 0), time.Unix(u, 0), aerr == nil && uerr == nil
}

// KeptMailboxFile is beside cur of a mailbox that was deleted and is kept as a whole,
// under a KeptName in KeptDir: the note of the mailbox, then those of its messages.
// Unlike others it is synced, since the mailbox has its name in it alone.
const KeptMailboxFile = "mailstead-deleted"

// KeptNote says where a kept message was, and what of it its file does not say.
// Notes are never synced: a message without one is only harder to place.
type KeptNote struct {
	Name       string `json:"name,omitempty"`       // of its file; in a deleted mailbox without flags, and "" for the mailbox itself
	Mailbox    string `json:"mailbox,omitempty"`    // without the namespace prefix; "": that of the file of notes
	Subscribed bool   `json:"subscribed,omitempty"` // of a mailbox
	UID        uint32 `json:"uid,omitempty"`
	Validity   uint32 `json:"uidvalidity,omitempty"` // that UID is of; 0: not known
	Date       int64  `json:"date,omitempty"`        // internal date, in seconds since 1970
	Keywords   string `json:"keywords,omitempty"`    // parted by spaces
}

// keptNotes ends the names of files of notes.
const keptNotes = ".notes"

// KeptNotesFile names the file, in KeptDir, of the notes of messages that are kept
// until then: one for each day, which goes with the last of them.
func KeptNotesFile(until time.Time) string {
	return strconv.FormatInt(until.Unix()/keptDay, 10) + keptNotes
}

// KeptNotesEnd tells when the last message of a file of notes goes.
func KeptNotesEnd(file string) (end time.Time, ok bool) {
	day, notes := strings.CutSuffix(file, keptNotes)
	n, err := strconv.ParseInt(day, 10, 64)
	return time.Unix((n+1)*keptDay, 0), notes && err == nil
}

// Line is a note as its file has it.
func (n KeptNote) Line() ([]byte, error) {
	line, err := json.Marshal(n)
	return append(line, '\n'), err
}

// maxKeptLine bounds a note.
const maxKeptLine = 64 << 10

// ReadKeptNotes reads a file of notes. A line that is damaged is as if it were not
// there.
func ReadKeptNotes(r io.Reader, each func(KeptNote)) error {
	for lines := bufio.NewReaderSize(r, maxKeptLine); ; {
		line, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
			return err
		}
		var n KeptNote
		if json.Unmarshal(line, &n) == nil && n.Name+n.Mailbox != "" {
			each(n)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
	}
}

package store

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"mailstead/imapserver/maildir"
)

// validityFile is the file, in the top Maildir, with a number that no mailbox
// has had as its UIDVALIDITY, nor a higher one. It is there for the day when the
// index is lost, with all that is in our directory: the clock alone may then
// give a UIDVALIDITY for the second time.
const validityFile = "mailstead-uidvalidity"

// validityStep is by how much that number is ahead when it is written.
const validityStep = 100

// validity gives out UIDVALIDITYs. Its mutex is taken after all others.
type validity struct {
	mu   sync.Mutex
	last uint32 // the highest one given to any mailbox
	mark uint32 // what the file says, as far as it was read or written
}

// next gives a UIDVALIDITY that no mailbox of the account has had, and that is
// higher than any before.
func (v *validity) next(a *Account) (uint32, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := max(uint32(time.Now().Unix()), v.last+1)
	if n >= v.mark {
		mark := n + validityStep
		if err := a.ops.WriteFile(a.dir, validityFile, maildir.FileMode, fmt.Appendln(nil, mark)); err != nil {
			return 0, diskError(err)
		}
		v.mark = mark
	}
	v.last = n
	return n, nil
}

// took notes a UIDVALIDITY that another program has given.
func (v *validity) took(n uint32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last = max(v.last, n)
}

// lost goes on where there is no index, or an old one: above all that the one that is lost
// may have given.
func (v *validity) lost(a *Account) error {
	data, err := maildir.ReadFile(a.dir, validityFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var mark uint32
	_, err = fmt.Sscanln(string(data), &mark)
	v.took(mark)
	if err != nil {
		a.log.Error("cannot tell which UIDVALIDITYs were given; the clock decides", "file", validityFile, "error", err)
	}
	return nil
}

func putValidity(conn *sqlite.Conn, n uint32) error {
	return sqlitex.Execute(conn, "UPDATE account SET uidvalidity = max(uidvalidity, ?)", &sqlitex.ExecOptions{Args: []any{int64(n)}})
}

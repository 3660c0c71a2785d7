package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// maxMessage is the largest file that is read into memory as a message.
const maxMessage = 1 << 30

// openTries is how often a message is looked for that others rename.
const openTries = 20

// open opens the file of a message that r was once the record of. ErrExpunged
// if there is none any more. mu is not held.
func (mb *mailbox) open(ctx context.Context, r *record) (*maildir.File, error) {
	for range openTries {
		now := mb.snap.Load().find(r.uid)
		if now == nil {
			return nil, fmt.Errorf("%w: uid %d", ErrExpunged, r.uid)
		}
		f, err := mb.folder.Open(now.sub, now.name())
		if !missing(err) {
			return f, err
		}
		if err := mb.relook(ctx, now); err != nil && !atDisk(err) {
			return nil, err
		}
		if f, err = mb.seek(r.uid); !missing(err) {
			return f, err
		}
	}
	return nil, fmt.Errorf("uid %d: its file does not stay under one name long enough to be opened", r.uid)
}

// missing tells whether the file of a message was not there. What is no regular
// file is no message, as the next look will find.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, maildir.ErrIrregular)
}

// seek opens a message under whatever name it has, with nothing else done between
// the look at the directory and that.
func (mb *mailbox) seek(uid imap.UID) (*maildir.File, error) {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	r := mb.snap.Load().find(uid)
	if r == nil || mb.gone.Load() {
		return nil, fmt.Errorf("%w: uid %d", ErrExpunged, uid)
	}
	for _, sub := range []maildir.Sub{r.sub, maildir.New, maildir.Cur} {
		list, err := mb.folder.List(sub)
		if err != nil {
			return nil, err
		}
		defer list.Release()
		for i := range list.Len() {
			if base, _ := maildir.SplitNameBytes(list.Name(i)); string(base) == r.base {
				return mb.folder.Open(sub, string(list.Name(i)))
			}
		}
	}
	return nil, fs.ErrNotExist
}

// relook syncs because a message was not where the snapshot had it.
func (mb *mailbox) relook(ctx context.Context, r *record) error {
	mb.mu.Lock()
	defer mb.mu.Unlock()
	if mb.gone.Load() {
		return fmt.Errorf("%w: uid %d", ErrExpunged, r.uid)
	}
	if now := mb.snap.Load().find(r.uid); now == nil || now.sub != r.sub || now.name() != r.name() {
		return nil // someone has looked meanwhile
	}
	mb.cur.ctime, mb.new.ctime = 0, 0
	return mb.sync(ctx, false)
}

// read gives a message with CRLF line ends.
func (mb *mailbox) read(ctx context.Context, r *record) ([]byte, error) {
	data, _, err := mb.take(ctx, r, math.MaxInt64)
	return data, err
}

// DiskSize is about how many octets message n has on disk, 0 where its file is
// not found at once.
func (v *View) DiskSize(n SeqNum) int64 {
	r := v.mb.snap.Load().find(v.told.at(int(n) - 1).uid)
	if r == nil {
		return 0
	}
	st, err := v.mb.folder.Stat(r.sub, r.name())
	if err != nil {
		return 0
	}
	return st.Size
}

// readAll reads a file whose size is no more than a hint: it may change while
// it is read.
func readAll(f *maildir.File) ([]byte, error) {
	if err := tooLarge(f); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Grow(int(f.Stat().Size) + bytes.MinRead)
	_, err := b.ReadFrom(io.LimitReader(f, maxMessage))
	return b.Bytes(), err
}

// addCR puts a CR before each LF that has none.
func addCR(data []byte) []byte {
	n := bareLF(data, 0)
	if n == 0 {
		return data
	}
	return appendCR(make([]byte, 0, len(data)+n), data, 0)
}

// bareLF counts the LF that no CR stands before; last is the octet before data.
func bareLF(data []byte, last byte) int {
	return bytes.Count(data, []byte{'\n'}) - bytes.Count(data, []byte("\r\n")) - startsLF(data, last)
}

// startsLF is 1 if data begins with the LF of a CRLF that last begins.
func startsLF(data []byte, last byte) int {
	if last == '\r' && len(data) > 0 && data[0] == '\n' {
		return 1
	}
	return 0
}

// size gives RFC822.SIZE.
func (mb *mailbox) size(ctx context.Context, r *record) (int64, error) {
	if n := r.size.Load(); n != sizeUnknown {
		return n, nil
	}
	f, err := mb.open(ctx, r)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := countCRLF(f, f.Stat().Size)
	if err != nil {
		return 0, err
	}
	mb.learn(r, n)
	return n, nil
}

// countCRLF counts the octets that a message has with CRLF line ends. hint is
// about how many it has on disk.
func countCRLF(r io.Reader, hint int64) (int64, error) {
	buf := make([]byte, min(max(hint, 0)+1, 64<<10))
	var n int64
	var last byte
	for {
		k, err := r.Read(buf)
		if k > 0 {
			n += int64(k + bareLF(buf[:k], last))
			last = buf[k-1]
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

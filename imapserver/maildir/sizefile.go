package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// SizeFileName is the file of Maildir++ that says how much mail may be in a
// Maildir and how much there is. Its first line has the limits, each other one a
// change, written by whoever has made it: a mail server that delivers, an IMAP
// server. Their sum is what counts, in messages and octets on disk. Messages with
// T and those in TrashDir do not count.
const SizeFileName = "maildirsize"

// TrashDir is the folder whose messages do not count, by this name alone.
const TrashDir = ".Trash"

// SizeFileFull is the length from which on the file is to be written anew.
const SizeFileFull = 5120

// longest is what is read of it: others write it anew long before.
const longest = 10 * SizeFileFull

// recountAfter is the age from which on a file that says that there is too much
// mail is not believed without a count. It is Courier's.
const recountAfter = 15 * time.Minute

// recountTries is how often messages are counted while others change them.
const recountTries = 10

// ErrSizeFile says that there is no such file of which a sum could be made.
var ErrSizeFile = errors.New("maildirsize is damaged")

// Usage is how much mail there is, or what a change has made of that.
type Usage struct{ Octets, Messages int64 }

// Add gives the sum of two.
func (u Usage) Add(o Usage) Usage { return Usage{u.Octets + o.Octets, u.Messages + o.Messages} }

// Negative gives what undoes a change.
func (u Usage) Negative() Usage { return Usage{-u.Octets, -u.Messages} }

// Limits is how much mail there may be; 0 is no limit.
type Limits struct{ Octets, Messages int64 }

// Allow tells whether there may be so much.
func (l Limits) Allow(u Usage) bool {
	return (l.Octets == 0 || u.Octets <= l.Octets) && (l.Messages == 0 || u.Messages <= l.Messages)
}

// SizeFile is maildirsize as it was last read. Its methods must not be called
// by two goroutines at once.
type SizeFile struct {
	Limits  Limits
	Used    Usage
	Changes int       // lines after the first
	Written time.Time // last

	dir   string
	ops   *Ops
	inode uint64
	size  int64 // of the part that has been read
}

// NewSizeFile gives the file of a top Maildir; nothing is read.
func NewSizeFile(dir string, ops *Ops) *SizeFile { return &SizeFile{dir: dir, ops: ops} }

// Full tells whether it is time to Replace the file.
func (s *SizeFile) Full() bool { return s.size >= SizeFileFull }

// Stale tells whether messages are to be counted before the file is believed that
// there is too much mail: what other programs have removed they may not have told.
func (s *SizeFile) Stale() bool {
	return s.Changes > 1 || time.Since(s.Written) >= recountAfter
}

// Refresh reads what others have written since the last time. It fails with
// fs.ErrNotExist where there is no file, and with ErrSizeFile; Limits is then what
// the first line says.
func (s *SizeFile) Refresh() error {
	f, err := openRegularAt(unix.AT_FDCWD, filepath.Join(s.dir, SizeFileName))
	if err != nil {
		return &fs.PathError{Op: "open", Path: filepath.Join(s.dir, SizeFileName), Err: err}
	}
	defer f.Close()
	st := f.Stat()
	if st.Ino == s.inode && st.Size == s.size && s.size > 0 && st.Change.Equal(s.Written) {
		return nil
	}
	// It is short, and one that was written anew may have the number of an older one.
	*s = SizeFile{dir: s.dir, ops: s.ops, inode: st.Ino, Written: st.Change}
	data, err := io.ReadAll(io.LimitReader(f, longest))
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(data), "\n")
	s.Limits = parseLimits(first) // they hold even where the rest makes no sense
	if st.Size > longest {
		s.inode = 0
		return ErrSizeFile
	}
	return s.parse(data)
}

// parse reads the lines after the first.
func (s *SizeFile) parse(data []byte) error {
	if len(data) == 0 || data[len(data)-1] != '\n' {
		s.inode = 0
		return ErrSizeFile
	}
	_, changes, _ := strings.Cut(string(data), "\n")
	for line := range strings.Lines(changes) {
		var u Usage
		words := strings.Fields(line)
		ok := len(words) == 2
		for i, n := range []*int64{&u.Octets, &u.Messages} {
			var err error
			if ok {
				*n, err = strconv.ParseInt(words[i], 10, 64)
			}
			ok = ok && err == nil && *n < 1<<60 && *n > -1<<60
		}
		if !ok {
			s.inode = 0
			return ErrSizeFile
		}
		s.Used = s.Used.Add(u)
		s.Changes++
	}
	s.size = int64(len(data))
	if s.Used.Octets < 0 || s.Used.Messages < 0 {
		s.inode = 0
		return ErrSizeFile
	}
	return nil
}

// parseLimits reads the first line: "5000000S,1000C". What it does not know is
// no limit, as with Courier.
func parseLimits(line string) (l Limits) {
	for part := range strings.SplitSeq(strings.TrimSpace(line), ",") {
		digits, kind := part[:max(len(part)-1, 0)], part[max(len(part)-1, 0):]
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 0 {
			continue
		}
		switch kind {
		case "S":
			l.Octets = n
		case "C":
			l.Messages = n
		}
	}
	return l
}

// Add writes a change. The next Refresh reads it.
func (s *SizeFile) Add(u Usage) error {
	return s.locked(unix.LOCK_SH, lockPatience, func(f *os.File, _ bool) error { return s.ops.write(f, u.line()) })
}

// Compact writes the file anew with the sum of its lines, and none that somebody adds
// meanwhile is lost. While somebody holds the lock the file stays as long as it is:
// who adds the next line tries again.
func (s *SizeFile) Compact(l Limits) error {
	return s.locked(unix.LOCK_EX, 0, func(_ *os.File, held bool) error {
		if err := s.Refresh(); err != nil || !held {
			return err
		}
		return s.Replace(l, s.Used)
	})
}

// lockPatience is how long a lock is waited for that somebody else may hold forever:
// other programs have none either.
const lockPatience = time.Second

// locked does something with the file that has the name, under a lock that all of ours
// take, if it is held within patience.
func (s *SizeFile) locked(how int, patience time.Duration, do func(f *os.File, held bool) error) error {
	path := filepath.Join(s.dir, SizeFileName)
	for late := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		had, err := f.Stat()
		if err == nil {
			err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		}
		now, nerr := os.Lstat(path)
		waits := err == unix.EWOULDBLOCK || nerr != nil || had != nil && !os.SameFile(had, now)
		if waits && time.Now().Before(late) {
			f.Close()
			continue
		}
		return errors.Join(do(f, !waits), f.Close())
	}
}

func (u Usage) line() []byte { return fmt.Appendf(nil, "%12d %12d\n", u.Octets, u.Messages) }

// Replace writes the file anew: the limits, and what there is in one line. A
// power cut may bring the old one back.
func (s *SizeFile) Replace(l Limits, used Usage) error {
	var b bytes.Buffer
	switch {
	case l.Octets > 0 && l.Messages > 0:
		fmt.Fprintf(&b, "%dS,%dC\n", l.Octets, l.Messages)
	case l.Messages > 0:
		fmt.Fprintf(&b, "%dC\n", l.Messages)
	default:
		fmt.Fprintf(&b, "%dS\n", l.Octets)
	}
	b.Write(used.line())
	mode := FileMode // or as a mail server of another uid needs it
	if st, err := os.Lstat(filepath.Join(s.dir, SizeFileName)); err == nil && st.Mode().IsRegular() {
		mode = st.Mode().Perm()
	}
	if err := s.ops.WriteFile(s.dir, SizeFileName, mode, b.Bytes()); err != nil {
		return err
	}
	return s.Refresh()
}

// Recount counts all messages and writes the file anew; if others have written
// meanwhile, it does so again.
func (s *SizeFile) Recount(l Limits) error {
	for try := 1; ; try++ {
		before := s.Used
		used, err := CountAll(s.dir, s.ops)
		if err != nil {
			return fmt.Errorf("count messages: %w", err)
		}
		done := false
		err = s.locked(unix.LOCK_EX, lockPatience, func(*os.File, bool) error {
			if err := s.Refresh(); err == nil && s.Used != before && try < recountTries {
				return nil
			}
			done = true
			return s.Replace(l, used)
		})
		if errors.Is(err, fs.ErrNotExist) && !done {
			return s.Replace(l, used)
		}
		if err != nil || done {
			return err
		}
	}
}

// SizeOf gives the length on disk that the base name of a message tells.
func SizeOf(base string) (int64, bool) { return sizeIn(base, ",S=") }

// WireSizeOf is SizeOf of the size with CRLF, which Dovecot writes into names.
func WireSizeOf(base string) (int64, bool) { return sizeIn(base, ",W=") }

func sizeIn(base, field string) (int64, bool) {
	_, s, ok := strings.Cut(base, field)
	if !ok {
		return 0, false
	}
	s, _, _ = strings.Cut(s, ",")
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0
}

// Count adds up the messages of a mailbox that count.
func (f *Folder) Count() (Usage, error) {
	u, err := f.count(New)
	if err != nil {
		return u, err
	}
	cur, err := f.count(Cur)
	return u.Add(cur), err
}

func (f *Folder) count(sub Sub) (u Usage, err error) {
	l, err := f.List(sub)
	if err != nil {
		return u, err
	}
	defer l.Release()
	for name := range l.All() {
		n, err := f.usage(sub, name)
		if err != nil {
			return u, err
		}
		u = u.Add(n)
	}
	return u, nil
}

// usage is a file of a mailbox, if it is a message that counts and is still there.
func (f *Folder) usage(sub Sub, name string) (Usage, error) {
	base, suffix := SplitName(name)
	if strings.HasPrefix(name, ".") || ParseFlags(suffix)&Trashed != 0 {
		return Usage{}, nil
	}
	if n, ok := SizeOf(base); ok {
		return Usage{n, 1}, nil
	}
	st, err := f.Stat(sub, name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !st.Regular {
		return Usage{}, nil
	}
	return Usage{st.Size, 1}, err
}

// Clear removes the messages of a mailbox that nobody finds any more, and the
// directories that they were in. It gives how much of what counts it has removed: a
// message that a delivery brings meanwhile is among that, or is taken back by it, or
// does not come. What is left after an error counts for nothing either.
func (f *Folder) Clear() (gone Usage, err error) {
	for _, sub := range []Sub{New, Cur} {
		left := error(unix.ENOTEMPTY)
		for errors.Is(left, unix.ENOTEMPTY) {
			var u Usage
			if u, left = f.clear(sub); left == nil {
				left = unix.Unlinkat(f.root, sub.String(), unix.AT_REMOVEDIR)
			}
			gone = gone.Add(u)
		}
		err = errors.Join(err, left)
	}
	return gone, err
}

// Settle is Clear for messages that stay where they are, for nobody to find them yet:
// what has just come gets a name that its delivery does not know.
func (f *Folder) Settle() (gone Usage, err error) {
	l, err := f.List(New)
	if err != nil {
		return gone, err
	}
	for name := range l.All() {
		u, uerr := f.usage(New, name)
		if base, suffix := SplitName(name); suffix == "" {
			merr := f.Rename(New, name, f, New, base+infoPrefix)
			if errors.Is(merr, fs.ErrNotExist) {
				continue
			}
			uerr = errors.Join(uerr, merr)
		}
		gone, err = gone.Add(u), errors.Join(err, uerr)
	}
	l.Release()
	u, cerr := f.count(Cur)
	return gone.Add(u), errors.Join(err, cerr)
}

func (f *Folder) clear(sub Sub) (gone Usage, err error) {
	l, err := f.List(sub)
	if err != nil {
		return gone, err
	}
	defer l.Release()
	for name := range l.All() {
		u, uerr := f.usage(sub, name)
		derr := f.Unlink(sub, name)
		if !errors.Is(derr, fs.ErrNotExist) {
			gone = gone.Add(u)
			err = errors.Join(err, uerr, derr)
		}
	}
	return gone, err
}

// CountAll adds up the messages of a whole Maildir that count.
func CountAll(top string, ops *Ops) (total Usage, err error) {
	dirs, err := FolderDirs(top)
	if err != nil {
		return total, err
	}
	for _, dir := range append(dirs, inboxDir) {
		if dir == TrashDir || dir == ".." {
			continue
		}
		f, err := OpenFolder(filepath.Join(top, dir), ops)
		if err != nil {
			continue // as for whoever lists mailboxes
		}
		u, err := f.Count()
		f.Close()
		if err != nil {
			return total, err
		}
		total = total.Add(u)
	}
	return total, nil
}

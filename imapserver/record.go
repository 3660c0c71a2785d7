package imapserver

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"mailstead/imapserver/control"
	"mailstead/imapserver/maildir"
)

// The bounds of the record of removals: what is older goes, and where all of it has come
// to be larger, the oldest lines of whoever has the most.
const (
	recordDays   = 60
	recordOctets = 256 << 20
)

// recordEnd ends the names of the record's files, which begin with their day.
const recordEnd = ".ndjson"

// record is the record of removals: a directory with a file for each day (UTC), a line
// of JSON for each removal. It is auth's, which root can read and nobody else. The
// lines are never synced: what a power cut takes is seconds of it. Its methods may be
// called from many goroutines; those of nil do nothing.
type record struct {
	log    *slog.Logger
	dir    string
	max    int64 // octets of the whole
	missed func(n int)

	mu   sync.Mutex
	day  string
	file *os.File
	size int64 // of the whole, when the day's file was opened, and what came since
	full bool  // and said so

	failed time.Time // when it could not be thinned last
}

// newRecord makes a record in dir, which is made when there is something to record.
// missed is told of removals that could not be.
func newRecord(log *slog.Logger, dir string, missed func(n int)) *record {
	return &record{log: log, dir: dir, max: recordOctets, missed: missed}
}

// add records removals.
func (r *record) add(some []control.Removal, now time.Time) {
	if r == nil || len(some) == 0 {
		return
	}
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	lines.SetEscapeHTML(false)
	for _, one := range some {
		lines.Encode(one) // strings, numbers and times: it cannot fail
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.write(b.Bytes(), now); err != nil {
		r.missed(len(some))
		if !r.full {
			r.log.Error("removals are not recorded", "err", err)
		}
		r.full = true
		return
	}
	r.full = false
}

// errRecordFull says that the record is full, and could not be thinned a moment ago.
var errRecordFull = errors.New("the record is full")

func (r *record) write(lines []byte, now time.Time) error {
	if day := now.UTC().Format(time.DateOnly); r.file == nil || day != r.day {
		if err := r.open(day, now); err != nil {
			return err
		}
	}
	if r.size+int64(len(lines)) > r.max {
		if now.Sub(r.failed).Abs() < time.Minute {
			return errRecordFull
		}
		err := r.thin()
		if again := r.open(r.day, now); again != nil { // today's file may be another one now, in any case
			r.file.Close()
			r.file = nil
			return errors.Join(err, again)
		}
		if err != nil && r.size+int64(len(lines)) > r.max {
			r.failed = now
			return err
		}
		if err != nil {
			r.log.Error("the record of removals is made smaller in part", "err", err)
		}
	}
	n, err := r.file.Write(lines)
	r.size += int64(n)
	if err != nil {
		r.file.Close()
		r.file = nil // what is opened anew ends the line that was torn
	}
	return err
}

// open goes over to a day's file.
func (r *record) open(day string, now time.Time) error {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(r.dir, day+recordEnd), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := maildir.EndLine(f); err != nil {
		f.Close()
		return err
	}
	if r.file != nil {
		r.file.Close()
	}
	r.file, r.day = f, day
	return r.tidy(now)
}

// tidy removes the days that are too old.
func (r *record) tidy(now time.Time) error {
	files, err := os.ReadDir(r.dir) // in order of their days
	if err != nil {
		return err
	}
	r.size = 0
	oldest := r.oldest(files, now)
	for _, f := range files {
		if day, ok := strings.CutSuffix(f.Name(), recordEnd); ok && day < oldest && day != r.day {
			if err := os.Remove(filepath.Join(r.dir, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		} else if st, err := f.Info(); err == nil && st.Mode().IsRegular() {
			r.size += st.Size()
		}
	}
	return nil
}

// thin makes the record a quarter smaller than it may be, so that nobody's removals push
// out those of others: it takes the oldest lines of those who have the most, until nobody
// has more than they. What it takes of the day that is being written is missed.
func (r *record) thin() error {
	files, err := filepath.Glob(filepath.Join(r.dir, "*"+recordEnd)) // in order of their days
	if err != nil {
		return err
	}
	much := map[string]int64{} // octets, by user
	room := r.max*3/4 - r.size // less what cannot be read
	for _, path := range files {
		err = errors.Join(err, eachLine(path, func(user string, line []byte) error {
			much[user] += int64(len(line))
			room += int64(len(line))
			return nil
		}))
	}
	share := fairShare(slices.Sorted(maps.Values(much)), max(0, room))
	for user := range much {
		much[user] -= share
	}
	for _, path := range files {
		maps.DeleteFunc(much, func(_ string, n int64) bool { return n <= 0 })
		if len(much) == 0 {
			break
		}
		n, e := thinDay(path, much)
		if err = errors.Join(err, e); filepath.Base(path) == r.day+recordEnd {
			r.missed(n)
		}
	}
	return err
}

// fairShare is how much each may keep of what they have, least first, for all of it to
// have room.
func fairShare(have []int64, room int64) int64 {
	for i, n := range have {
		if share := room / int64(len(have)-i); n > share {
			return share
		}
		room -= n
	}
	return math.MaxInt64
}

// recordNext is what a day's file is replaced by.
const recordNext = "next.tmp"

// thinDay takes so many octets of each user's first lines from a file, takes them off much,
// and says how many lines that were.
func thinDay(path string, much map[string]int64) (gone int, err error) {
	next := filepath.Join(filepath.Dir(path), recordNext)
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	w, kept, left := bufio.NewWriter(f), 0, maps.Clone(much)
	err = eachLine(path, func(user string, line []byte) error {
		if left[user] > 0 {
			left[user] -= int64(len(line))
			gone++
			return nil
		}
		kept++
		_, err := w.Write(line)
		return err
	})
	err = errors.Join(err, w.Flush(), f.Sync(), f.Close())
	switch {
	case err != nil || gone == 0:
		return 0, errors.Join(err, os.Remove(next))
	case kept == 0:
		err = errors.Join(os.Remove(next), os.Remove(path))
	default:
		err = os.Rename(next, path)
	}
	if err == nil {
		maps.Copy(much, left)
	}
	return gone, err
}

// eachLine reads a file of the record. A line that a power cut has torn is nobody's.
func eachLine(path string, f func(user string, line []byte) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	for lines := bufio.NewReader(file); ; {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			_, rest, _ := bytes.Cut(line, []byte(`,"user":"`)) // the time before it has none
			user, _, _ := bytes.Cut(rest, []byte(`"`))
			if err := f(string(user), line); err != nil {
				return err
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// oldest is the first day that is not too old. Where all that there are would be, the
// clock may be ahead, and they stay until the next day of which there is something.
func (r *record) oldest(files []fs.DirEntry, now time.Time) string {
	oldest := now.UTC().AddDate(0, 0, -recordDays).Format(time.DateOnly)
	last := ""
	for _, f := range files {
		if day, ok := strings.CutSuffix(f.Name(), recordEnd); ok && day < r.day {
			last = day
		}
	}
	if last < oldest {
		return ""
	}
	return oldest
}

func (r *record) close() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

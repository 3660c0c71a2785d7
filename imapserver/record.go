package imapserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"mailstead/imapserver/control"
	"mailstead/imapserver/maildir"
)

// The bounds of the record of removals: what is older goes, and the oldest day where
// all of it has come to be larger.
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

// errRecordFull says that this day alone has filled the record.
var errRecordFull = errors.New("the record is full")

func (r *record) write(lines []byte, now time.Time) error {
	if day := now.UTC().Format(time.DateOnly); r.file == nil || day != r.day {
		if err := r.open(day, now); err != nil {
			return err
		}
	}
	if r.size+int64(len(lines)) > r.max {
		if err := r.tidy(now); err != nil {
			return err
		}
		if r.size+int64(len(lines)) > r.max {
			return fmt.Errorf("%w: %d octets", errRecordFull, r.size)
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

// tidy removes the days that are too old, and of the others the oldest for as long as
// there is too much, but for the day that is being written.
func (r *record) tidy(now time.Time) error {
	files, err := os.ReadDir(r.dir) // in order of their days
	if err != nil {
		return err
	}
	sizes := map[string]int64{}
	r.size = 0
	for _, f := range files {
		if st, err := f.Info(); err == nil {
			sizes[f.Name()] = st.Size()
			r.size += st.Size()
		}
	}
	oldest := r.oldest(files, now)
	for _, f := range files {
		day, ok := strings.CutSuffix(f.Name(), recordEnd)
		if !ok || day == r.day || day >= oldest && r.size <= r.max*3/4 {
			continue
		}
		if err := os.Remove(filepath.Join(r.dir, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		r.size -= sizes[f.Name()]
	}
	return nil
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

package transfer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
)

// Journal is what a user's transfers of one name have brought: a directory in
// the Maildir with a file for each mailbox of the source. A line is written once
// a message is ours for good, and synced only when all of a mailbox is here: what a
// crash takes of it is found again in the mailbox (recover.go).
type Journal struct {
	dir  string
	lock *os.File
}

// ErrLocked says that another transfer is at work that must not be at the same time.
var ErrLocked = errors.New("another import of this user is at work")

// OpenJournal takes the journal in dir, which is made, as long as nobody else has
// taken guard: dir itself, or a directory above it for all journals there. Two at work
// at once could bring the same messages, since neither sees what the other is about to.
func OpenJournal(dir, guard string) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	f, err := os.OpenFile(guard, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("lock journal: %w", err)
	}
	return &Journal{dir, f}, nil
}

// Close lets others have it.
func (j *Journal) Close() error { return j.lock.Close() }

// head is the first line of a file.
type head struct {
	Version  int    `json:"version"`
	Mailbox  string `json:"mailbox"`  // of the source
	Validity string `json:"validity"` // of its IDs
	Target   string `json:"target"`
	UIDs     uint32 `json:"uidvalidity"` // of the target
}

const journalVersion = 1

// brought is a message that has been brought.
type brought struct {
	uid   imap.UID
	flags string // at the source, when they were last brought
}

// page is the journal of one mailbox.
type page struct {
	head
	path string
	file *os.File
	w    *bufio.Writer
	done map[string]brought // by ID

	words map[string]string     // flags, once each: most messages have those of others
	twice map[string][]imap.UID // by ID: what it had been brought as before

	since imap.UID // messages here below it are all known: the last run that was whole has left them so
}

func (j *Journal) path(mailbox string) string {
	sum := sha256.Sum256([]byte(mailbox))
	return filepath.Join(j.dir, hex.EncodeToString(sum[:12])+".journal")
}

// knows tells whether anything is known of such a mailbox. What cannot be read is not.
func (j *Journal) knows(such func(mailbox string) bool) bool {
	files, _ := os.ReadDir(j.dir)
	return slices.ContainsFunc(files, func(e os.DirEntry) bool {
		f, err := openPage(filepath.Join(j.dir, e.Name()))
		if err != nil {
			return false
		}
		defer f.Close()
		var h head
		line, err := bufio.NewReader(f).ReadBytes('\n')
		return err == nil && json.Unmarshal(line, &h) == nil && j.path(h.Mailbox) == f.Name() && such(h.Mailbox)
	})
}

func openPage(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
}

// read gives what is known of a mailbox; nil where that is nothing. A last line
// without an end, or one that makes no sense, is as if it were not there.
func (j *Journal) read(mailbox string) (*page, error) {
	p := &page{path: j.path(mailbox), done: map[string]brought{}, words: map[string]string{}}
	f, err := openPage(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	line, err := r.ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &p.head) != nil || p.Version != journalVersion || p.head.Mailbox != mailbox {
		return nil, fmt.Errorf("read journal: %s does not begin as one of %q; what it says is needed to bring nothing twice", p.path, mailbox)
	}
	p.since = 1
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, fmt.Errorf("read journal: %s has a line of more than 64 KiB", p.path)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return p, nil
			}
			return nil, fmt.Errorf("read journal: %w", err)
		}
		p.take(line)
	}
}

// take takes a line: ID, UID and flags, parted by tabs. Without an ID, the UID is
// since.
func (p *page) take(line []byte) {
	f := bytes.SplitN(bytes.TrimSuffix(line, []byte("\n")), []byte("\t"), 3)
	if len(f) != 3 {
		return
	}
	uid, err := strconv.ParseUint(string(f[1]), 10, 32)
	if err != nil || uid == 0 {
		return
	}
	if len(f[0]) == 0 {
		p.since = imap.UID(uid)
		return
	}
	flags, ok := p.words[string(f[2])]
	if !ok {
		flags = string(f[2])
		p.words[flags] = flags
	}
	if was, ok := p.done[string(f[0])]; ok && was.uid != imap.UID(uid) {
		if p.twice == nil {
			p.twice = map[string][]imap.UID{}
		}
		p.twice[string(f[0])] = append(p.twice[string(f[0])], was.uid)
	}
	p.done[string(f[0])] = brought{imap.UID(uid), flags}
}

// begin starts the page of a mailbox anew, with what it knows, or goes on with one
// that was read.
func (p *page) begin(fresh bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND | unix.O_NOFOLLOW
	at := p.path
	if fresh {
		at += ".new"
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(at, flags, 0o600)
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	p.file, p.w = f, bufio.NewWriter(f)
	if !fresh {
		p.w.WriteByte('\n') // ends a line that a crash has cut
		return p.flush()
	}
	p.Version = journalVersion
	line, err := json.Marshal(p.head)
	if err != nil {
		return err
	}
	p.w.Write(append(line, '\n'))
	for id, b := range p.done {
		p.note(id, b)
	}
	if err := p.flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	if err := os.Rename(at, p.path); err != nil {
		return err
	}
	// Without it nobody would know from which UID on to look for what was brought.
	return new(maildir.Ops).SyncDir(filepath.Dir(p.path))
}

// noUID stands for the UID of a message that was brought into another mailbox than
// the one that UIDs are of.
const noUID imap.UID = math.MaxUint32

// retarget has what is brought from now on go into another mailbox. What was brought
// before stays known, but is not looked for there.
func (p *page) retarget(target string, validity uint32) {
	p.Target, p.UIDs, p.since = target, validity, 1
	for id, b := range p.done {
		p.done[id] = brought{noUID, b.flags}
	}
}

// add notes messages that have been brought. It does not remember them itself: this
// run knows.
func (p *page) add(messages []Entry, uids []imap.UID) error {
	for i, e := range messages {
		p.note(e.ID, brought{uids[i], e.Flags})
	}
	return p.flush()
}

func (p *page) note(id string, b brought) {
	fmt.Fprintf(p.w, "%s\t%d\t%s\n", id, b.uid, b.flags)
}

// complete notes that all is here, and the next UID here. What is said of the
// messages below it is on disk before that is.
func (p *page) complete(next imap.UID) error {
	if err := p.file.Sync(); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	fmt.Fprintf(p.w, "\t%d\t\n", next)
	return p.flush()
}

func (p *page) flush() error {
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

func (p *page) close() {
	if p.file != nil {
		p.file.Close()
	}
}

// plainID makes an ID that a line of the journal can hold.
func plainID(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' {
			return '_'
		}
		return r
	}, s)
}

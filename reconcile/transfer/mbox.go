package transfer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/mail"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
)

// Mbox is one mbox file, or a directory of them, as a source: each file is a
// mailbox (RFC 4155), but for Google's Takeout, whose labels say where a message
// belongs. A message is named by the digest of its octets.
type Mbox struct {
	Path string

	mu    sync.Mutex
	boxes []Mailbox
	found map[string][]mboxMessage // by mailbox
}

type mboxMessage struct {
	Entry
	file       string
	start, end int64
	octets     [16]byte // digest of what is between them
}

// Open is an Opener: all share what has been found.
func (m *Mbox) Open(context.Context) (Source, error) { return m, nil }

// Close is Source's.
func (m *Mbox) Close() error { return nil }

// Mailboxes is Source's: it reads all files once.
func (m *Mbox) Mailboxes(ctx context.Context) ([]Mailbox, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.found != nil {
		return m.boxes, nil
	}
	found := map[string][]mboxMessage{}
	var boxes, others []Mailbox
	err := filepath.WalkDir(m.Path, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		levels := m.levels(path)
		f, err := scanFile(ctx, path, d.Type())
		if no, is := errors.AsType[noMbox](err); is {
			if !noMail(levels) {
				others = append(others, Mailbox{Levels: levels, Validity: "mbox", Fault: d.Name() + " " + string(no)})
			}
			return nil
		}
		if err != nil {
			return err
		}
		f.each(levels, func(to Mailbox, msg mboxMessage) {
			to.Name, to.Subscribed, to.Validity = strings.Join(to.Levels, "/"), true, "mbox"
			if _, there := found[to.Name]; !there {
				boxes = append(boxes, to)
			}
			found[to.Name] = append(found[to.Name], msg)
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", m.Path, err)
	}
	if len(boxes)+len(others) == 0 {
		return nil, fmt.Errorf("%s has no message that begins with a line \"From \"", m.Path)
	}
	for i := range boxes {
		boxes[i].Messages = len(found[boxes[i].Name])
		boxes[i].formerly = number(found[boxes[i].Name])
	}
	taken := names{}
	for name := range found {
		taken.take(name)
	}
	for _, o := range others {
		o.Name = taken.take(strings.Join(o.Levels, "/"))
		boxes = append(boxes, o)
	}
	m.boxes, m.found = boxes, found
	return boxes, nil
}

// noMbox says why something is none. It is told of, for there may be mail in it.
type noMbox string

func (n noMbox) Error() string { return string(n) }

// besideMail are the endings of what Thunderbird has beside mail, its indexes, filters and
// lists, and of the settings and the overview in a Takeout.
var besideMail = []string{".msf", ".dat", ".json", ".html"}

// appleIndex is what Apple Mail has beside each mailbox that it exports.
const appleIndex = "table_of_contents"

// noMail tells of a file that is no mbox, by its name, that no mail program has mail in it: it
// is hidden, or one of these.
func noMail(levels []string) bool {
	return slices.ContainsFunc(levels, func(l string) bool { return strings.HasPrefix(l, ".") }) ||
		levels[len(levels)-1] == appleIndex || slices.Contains(besideMail, filepath.Ext(levels[len(levels)-1]))
}

// mboxFile is what a file holds: what labels mean is known once all of them are.
type mboxFile struct {
	messages []mboxMessage
	flags    [][]imap.Flag // of each, that its own fields tell
	labels   [][]string    // of each, shared by those that have the same
	times    map[string]int
}

// scanFile reads a file, unless it is a noMbox.
func scanFile(ctx context.Context, path string, is fs.FileMode) (*mboxFile, error) {
	switch {
	case is&fs.ModeSymlink != 0:
		return nil, noMbox("is a link, and links are not followed")
	case !is.IsRegular():
		return nil, noMbox("is no file")
	}
	f := &mboxFile{times: map[string]int{}}
	same := map[string][]string{}
	err := scanMbox(ctx, path, func(msg mboxMessage, flags []imap.Flag, labels []string) {
		key := strings.Join(labels, "\x00")
		if l, ok := same[key]; ok {
			labels = l
		}
		same[key] = labels
		for _, l := range labels {
			f.times[l]++
		}
		f.messages, f.flags, f.labels = append(f.messages, msg), append(f.flags, flags), append(f.labels, labels)
	})
	return f, err
}

// each says of the messages where they go, with their flags: into the mailbox that the file is,
// or by their labels.
func (f *mboxFile) each(levels []string, place func(Mailbox, mboxMessage)) {
	words := wordsFor(f.times)
	for i, msg := range f.messages {
		to, flags := Mailbox{Levels: levels}, f.flags[i]
		if labels := f.labels[i]; labels != nil {
			to = words.labelled(labels)
			flags = append(flags, words.flags(labels)...)
		}
		slices.Sort(flags)
		msg.Flags = flagList(slices.Compact(flags))
		place(to, msg)
	}
}

// number tells messages of the same octets apart. It gives what an ID was in earlier versions
// where the message was the last one of its file, and no empty line behind it: that of its octets.
func number(messages []mboxMessage) (formerly func(Entry) string) {
	times := map[string]int{}
	for i := range messages {
		id := messages[i].ID
		if times[id]++; times[id] > 1 {
			messages[i].ID = fmt.Sprintf("%s-%d", id, times[id])
		}
	}
	return func(e Entry) string {
		id := hex.EncodeToString(messages[e.at].octets[:])
		if times[id] > 0 {
			return "" // it is that of another one, which has no more than the empty line
		}
		return id
	}
}

// levels is what a file is called as a mailbox.
func (m *Mbox) levels(path string) []string {
	rel, err := filepath.Rel(m.Path, path)
	if err != nil || rel == "." {
		rel = filepath.Base(path)
	}
	levels := strings.Split(filepath.ToSlash(rel), "/")
	last := &levels[len(levels)-1]
	*last = strings.TrimSuffix(*last, ".mbox")
	if strings.EqualFold(*last, "inbox") {
		*last = "INBOX"
	}
	return levels
}

// List is Source's.
func (m *Mbox) List(ctx context.Context, box Mailbox, each func(Entry)) error {
	if _, err := m.Mailboxes(ctx); err != nil {
		return err
	}
	for i, f := range m.found[box.Name] {
		f.Entry.at = i
		each(f.Entry)
	}
	return nil
}

// Fetch is Source's.
func (m *Mbox) Fetch(ctx context.Context, box Mailbox, messages []Entry, take func(Entry, io.Reader) error) error {
	if _, err := m.Mailboxes(ctx); err != nil {
		return err
	}
	for _, e := range messages {
		msg := m.found[box.Name][e.at]
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := os.Open(msg.file)
		if err != nil {
			return err
		}
		octets := &unchanged{r: io.NewSectionReader(f, msg.start, msg.end-msg.start), sum: sha256.New(), msg: &msg}
		err = take(e, &unquoted{r: bufio.NewReaderSize(octets, 64<<10)})
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// unchanged reads a message whose octets are still those that were found: a mail program may
// write its file anew at any time.
type unchanged struct {
	r   io.Reader
	sum hash.Hash
	msg *mboxMessage
}

func (u *unchanged) Read(p []byte) (int, error) {
	n, err := u.r.Read(p)
	u.sum.Write(p[:n])
	if errors.Is(err, io.EOF) && short(u.sum) != u.msg.octets {
		err = fmt.Errorf("%s is not any more what it was when it was looked through: run the import again once nobody writes to it", u.msg.file)
	}
	return n, err
}

// short is as much of a digest as tells messages apart.
func short(h hash.Hash) [16]byte { return [16]byte(h.Sum(nil)) }

// unquoted takes the ">" away that was put before lines that begin a message.
type unquoted struct {
	r    *bufio.Reader
	rest []byte
	mid  bool // the last piece did not end a line
}

func (u *unquoted) Read(p []byte) (int, error) {
	for len(u.rest) == 0 {
		line, err := u.r.ReadSlice('\n')
		if len(line) == 0 && err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return 0, err
		}
		if !u.mid && line[0] == '>' && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
			line = line[1:]
		}
		u.mid = line[len(line)-1] != '\n'
		u.rest = line
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}

// maxFields bounds what of a header is looked at.
const maxFields = 256 << 10

// mboxScan reads a file message by message.
type mboxScan struct {
	file  string
	each  mboxEach
	r     *bufio.Reader
	msg   mboxMessage
	sum   hash.Hash
	head  bytes.Buffer
	body  bool   // the header is over
	empty []byte // the empty line that may be the one before the next message; it is not in sum
	open  bool   // the last line has no end
	eol   string // of the line that began the message
}

// mboxEach is told of a message, with the flags that its own fields tell, and Gmail's labels.
type mboxEach func(msg mboxMessage, flags []imap.Flag, labels []string)

// scanMbox calls each for the messages of a file, with Gmail's labels if it has any.
func scanMbox(ctx context.Context, path string, each mboxEach) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	at, err := skipLead(r)
	if err != nil {
		return err
	}
	s, fresh := &mboxScan{file: path, each: each, r: r}, true
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			s.line(line, at, fresh)
			at += int64(len(line))
			fresh = line[len(line)-1] == '\n'
		}
		switch {
		case err == nil, errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			s.end(at)
			return nil
		default:
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// skipLead passes what stands before the first message of some files, and says how many octets
// that is: a byte order mark, and empty lines. A file may have nothing else.
func skipLead(r *bufio.Reader) (octets int64, err error) {
	const mark, from = "\ufeff", "From "
	n := 0
	if first, _ := r.Peek(len(mark)); string(first) == mark {
		n = len(mark)
	}
	for {
		r.Discard(n)
		octets += int64(n)
		first, err := r.Peek(len(from))
		switch {
		case string(first) == from || len(first) == 0 && errors.Is(err, io.EOF):
			return octets, nil
		case len(first) == 0:
			return octets, err
		case first[0] != '\r' && first[0] != '\n':
			return octets, noMbox("does not begin with a line \"From \", as an mbox does")
		}
		n = 1
	}
}

// line takes a line, or a piece of one; fresh says that it begins one.
func (s *mboxScan) line(line []byte, at int64, fresh bool) {
	if fresh && bytes.HasPrefix(line, []byte("From ")) && (s.sum == nil || s.empty != nil) {
		line = bytes.Clone(line) // it is read on behind it
		if from := string(line); s.separates(from) {
			s.end(at)
			s.msg = mboxMessage{file: s.file, start: at + int64(len(line))}
			s.msg.Date = fromDate(from)
			s.sum, s.body, s.empty, s.open = sha256.New(), false, nil, false
			s.eol = from[len(strings.TrimRight(from, "\r\n")):]
			s.head.Reset()
			return
		}
	}
	s.sum.Write(s.empty)
	s.empty, s.open = nil, line[len(line)-1] != '\n'
	if blank := fresh && len(bytes.TrimRight(line, "\r\n")) == 0; blank {
		s.body, s.empty = true, bytes.Clone(line)
	} else {
		s.sum.Write(line)
	}
	if !s.body && s.head.Len() < maxFields {
		s.head.Write(line)
	}
}

// separates says whether a line behind an empty one that begins with "From " begins a message:
// not every program that writes mbox files marks those of a text.
func (s *mboxScan) separates(line string) bool {
	if s.sum == nil || fromDate(line) != NoDate {
		return true
	}
	next, _ := s.r.Peek(maxFieldName)
	return oddSeparator.MatchString(line) && anyField.Match(next)
}

// maxFieldName is how far the colon of a header's first field is looked for.
const maxFieldName = 256

var (
	// oddSeparator matches a separator line without a date, or with a time in one that
	// fromDate does not know.
	oddSeparator = regexp.MustCompile(`^From (\S*\s*$|.*\d:\d\d)`)
	// anyField matches the start of a header, and not that of a URL.
	anyField = regexp.MustCompile(`^[!-9;-~]+:[^/]`)
)

// end ends the message before at.
func (s *mboxScan) end(at int64) {
	if s.sum == nil {
		return
	}
	s.msg.end = at - int64(len(s.empty))
	s.msg.Size = s.msg.end - s.msg.start
	s.msg.octets = short(s.sum)
	switch { // the ID is to be the same once another message stands behind it
	case s.empty != nil:
		s.sum.Write(s.empty)
	case s.open:
		io.WriteString(s.sum, s.eol+s.eol)
	default:
		io.WriteString(s.sum, s.eol)
	}
	id := short(s.sum)
	s.msg.ID = hex.EncodeToString(id[:])
	s.sum = nil
	h, err := mail.ReadMessage(bytes.NewReader(append(s.head.Bytes(), "\r\n\r\n"...)))
	if err != nil {
		h = &mail.Message{Header: mail.Header{}}
	}
	if s.msg.Date == NoDate || s.msg.Date == 0 { // some programs write 1970 where they know none
		if d, err := h.Header.Date(); err == nil {
			s.msg.Date = d.Unix()
		}
	}
	s.each(s.msg, mboxFlags(h.Header), gmail(h.Header))
}

// fromDate reads the date of a separator line: "From address date" (RFC 4155
// appendix A), also with a zone, as Takeout has it.
func fromDate(line string) int64 {
	f := strings.Fields(line)
	for _, n := range []int{5, 6} {
		if len(f) < n+1 {
			continue
		}
		text := strings.Join(f[len(f)-n:], " ")
		for _, layout := range []string{"Mon Jan 2 15:04:05 2006", "Mon Jan 2 15:04:05 -0700 2006", "Mon Jan 2 15:04:05 MST 2006"} {
			if d, err := time.Parse(layout, text); err == nil {
				return d.Unix()
			}
		}
	}
	return NoDate
}

// mboxFlags are those that Status and X-Status tell, as mail programs have written
// them into mbox files.
func mboxFlags(h mail.Header) []imap.Flag {
	var flags []imap.Flag
	add := func(on bool, f imap.Flag) {
		if on {
			flags = append(flags, f)
		}
	}
	status, more := h.Get("Status"), h.Get("X-Status")
	add(strings.Contains(status, "R"), imap.FlagSeen)
	add(strings.Contains(more, "A"), imap.FlagAnswered)
	add(strings.Contains(more, "F"), imap.FlagFlagged)
	add(strings.Contains(more, "D"), imap.FlagDeleted)
	add(strings.Contains(more, "T"), imap.FlagDraft)
	return flags
}

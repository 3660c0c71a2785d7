package kind

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
	"mailstead/reconcile"
)

// ScanSpec asks for a look at the messages of one user, by their names and what
// stat says, and at the content of some.
type ScanSpec struct {
	Maildir   reconcile.Resource // of Maildir
	All       bool               // without the bounds that keep a look short
	RemoveTmp bool               // remove what broken deliveries have left in tmp
}

// Flaw is a kind of thing that is wrong in a mailbox.
type Flaw string

// The flaws.
const (
	Incomplete Flaw = "incomplete" // a directory is missing, or has another mode or owner
	Irregular  Flaw = "irregular"  // no file and no directory where there should be one: a link, a pipe
	Unreadable Flaw = "unreadable" // its owner may not read it
	Stray      Flaw = "stray"      // what no mail server looks for there
	WrongSize  Flaw = "size"       // S= is not the size of the file
	WrongWire  Flaw = "wire-size"  // W= is not the size with CRLF (Dovecot)
	Duplicate  Flaw = "duplicate"  // two files have one base name
	StaleTmp   Flaw = "stale-tmp"  // what a broken delivery has left
	Unusable   Flaw = "unusable"   // what mail servers write beside the messages, and the owner cannot
)

// Flawed is how often a flaw was found, and where first.
type Flawed struct {
	Flaw  Flaw     `json:"flaw"`
	Count int      `json:"count"`
	Where []string `json:"where"` // paths below the Maildir, or what is wrong there; some of them
}

// Scan is what was found. Its strings may be of the user's making.
type Scan struct {
	Missing   bool     `json:"missing,omitempty"` // there is no Maildir
	Mailboxes int      `json:"mailboxes"`
	Messages  int      `json:"messages"`
	Read      int      `json:"read"` // messages whose content was read
	Partly    string   `json:"partly,omitempty"`
	Removed   int      `json:"removed,omitempty"`
	Flaws     []Flawed `json:"flaws,omitempty"`
	Disk      Disk     `json:"disk"`
	Error     string   `json:"error,omitempty"`
}

// The bounds of one look, unless all is asked for: a Maildir may hold anything.
const (
	scanEntries = 250_000  // names in all directories
	scanBytes   = 32 << 20 // octets of messages that are read
	scanReads   = 500      // messages that are read
	scanBoxes   = 5_000    // mailboxes
	maxScanned  = 20_000_000
	maxSuspects = 1_000 // names that may be duplicates, of one mailbox
	maxFlaws    = 9     // one for each kind
	maxWhere    = 4
	maxWhereLen = 300
)

// staleAfter is when nobody writes a file in tmp any more
// (https://cr.yp.to/proto/maildir.html: 36 hours).
const staleAfter = 36 * time.Hour

// Scan looks at mail as its owner. An error is one of looking, and may be of the
// user's making as well.
func (h *Host) Scan(ctx context.Context, s ScanSpec) (Scan, error) {
	id, err := parseIdentity(s.Maildir.Get("owner"))
	if err != nil {
		return Scan{}, err
	}
	q := mailRequest{Scan: &scanAsk{Mail: newMailThing(&s.Maildir), All: s.All, RemoveTmp: s.RemoveTmp}}
	a, err := h.mail(ctx, id, q)
	switch {
	case err != nil:
		return Scan{}, err
	case a.Scan == nil:
		return Scan{}, fmt.Errorf("helper as uid %d: no answer", id.uid)
	case a.Scan.Error != "":
		return a.Scan.bounded(), errors.New(shorter(a.Scan.Error)) // what was removed, is
	}
	return a.Scan.bounded(), nil
}

// scanAsk is ScanSpec as it goes to the helper.
type scanAsk struct {
	Mail      mailThing `json:"mail"`
	All       bool      `json:"all,omitempty"`
	RemoveTmp bool      `json:"remove_tmp,omitempty"`
}

// bounded is what is taken of an answer, whoever has made it.
func (s Scan) bounded() Scan {
	s.Partly = shorter(s.Partly)
	s.Flaws = s.Flaws[:min(len(s.Flaws), maxFlaws)]
	for i, f := range s.Flaws {
		f.Flaw = Flaw(shorter(string(f.Flaw)))
		f.Where = f.Where[:min(len(f.Where), maxWhere)]
		for j := range f.Where {
			f.Where[j] = shorter(f.Where[j])
		}
		s.Flaws[i] = f
	}
	return s
}

func shorter(s string) string {
	if len(s) > maxWhereLen {
		return s[:maxWhereLen] + "..."
	}
	return s
}

// scanner is one look. It has the rights of the owner of the mail.
type scanner struct {
	Scan
	ask     *scanAsk
	look    survey
	now     time.Time
	entries int // that may still be looked at
	bytes   int64
	reads   int
	more    bool // than the bounds allow
}

func scanMail(ask *scanAsk) *Scan {
	s := &scanner{ask: ask, now: time.Now(), entries: scanEntries, bytes: scanBytes, reads: scanReads}
	if ask.All {
		s.entries, s.bytes, s.reads = maxScanned, 1<<62, maxScanned
	}
	if err := s.run(); err != nil {
		s.Error = err.Error()
	}
	return &s.Scan
}

func (s *scanner) run() error {
	p, err := s.ask.Mail.place()
	if err != nil {
		return err
	}
	t, err := openTree(p, false)
	if t == nil {
		s.Missing = err == nil
		return err
	}
	defer t.close()
	s.look = survey{path: p.path, owner: p.owner}
	s.Disk, _ = diskOf(t.dir.fd) // of which a file system need not tell
	err = s.tree(t)
	for _, wrong := range [][]string{s.look.missing, s.look.modes, s.look.foreign} {
		for _, w := range wrong {
			s.found(Incomplete, w)
		}
	}
	if s.more {
		s.Partly = fmt.Sprintf("%d messages in %d mailboxes, and the content of %d, were looked at, and there are more", s.Messages, s.Mailboxes, s.Read)
	}
	return err
}

func (s *scanner) tree(t *tree) error {
	if t.dir.stat.Mode&0o500 != 0o500 {
		s.wrong(s.look.directory(t.dir, ".")) // nobody can look further until the mode is repaired
		return nil
	}
	dots, err := s.top(t.dir)
	if err != nil {
		return err
	}
	if err := s.mailbox(t.dir, ""); err != nil {
		return err
	}
	if err := s.own(t.dir); err != nil {
		return err
	}
	for i, name := range dots {
		if i == scanBoxes && !s.ask.All {
			s.more = true
			break
		}
		n, err := t.dir.open(name)
		if err != nil {
			continue // top has said so, or it is gone
		}
		if n.isMailbox() {
			err = s.folder(n, name)
		}
		n.close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) folder(n *node, name string) error {
	if n.stat.Mode&0o500 != 0o500 {
		s.wrong(s.look.directory(n, name))
		return nil
	}
	_, err := s.level(n, name)
	if int(n.stat.Uid) != s.look.owner.uid && errors.Is(err, fs.ErrPermission) {
		err = nil // the survey says so
	}
	return errors.Join(err, s.mailbox(n, name))
}

// wrong notes a directory that the owner of the mail cannot mend: what else there is
// can be looked at all the same.
func (s *scanner) wrong(err error) {
	if err != nil {
		s.look.foreign = append(s.look.foreign, err.Error())
	}
}

// top looks at the names beside cur, and gives those of folders, sorted.
func (s *scanner) top(n *node) ([]string, error) {
	dots, err := s.level(n, "")
	slices.Sort(dots)
	return dots, err
}

// messageName is what the name of a message begins with
// (https://cr.yp.to/proto/maildir.html).
var messageName = regexp.MustCompile(`^[0-9]{9,11}\.[^/]*\.`)

// level looks at the names of a mailbox's own directory.
func (s *scanner) level(n *node, rel string) (dots []string, err error) {
	err = s.each(n, func(_ int, name string) {
		switch {
		case strings.HasPrefix(name, "."):
			dots = append(dots, name)
			var st unix.Stat_t
			if unix.Fstatat(n.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK {
				s.found(Irregular, filepath.Join(rel, name))
			}
		case messageName.MatchString(name):
			s.found(Stray, filepath.Join(rel, name))
		case slices.Contains(besideMessages, name):
			s.usable(n.fd, name, filepath.Join(rel, name))
		}
	})
	return dots, err
}

// besideMessages are files that are written beside messages, by name.
var besideMessages = []string{
	maildir.SubscriptionsFile, maildir.SizeFileName, maildir.UIDDBFile, maildir.ACLFile, "mailstead-uidvalidity", "mailstead-uidnext",
}

// usable finds what its owner can neither read nor write, such as after a restore by
// root.
func (s *scanner) usable(fd int, name, where string) {
	if err := unix.Faccessat(fd, name, unix.R_OK|unix.W_OK, unix.AT_EACCESS); err == unix.EACCES {
		s.found(Unusable, where)
	}
}

// own looks at the daemon's own directory: without its index, no mail is opened.
func (s *scanner) own(n *node) error {
	d, err := n.open(maildir.OwnDir)
	if err != nil {
		return nil // nobody has had a session yet, or the survey has said so
	}
	defer d.close()
	err = s.each(d, func(fd int, name string) { s.usable(fd, name, filepath.Join(maildir.OwnDir, name)) })
	if errors.Is(err, fs.ErrPermission) {
		s.found(Unusable, maildir.OwnDir)
		return nil
	}
	return err
}

// mailbox looks at the files of one mailbox.
func (s *scanner) mailbox(n *node, rel string) error {
	s.Mailboxes++
	s.wrong(s.look.mailbox(n, rel, rel != ""))
	seen := newNames()
	for _, sub := range subdirs {
		d, err := n.open(sub)
		if err != nil {
			continue // the survey has said so
		}
		err = s.files(d, filepath.Join(rel, sub), sub, seen)
		d.close()
		if errors.Is(err, fs.ErrPermission) {
			s.found(Unreadable, filepath.Join(rel, sub))
			err = nil
		}
		if err != nil {
			return err
		}
	}
	s.duplicates(n, rel, seen)
	return nil
}

// files looks at cur, new or tmp.
func (s *scanner) files(d *node, rel, sub string, seen *names) error {
	return s.each(d, func(fd int, name string) {
		var st unix.Stat_t
		if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
			return // it is gone, or has another name by now
		}
		where := filepath.Join(rel, name)
		switch {
		case st.Mode&unix.S_IFMT != unix.S_IFREG:
			s.found(Irregular, where)
		case sub == "tmp":
			s.tmp(fd, name, where, &st)
		case strings.HasPrefix(name, "."):
			s.found(Stray, where)
		default:
			s.message(fd, name, where, &st)
			seen.add(name)
		}
	})
}

// tmp looks at a file that is being delivered, or was.
func (s *scanner) tmp(fd int, name, where string, st *unix.Stat_t) {
	last := max(st.Atim.Nano(), st.Mtim.Nano(), st.Ctim.Nano())
	if s.now.Sub(time.Unix(0, last)) < staleAfter {
		return
	}
	if s.ask.RemoveTmp && unix.Unlinkat(fd, name, 0) == nil {
		s.Removed++
		return
	}
	s.found(StaleTmp, where)
}

func (s *scanner) message(fd int, name, where string, st *unix.Stat_t) {
	s.Messages++
	if int(st.Uid) != s.look.owner.uid || st.Mode&0o400 == 0 {
		if unix.Faccessat(fd, name, unix.R_OK, unix.AT_EACCESS) != nil {
			s.found(Unreadable, where)
			return
		}
	}
	base, _ := maildir.SplitName(name)
	if size, ok := maildir.SizeOf(base); ok && size != st.Size {
		s.found(WrongSize, fmt.Sprintf("%s is of %d octets", where, st.Size))
	}
	if wire, ok := maildir.WireSizeOf(base); ok && s.reads > 0 && s.bytes >= st.Size {
		s.reads--
		s.bytes -= st.Size
		if n, ok := readWire(fd, name, st.Size); ok {
			s.Read++
			if n != wire {
				s.found(WrongWire, fmt.Sprintf("%s is of %d octets with CRLF", where, n))
			}
		}
	} else if ok {
		s.more = true
	}
}

func (s *scanner) found(f Flaw, where string) {
	i := slices.IndexFunc(s.Flaws, func(x Flawed) bool { return x.Flaw == f })
	if i < 0 {
		i = len(s.Flaws)
		s.Flaws = append(s.Flaws, Flawed{Flaw: f})
	}
	if s.Flaws[i].Count++; len(s.Flaws[i].Where) < maxWhere {
		s.Flaws[i].Where = append(s.Flaws[i].Where, shorter(where))
	}
}

// each calls do with every name in a directory and a descriptor of it, as far as
// the bounds go. The directory is read piece by piece: how many names are in it is
// up to the user.
func (s *scanner) each(n *node, do func(fd int, name string)) error {
	f, err := n.real()
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		list, err := f.Readdirnames(1024)
		for _, name := range list {
			if s.entries == 0 {
				s.more = true
				return nil
			}
			s.entries--
			do(int(f.Fd()), name)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readMessage opens a message for reading: nothing else, whatever has been put in
// its place, and without waiting for whom a pipe would.
func readMessage(fd int, name string) (int, error) {
	n := node{fd: fd}
	file, err := n.openat(name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(file, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		unix.Close(file)
		return -1, errors.New("it is no file any more")
	}
	return file, nil
}

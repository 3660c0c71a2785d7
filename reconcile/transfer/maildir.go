package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// Maildir is a tree of Maildirs as a source, as Courier, Dovecot or mbsync have
// left it. A file is named by what never changes of its name.
type Maildir struct {
	Dir string

	mu    sync.Mutex
	at    map[string]string        // directory of each mailbox
	files map[string][]maildirFile // of those that have been listed
}

// maildirFile is where a message was when it was listed.
type maildirFile struct {
	sub  maildir.Sub
	name string
}

// Open is an Opener: all share what has been listed.
func (m *Maildir) Open(context.Context) (Source, error) { return m, nil }

// Close is Source's.
func (m *Maildir) Close() error { return nil }

// maxDepth bounds directories inside each other.
const maxDepth = 32

// Mailboxes is Source's: Maildir++ ("Dir/.A.B"), trees ("Dir/A/B") and the other forms
// of them that mbsync has: Maildir++ below each top ("Dir/A/.B.C") and Legacy
// ("Dir/A/.B/.C").
func (m *Maildir) Mailboxes(ctx context.Context) ([]Mailbox, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at, m.files = map[string]string{}, map[string][]maildirFile{}
	var all []Mailbox
	taken := names{}
	add := func(dir string, levels []string) {
		name := taken.take(strings.Join(levels, "/")) // two directories may have one, such as "A/B" and ".A.B"
		m.at[name] = dir
		all = append(all, Mailbox{Name: name, Levels: levels, Subscribed: true, Validity: "maildir"})
	}
	if isMaildir(m.Dir) {
		add(m.Dir, []string{"INBOX"})
	}
	if err := m.walk(ctx, m.Dir, nil, add); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no directory with cur, new and tmp", m.Dir)
	}
	return all, nil
}

func isMaildir(dir string) bool {
	for _, s := range []string{"cur", "new"} {
		if st, err := os.Lstat(filepath.Join(dir, s)); err != nil || !st.IsDir() {
			return false
		}
	}
	return true
}

func (m *Maildir) walk(ctx context.Context, dir string, above []string, add func(string, []string)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look for mailboxes: %w", err)
	}
	var names, dotted []string
	for _, e := range entries {
		if e.IsDir() && !slices.Contains([]string{"cur", "new", "tmp"}, e.Name()) {
			names, dotted = append(names, e.Name()), append(dotted, "."+strings.TrimPrefix(e.Name(), "."))
		}
	}
	enc := maildir.DetectEncoding(dotted)
	flat := len(above) == 0 || !strings.HasPrefix(filepath.Base(dir), ".") && !nested(dir, names)
	for _, n := range names {
		plain, levelled := strings.CutPrefix(n, ".")
		if decoded, err := maildir.DecodeName("."+plain, enc); err == nil {
			plain = decoded
		}
		levels := append(slices.Clone(above), plain)
		if levelled && flat {
			levels = append(slices.Clone(above), strings.Split(plain, ".")...)
		}
		sub := filepath.Join(dir, n)
		if isMaildir(sub) {
			add(sub, levels)
		}
		if len(above) < maxDepth && !(len(above) == 0 && strings.HasPrefix(n, ".") && !isMaildir(sub)) {
			if err := m.walk(ctx, sub, levels, add); err != nil {
				return err
			}
		}
	}
	return nil
}

// nested tells whether one of the directories with a dot has another one in it: a dot
// within a name is then a part of it, and parts no levels.
func nested(dir string, names []string) bool {
	for _, n := range names {
		inside, _ := os.ReadDir(filepath.Join(dir, n))
		if strings.HasPrefix(n, ".") && slices.ContainsFunc(inside, func(e os.DirEntry) bool {
			return strings.HasPrefix(e.Name(), ".") && isMaildir(filepath.Join(dir, n, e.Name()))
		}) {
			return true
		}
	}
	return false
}

// letterFlags are the flags that file names have.
var letterFlags = []struct {
	letter byte
	flag   imap.Flag
}{
	{'D', imap.FlagDraft}, {'F', imap.FlagFlagged}, {'P', imap.FlagForwarded},
	{'R', imap.FlagAnswered}, {'S', imap.FlagSeen}, {'T', imap.FlagDeleted},
}

// List is Source's.
func (m *Maildir) List(ctx context.Context, box Mailbox, each func(Entry)) error {
	f, err := m.folder(box)
	if err != nil {
		return err
	}
	defer f.Close()
	words, err := readKeywords(f)
	if err != nil {
		return err
	}
	var all []Entry
	var files []maildirFile
	seen := map[string]bool{}
	for _, sub := range []maildir.Sub{maildir.Cur, maildir.New} {
		l, err := f.List(sub)
		if err != nil {
			return err
		}
		for name := range l.All() {
			base, suffix := maildir.SplitName(name)
			st, err := f.Stat(sub, name)
			if strings.HasPrefix(name, ".") || err != nil || !st.Regular || seen[base] {
				continue
			}
			seen[base] = true
			e := Entry{ID: plainID(base), Flags: flagList(words.of(base, suffix)), Size: st.Size, Date: st.ModTime.Unix(), at: len(files)}
			all, files = append(all, e), append(files, maildirFile{sub, name})
		}
		l.Release()
	}
	slices.SortFunc(all, func(a, b Entry) int { return maildir.SortKey(a.ID).Compare(maildir.SortKey(b.ID)) })
	m.mu.Lock()
	m.files[box.Name] = files
	m.mu.Unlock()
	for _, e := range all {
		each(e)
	}
	return ctx.Err()
}

func (m *Maildir) folder(box Mailbox) (*maildir.Folder, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maildir.OpenFolder(m.at[box.Name], nil)
}

// keywords are those of a folder, of whichever server.
type keywords struct {
	courier maildir.CourierKeywords
	dovecot maildir.DovecotKeywords
}

func readKeywords(f *maildir.Folder) (k keywords, err error) {
	if k.courier, err = f.ReadKeywords(); err != nil {
		return k, err
	}
	data, err := f.ReadSidecar("dovecot-keywords")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	k.dovecot, _ = maildir.ParseDovecotKeywords(data)
	return k, nil
}

func (k *keywords) of(base, suffix string) []imap.Flag {
	var flags []imap.Flag
	for _, l := range letterFlags {
		if _, letters, _ := strings.Cut(suffix, ","); strings.IndexByte(letters, l.letter) >= 0 {
			flags = append(flags, l.flag)
		}
	}
	names, _ := k.dovecot.Of(suffix)
	for _, n := range append(names, k.courier.Lists[base]...) {
		flags = append(flags, imap.Flag(n))
	}
	return flags
}

// Fetch is Source's. A file may have got another name since it was listed.
func (m *Maildir) Fetch(ctx context.Context, box Mailbox, messages []Entry, take func(Entry, io.Reader) error) error {
	f, err := m.folder(box)
	if err != nil {
		return err
	}
	defer f.Close()
	m.mu.Lock()
	files := m.files[box.Name]
	m.mu.Unlock()
	for _, e := range messages {
		if err := ctx.Err(); err != nil {
			return err
		}
		file, err := openMessage(f, e.ID, files[e.at])
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read message %s in %s: %w", e.ID, f.Path(), err)
		}
		err = take(e, file)
		file.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// openMessage opens a message where it was, or under the name that it has now.
func openMessage(f *maildir.Folder, id string, was maildirFile) (*maildir.File, error) {
	file, err := f.Open(was.sub, was.name)
	if !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	for _, sub := range []maildir.Sub{maildir.Cur, maildir.New} {
		l, err := f.List(sub)
		if err != nil {
			return nil, err
		}
		defer l.Release()
		for i := range l.Len() {
			if base, _ := maildir.SplitNameBytes(l.Name(i)); plainID(string(base)) == id {
				return f.Open(sub, string(l.Name(i)))
			}
		}
	}
	return nil, fs.ErrNotExist
}

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
	gone bool
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
	add := func(dir string, levels []string, fault string) {
		name := taken.take(strings.Join(levels, "/")) // two directories may have one, such as "A/B" and ".A.B"
		m.at[name] = dir
		all = append(all, Mailbox{Name: name, Levels: levels, Subscribed: true, Validity: "maildir", Fault: fault})
	}
	if isMaildir(m.Dir) {
		add(m.Dir, []string{"INBOX"}, "")
	}
	if err := m.walk(ctx, m.Dir, nil, add); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no directory with cur or new", m.Dir)
	}
	return all, nil
}

// isMaildir tells whether a directory has messages, or had some: a backup may lack what was
// empty. A link in it is for who reads it to refuse.
func isMaildir(dir string) bool {
	for _, s := range []string{"cur", "new"} {
		if st, err := os.Lstat(filepath.Join(dir, s)); err == nil && (st.IsDir() || st.Mode()&fs.ModeSymlink != 0) {
			return true
		}
	}
	return false
}

// isOurs tells whether a directory of another one is that of the daemon's own files, where
// messages are that were expunged.
func isOurs(dir, name string, top bool) bool {
	return name == maildir.OwnDir && (top || isMaildir(dir)) && !isMaildir(filepath.Join(dir, name))
}

func (m *Maildir) walk(ctx context.Context, dir string, above []string, add func(string, []string, string)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look for mailboxes: %w", err)
	}
	var names, links, dotted []string
	for _, e := range entries {
		n := e.Name()
		if slices.Contains([]string{"cur", "new", "tmp"}, n) || isOurs(dir, n, len(above) == 0) {
			continue
		}
		if e.IsDir() {
			names = append(names, n)
		} else if st, err := os.Stat(filepath.Join(dir, n)); e.Type()&fs.ModeSymlink != 0 && err == nil && st.IsDir() {
			links = append(links, n)
		} else {
			continue
		}
		dotted = append(dotted, "."+strings.TrimPrefix(n, "."))
	}
	enc := maildir.DetectEncoding(dotted)
	flat := len(above) == 0 || !strings.HasPrefix(filepath.Base(dir), ".") && !nested(dir, names)
	for i, n := range append(names, links...) {
		plain, levelled := strings.CutPrefix(n, ".")
		if decoded, err := maildir.DecodeName("."+plain, enc); err == nil {
			plain = decoded
		}
		levels := append(slices.Clone(above), plain)
		if levelled && flat {
			levels = append(slices.Clone(above), strings.Split(plain, ".")...)
		}
		sub := filepath.Join(dir, n)
		if i >= len(names) {
			add(sub, levels, "it is a link to another directory, and links are not followed")
			continue
		}
		if isMaildir(sub) {
			add(sub, levels, "")
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
	look, err := located(f)
	for try := 0; try < looks && err == nil && len(look) > 0; try++ {
		var moved []string
		for base, at := range look {
			st, err := f.Stat(at.sub, at.name)
			if errors.Is(err, fs.ErrNotExist) {
				moved = append(moved, base)
				continue
			}
			if err != nil {
				return err
			}
			if st.Regular {
				_, suffix := maildir.SplitName(at.name)
				all = append(all, Entry{ID: plainID(base), Flags: flagList(words.of(base, suffix)), Size: st.Size, Date: st.ModTime.Unix(), at: len(files)})
				files = append(files, at)
			}
		}
		look, err = again(f, moved)
	}
	if err != nil {
		return err
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

// looks is how often a message is looked for whose file gets another name meanwhile.
const looks = 4

// located says where each message is by now, by what never changes of its name. New comes first:
// what moves to cur meanwhile is seen.
func located(f *maildir.Folder) (map[string]maildirFile, error) {
	at := map[string]maildirFile{}
	for _, sub := range []maildir.Sub{maildir.New, maildir.Cur} {
		l, err := f.List(sub)
		if err != nil {
			return nil, err
		}
		for name := range l.All() {
			if base, _ := maildir.SplitName(name); !strings.HasPrefix(name, ".") {
				at[base] = maildirFile{sub: sub, name: name}
			}
		}
		l.Release()
	}
	return at, nil
}

// again says where some messages are by now, unless they are gone.
func again(f *maildir.Folder, moved []string) (map[string]maildirFile, error) {
	if len(moved) == 0 {
		return nil, nil
	}
	now, err := located(f)
	look := map[string]maildirFile{}
	for _, base := range moved {
		if at, ok := now[base]; ok {
			look[base] = at
		}
	}
	return look, err
}

func (m *Maildir) folder(box Mailbox) (*maildir.Folder, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maildir.OpenSource(m.at[box.Name])
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

// Fetch is Source's. A file may have got another name since it was listed, and many may have:
// where they all are is looked up once.
func (m *Maildir) Fetch(ctx context.Context, box Mailbox, messages []Entry, take func(Entry, io.Reader) error) error {
	f, err := m.folder(box)
	if err != nil {
		return err
	}
	defer f.Close()
	m.mu.Lock()
	files := m.files[box.Name]
	m.mu.Unlock()
	looked := false
	for _, e := range messages {
		if err := ctx.Err(); err != nil {
			return err
		}
		file, err := f.Open(files[e.at].sub, files[e.at].name)
		if errors.Is(err, fs.ErrNotExist) && !looked {
			if files, err = m.relocate(f, box); err != nil {
				return err
			}
			looked = true
			file, err = f.Open(files[e.at].sub, files[e.at].name)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist) && files[e.at].gone:
			continue
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%w: message %s in %s has got another name meanwhile", ErrBusy, e.ID, f.Path())
		case err != nil:
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

// relocate finds the messages of a mailbox again.
func (m *Maildir) relocate(f *maildir.Folder, box Mailbox) ([]maildirFile, error) {
	now, err := located(f)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	files := slices.Clone(m.files[box.Name]) // others read it
	for i, was := range files {
		base, _ := maildir.SplitName(was.name)
		at, ok := now[base]
		if !ok {
			at = maildirFile{was.sub, was.name, true}
		}
		files[i] = at
	}
	m.files[box.Name] = files
	return files, nil
}

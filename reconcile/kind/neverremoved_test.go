package kind

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mailstead/imapserver/maildir"
	"mailstead/reconcile"
)

// TestNoMessageIsTouched edits descriptions at random over Maildirs with mail in
// them: users and folders come, change and go, Maildirs move, trees are damaged
// as clients and administrators damage them. Whatever is applied, every file
// with mail stays the same to its last bit and its inode's times, and nothing
// below the mail is removed or renamed but the two lists that are ours to replace.
// MAILSTEAD_EDITS is how many edits there are, about.
func TestNoMessageIsTouched(t *testing.T) {
	worlds := uint64(25)
	if testing.Short() {
		worlds = 5
	}
	if edits, _ := strconv.Atoi(os.Getenv("MAILSTEAD_EDITS")); edits > 0 {
		worlds = uint64(edits) / 8
	}
	for seed := range worlds {
		rnd := rand.New(rand.NewPCG(seed, 5))
		b := newBench(t)
		w := &mailWorld{bench: b, rnd: rnd, root: b.path("home")}
		w.fill()
		for range 8 {
			w.damage()
			before := w.messages()
			watch := w.watch()
			want := w.describe()
			// A damage that cannot be mended fails its resource, and nothing else.
			if err := b.tryApply(want...); err != nil && !strings.Contains(err.Error(), "is not a directory") {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if diff := cmp.Diff(before, w.messages()); diff != "" {
				t.Fatalf("seed %d: messages (-before +after):\n%s", seed, diff)
			}
			watch.check(seed)
		}
	}
}

type mailWorld struct {
	*bench
	rnd   *rand.Rand
	root  string
	count int
}

var (
	worldUsers   = []string{"alice", "bob", "carol"}
	worldFolders = []string{"Sent", "Trash", "Work.2026", "Entwürfe", "INBOX"}
	worldPlaces  = []string{"Maildir", "mail/Maildir", "Mail"}
)

func (w *mailWorld) spec(user string) MaildirSpec {
	home := filepath.Join(w.root, user)
	return MaildirSpec{User: user, Home: home, Path: filepath.Join(home, worldPlaces[w.rnd.IntN(len(worldPlaces))]), UID: os.Getuid(), GID: os.Getgid()}
}

// fill puts mail into Maildirs that nobody has described yet, some of them of an
// older Courier.
func (w *mailWorld) fill() {
	for _, user := range worldUsers {
		w.must(os.MkdirAll(filepath.Join(w.root, user), 0o755))
		if w.rnd.IntN(4) == 0 {
			continue
		}
		top := filepath.Join(w.root, user, worldPlaces[w.rnd.IntN(len(worldPlaces))])
		for _, dir := range []string{"", ".Sent", ".Work.2026", ".Entw&APw-rfe", ".Old"} {
			if dir != "" && w.rnd.IntN(2) == 0 {
				continue
			}
			for _, sub := range []string{"cur", "new", "tmp"} {
				at := filepath.Join(top, dir, sub)
				w.must(os.MkdirAll(at, 0o755))
				for range w.rnd.IntN(3) {
					w.deliver(at)
				}
			}
		}
		w.must(os.WriteFile(top+"/courierimapsubscribed", []byte("INBOX\nINBOX.Old\n"), 0o644))
		w.must(os.WriteFile(top+"/courierimapuiddb", []byte("1 795445009 3\n"), 0o644))
	}
}

// deliver puts a message into a directory, unless a damage keeps it out.
func (w *mailWorld) deliver(dir string) {
	w.count++
	path := filepath.Join(dir, fmt.Sprintf("17954450%02d.M%d.host,S=9:2,S", w.rnd.IntN(100), w.count))
	err := os.WriteFile(path, fmt.Appendf(nil, "Subject: %d\n\nbody\n", w.rnd.Int()), 0o644)
	if !errors.Is(err, fs.ErrPermission) {
		w.must(err)
	}
}

// damage does to the trees what happens to trees. It never takes mail away.
func (w *mailWorld) damage() {
	for _, dir := range w.directories() {
		switch w.rnd.IntN(12) {
		case 0:
			w.must(os.Chmod(dir, []os.FileMode{0o755, 0o777, 0o750, 0o500}[w.rnd.IntN(4)]))
		case 1:
			os.Remove(dir) // only if it is empty
		case 2:
			os.Remove(filepath.Join(dir, maildir.FolderMark))
		case 3:
			if filepath.Base(dir) == "new" {
				w.deliver(dir)
			}
		}
	}
	if w.rnd.IntN(3) == 0 {
		w.must(os.MkdirAll(w.root+"/alice", 0o755))
		os.WriteFile(filepath.Join(w.root, "alice", "Mail"), nil, 0o600) // in the way, if nothing is there
	}
}

func (w *mailWorld) directories() (dirs []string) {
	w.must(filepath.WalkDir(w.root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != w.root && filepath.Dir(path) != w.root {
			dirs = append(dirs, path)
		}
		return err
	}))
	return dirs
}

// describe makes a random description.
func (w *mailWorld) describe() (want []reconcile.Resource) {
	for _, user := range worldUsers {
		if w.rnd.IntN(4) == 0 {
			continue
		}
		m := w.spec(user)
		want = append(want, Maildir(m, ""))
		for _, name := range worldFolders {
			if w.rnd.IntN(2) == 0 {
				use := []string{"", "sent", "trash", "junk"}[w.rnd.IntN(4)]
				want = append(want, Folder(m, FolderSpec{Name: name, Use: use, Subscribed: w.rnd.IntN(2) == 0}, ""))
			}
		}
	}
	return want
}

// messages gives every file below the mail that is not ours to replace, with
// its content, inode and times. The change time shows a rename, too.
func (w *mailWorld) messages() map[string]string {
	out := make(map[string]string)
	w.must(filepath.WalkDir(w.root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || replaceable(d.Name()) || d.Name() == maildir.FolderMark {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return err
		}
		out[path] = fmt.Sprintf("%x inode %d mode %o mtime %v ctime %v", sha256.Sum256(data), st.Ino, st.Mode, st.Mtim, st.Ctim)
		return nil
	}))
	return out
}

// replaceable tells whether a file below the mail may be replaced.
func replaceable(name string) bool {
	base := strings.TrimSuffix(name, ".mailstead~")
	return base == maildir.SpecialUseFile || base == maildir.SubscriptionsFile
}

// mailWatch listens to the kernel about everything that happens in directories.
type mailWatch struct {
	*mailWorld
	fd   int
	dirs map[int32]string
}

func (w *mailWorld) watch() *mailWatch {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	w.must(err)
	mw := &mailWatch{mailWorld: w, fd: fd, dirs: make(map[int32]string)}
	for _, dir := range append(w.directories(), w.root) {
		wd, err := unix.InotifyAddWatch(fd, dir, unix.IN_DELETE|unix.IN_DELETE_SELF|unix.IN_MOVED_FROM|unix.IN_MOVED_TO|unix.IN_MOVE_SELF|unix.IN_MODIFY)
		w.must(err)
		mw.dirs[int32(wd)] = dir
	}
	return mw
}

// check fails for every removal, rename or write of a file that is not ours.
func (w *mailWatch) check(seed uint64) {
	w.Helper()
	defer unix.Close(w.fd)
	buf := make([]byte, 1<<20)
	n, err := unix.Read(w.fd, buf)
	if err == unix.EAGAIN {
		return
	}
	w.must(err)
	for off := 0; off < n; {
		e := (*unix.InotifyEvent)(unsafe.Pointer(&buf[off]))
		name := strings.TrimRight(string(buf[off+unix.SizeofInotifyEvent:off+unix.SizeofInotifyEvent+int(e.Len)]), "\x00")
		off += unix.SizeofInotifyEvent + int(e.Len)
		if e.Mask&unix.IN_Q_OVERFLOW != 0 || !replaceable(name) {
			w.Errorf("seed %d: event %#x on %s", seed, e.Mask, filepath.Join(w.dirs[e.Wd], name))
		}
	}
}

// TestTheWatchSees makes sure that the test above would see what it looks for.
func TestTheWatchSees(t *testing.T) {
	b := newBench(t)
	w := &mailWorld{bench: b, root: b.path("home")}
	dir := filepath.Join(w.root, "alice", "Maildir", "cur")
	b.must(os.MkdirAll(dir, 0o700))
	b.must(os.WriteFile(dir+"/1", []byte("x"), 0o600))
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"rename", func() error { return os.Rename(dir+"/1", dir+"/1:2,S") }},
		{"write", func() error { return os.WriteFile(dir+"/1:2,S", []byte("y"), 0o600) }},
		{"remove", func() error { return os.Remove(dir + "/1:2,S") }},
		{"rmdir", func() error { return os.Remove(dir) }},
	} {
		before, watch := w.messages(), w.watch()
		b.must(step.do())
		after := w.messages()
		var events [4096]byte
		n, err := unix.Read(watch.fd, events[:])
		unix.Close(watch.fd)
		if err != nil || n == 0 {
			t.Errorf("%s: the watch saw nothing: %v", step.name, err)
		}
		if step.name != "rmdir" && cmp.Equal(before, after) {
			t.Errorf("%s: the messages look the same", step.name)
		}
	}
}

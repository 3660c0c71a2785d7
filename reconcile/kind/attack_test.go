package kind

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/reconcile"
)

// attackEnv names the directory in which a process of TestAttackers attacks.
const attackEnv = "MAILSTEAD_TEST_ATTACK"

// attacked is a place with a home directory of someone, a directory for all, and
// bait: what belongs to root and looks like a Maildir.
type attacked struct {
	home, shared, bait string
}

func attackedBelow(dir string) attacked {
	return attacked{home: dir + "/home/mallory", shared: dir + "/shared", bait: dir + "/bait"}
}

// maildir is where the mail is: every step of the path below the home directory
// is the attacker's to swap.
func (a attacked) maildir() string { return a.home + "/mail/Maildir" }

// attack is the attacker's process. It swaps every step of the paths that apply
// goes, and files and directories at their end, with links to the bait, plants
// hard links, and makes work for apply: wrong modes, nothing subscribed.
func attack(a attacked) {
	link := func(path, target string) string {
		os.Remove(path + "-link")
		os.Symlink(target, path+"-link")
		return path
	}
	var swaps []string
	for path, target := range map[string]string{
		a.home + "/mail": "", a.maildir(): "", a.maildir() + "/tmp": "/tmp", a.maildir() + "/cur": "/cur", a.maildir() + "/.Sent": "/.Sent",
		a.maildir() + "/.Sent/new": "/.Sent/new", a.maildir() + "/mailstead": "/mailstead",
		a.maildir() + "/courierimapsubscribed": "/courierimapsubscribed", a.maildir() + "/mailstead/special-use": "/mailstead/special-use",
	} {
		swaps = append(swaps, link(path, a.bait+target))
	}
	// Where the kernel lets it, a second name of root's file.
	os.Link(a.bait+"/courierimapsubscribed", a.maildir()+"/courierimapsubscribed-link2")
	for n := 0; ; n++ {
		path := swaps[rand.IntN(len(swaps))]
		exchange(path, path+"-link")
		a.makeWork(n)
		exchange(path, path+"-link")
	}
}

func exchange(a, b string) {
	unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}

// makeWork sees to it that apply has something to do, and does it where the
// attacker wants it.
func (a attacked) makeWork(n int) {
	subscribed, made := a.maildir()+"/courierimapsubscribed", a.maildir()+"/.Made"
	switch n % 24 {
	case 0:
		os.Chmod(a.maildir()+"/new", 0o755)
	case 4:
		os.Remove(a.maildir() + "/tmp")
	case 8:
		os.Remove(subscribed)
	case 12:
		exchange(subscribed, subscribed+"-link2")
	case 16:
		os.RemoveAll(made)
	case 20:
		os.Symlink(a.bait+"/.Sent", made)
	}
	switch n % 1200 {
	case 2:
		os.Symlink(a.bait, a.shared+"/ours")
	case 402:
		os.Mkdir(a.shared+"/ours", 0o777)
	case 802:
		os.Remove(a.shared + "/ours")
	}
}

// primitive is one way in which apply works where an attacker can write. naive
// does the same by path, as root.
type primitive struct {
	name  string
	apply func(n int) error
	naive func()
}

func (b *bench) primitives(a attacked, m MaildirSpec) []primitive {
	mail := func(r reconcile.Resource) error {
		return b.host.applyMail(b.Context(), reconcile.Change{Ref: r.Ref, Want: &r})
	}
	ours := Directory(a.shared+"/ours", 0o750, "", "", "")
	return []primitive{
		{"maildir", func(int) error { return mail(Maildir(m, "")) }, func() { os.MkdirAll(a.maildir()+"/.Naive/cur", 0o700) }},
		{"modes", func(int) error { return mail(Maildir(m, "")) }, func() { os.Chmod(a.maildir()+"/cur", 0o750) }},
		{"folder", func(int) error { return mail(Folder(m, FolderSpec{Name: "Made"}, "")) }, func() { os.Mkdir(a.maildir()+"/.Sent/naive", 0o700) }},
		{"subscription", func(int) error {
			return mail(Folder(m, FolderSpec{Name: "Sent", Subscribed: true}, ""))
		}, func() { os.WriteFile(a.maildir()+"/courierimapsubscribed", []byte("naive"), 0o600) }},
		{"special use", func(n int) error {
			return mail(Folder(m, FolderSpec{Name: "Sent", Use: []string{"sent", "junk"}[n%2]}, ""))
		}, func() { os.WriteFile(a.maildir()+"/mailstead/special-use", []byte("naive"), 0o600) }},
		{"look and sync", func(int) error {
			ask := Maildir(m, "")
			_, err := b.host.mail(b.Context(), someone, mailRequest{Asks: []mailThing{newMailThing(&ask)}, Sync: true})
			return err
		}, func() { os.Chown(a.maildir(), someone.uid, someone.gid) }},
		{"directory", func(n int) error {
			os.Remove(a.shared + "/ours")
			return applyDirectory(b.Context(), reconcile.Change{Ref: ours.Ref, Want: &ours})
		}, func() { os.Chmod(a.shared+"/ours", 0o750) }},
	}
}

// fingerprint is what an attack on the bait would change. A hard link that the
// attacker makes changes no more than a count and a time.
func (b *bench) fingerprint(dir string) string {
	b.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		fmt.Fprintf(&out, "%s %d:%d %o", path, st.Uid, st.Gid, st.Mode)
		if err == nil && d.Type().IsRegular() {
			var data []byte
			data, err = os.ReadFile(path)
			fmt.Fprintf(&out, " %x", sha256.Sum256(data))
		}
		out.WriteByte('\n')
		return err
	})
	return fmt.Sprintln(&out, err)
}

// fillBait makes what an attacker would have root change.
func (b *bench) fillBait(a attacked) {
	b.Helper()
	b.must(os.RemoveAll(a.bait))
	for _, dir := range []string{"cur", "new", "tmp", ".Sent/cur", ".Sent/new", ".Sent/tmp", "mailstead", "mail", "Maildir/cur"} {
		b.must(os.MkdirAll(filepath.Join(a.bait, dir), 0o755))
	}
	for _, name := range []string{"courierimapsubscribed", "mailstead/special-use", "secret"} {
		b.must(os.WriteFile(filepath.Join(a.bait, name), []byte("root's"), 0o644))
	}
}

// fillHome makes the home directory anew, with an attacker at work in it.
func (b *bench) fillHome(a attacked) (stop func()) {
	b.Helper()
	for _, dir := range []string{a.home, a.shared} {
		b.must(os.RemoveAll(dir))
		b.must(os.MkdirAll(dir, 0o755))
	}
	b.must(os.Chmod(a.shared, os.ModeSticky|0o777))
	for _, dir := range []string{"cur", "new", "tmp", ".Sent/cur", ".Sent/new", ".Sent/tmp", "mailstead"} {
		b.must(os.MkdirAll(filepath.Join(a.maildir(), dir), 0o700))
	}
	for _, name := range []string{"courierimapsubscribed", "mailstead/special-use"} {
		b.must(os.WriteFile(filepath.Join(a.maildir(), name), nil, 0o600))
	}
	b.must(filepath.WalkDir(a.home, func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, someone.uid, someone.gid)
		}
		return err
	}))
	c := exec.Command("/proc/self/exe") // not by its name: someone may be unable to look where it lies
	c.Env = append(os.Environ(), attackEnv+"="+filepath.Dir(a.bait), "GOMAXPROCS=1")
	c.Stderr = os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(someone.uid), Gid: uint32(someone.gid), Groups: []uint32{}}}
	b.must(c.Start())
	return func() { c.Process.Kill(); c.Wait() }
}

// protect sets how the kernel protects links in directories for all, for as long
// as the test runs.
func protect(t *testing.T, value string) {
	t.Helper()
	for _, name := range []string{"protected_symlinks", "protected_hardlinks"} {
		path := "/proc/sys/fs/" + name
		was, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, []byte(value), 0)
		}
		if err != nil {
			t.Skipf("the kernel's protection of links cannot be set: %v", err)
		}
		t.Cleanup(func() { os.WriteFile(path, was, 0) })
	}
}

// TestAttackers has a process of the user attack every way in which apply works
// in that user's directories, or in one for all, with the kernel's protection of
// links and without. Nothing outside changes; the naive way of doing the same,
// in the same run, is beaten. MAILSTEAD_ATTACKS is how often each way is gone.
func TestAttackers(t *testing.T) {
	attempts, _ := strconv.Atoi(os.Getenv("MAILSTEAD_ATTACKS"))
	if attempts == 0 {
		attempts = 1000
		if testing.Short() {
			attempts = 200
		}
	}
	for _, protection := range []string{"0", "1"} {
		t.Run("protected "+protection, func(t *testing.T) {
			b, _ := victim(t)
			protect(t, protection)
			a := attackedBelow(b.dir)
			m := MaildirSpec{User: "mallory", Home: a.home, Path: a.maildir(), UID: someone.uid, GID: someone.gid}
			for _, p := range b.primitives(a, m) {
				t.Run(p.name, func(t *testing.T) {
					b.T = t
					// A directory for all in which links are protected is no way in for the naive either.
					b.withstand(a, p, attempts/2, p.name != "directory" || protection == "0")
				})
			}
		})
	}
}

// withstand goes the naive way until it is beaten, and ours n times.
func (b *bench) withstand(a attacked, p primitive, n int, beatable bool) {
	b.Helper()
	b.fillBait(a)
	stop := b.fillHome(a)
	defer func() { stop() }()
	before, beaten := b.fingerprint(a.bait), false
	for end := time.Now().Add(10 * time.Second); beatable && !beaten && time.Now().Before(end); {
		for range 20 {
			p.naive()
		}
		beaten = b.fingerprint(a.bait) != before
	}
	if beatable && !beaten {
		b.Error("the naive way was not beaten: this test shows nothing")
	}
	stop() // the naive way may have made the bait the attacker's
	b.fillBait(a)
	done, last := 0, error(nil)
	for i := 0; i < n || done == 0 && i < 20*n; i++ { // one that is kept from its work stands in the way for all that time
		if i%500 == 0 { // what is left of an attack is in the way of the next
			stop()
			b.must(os.RemoveAll(a.home))
			stop = b.fillHome(a)
		}
		err := p.apply(i)
		if err == nil {
			done++
		}
		last = err
		if i%100 == 99 || i >= n-1 {
			if now := b.fingerprint(a.bait); now != before {
				b.Fatalf("attempt %d: outside it was\n%s, is\n%s", i, before, now)
			}
		}
	}
	b.Logf("%d attempts, of which %d came to an end", n, done)
	if done == 0 {
		b.Errorf("apply never came to an end, so that it was not attacked in its work: %v", last)
	}
}

// A file that has a second name is not given another mode or owner: the new one
// is written beside it, and the second name keeps what it has.
func TestHardLinkKeepsItsMode(t *testing.T) {
	b := newBench(t)
	b.must(os.Mkdir(b.path("ours"), 0o700))
	want := File("password-file", FileSpec{Path: b.path("ours", "users"), Mode: 0o600, Content: []byte("x\n"), Secret: true}, "")
	b.apply(want)
	b.must(os.Link(b.path("ours", "users"), b.path("second")))
	b.must(os.Chmod(b.path("second"), 0o640))
	b.wantPlan([]string{"update password-file/" + b.path("ours", "users") + ": mode 0640, want 0600"}, want)
	b.apply(want)
	b.wantMode(b.path("ours", "users"), "0600")
	b.wantMode(b.path("second"), "0640")
}

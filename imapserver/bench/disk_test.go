package bench_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/dialogue"
)

// diskFault is a way in which the disk with a user's mail fails while clients are at
// work, and is well again later.
type diskFault struct {
	name    string
	mount   func(t *testing.T, r *diskRig)
	fail    func(t *testing.T, r *diskRig)
	mend    func(t *testing.T, r *diskRig)
	refuses string // the code of each refusal
	must    bool   // nothing may be changed at all
	final   bool   // sessions end, since a sync has failed or the daemon is started anew
	anew    bool   // that is so
	traced  bool   // the fault is that of all the daemon's disks
	removes bool   // mail can be removed for all that
	log     string // what is logged, once
}

const (
	loggedFull  = `"no space left for mail"`
	loggedFault = `"the disk with mail cannot be used"`
)

var diskFaults = []diskFault{
	{
		name: "full, tmpfs", mount: tmpfs("size=3m"), fail: fillDisk, mend: freeDisk, removes: true,
		refuses: "OVERQUOTA", log: loggedFull,
	}, {
		name: "no inodes, tmpfs", mount: tmpfs("nr_inodes=300"), fail: fillInodes, mend: freeDisk,
		refuses: "OVERQUOTA", log: loggedFull,
	}, {
		name: "full, ext4", mount: ext4, fail: fillDisk, mend: freeDisk, removes: true,
		refuses: "OVERQUOTA", log: loggedFull,
	}, {
		name: "read-only by a fault, ext4", mount: ext4, final: true, must: true,
		fail: func(t *testing.T, r *diskRig) { runTool(t, "mount", "-o", "remount,abort", r.home) },
		mend: func(t *testing.T, r *diskRig) {
			runTool(t, "umount", "-l", r.home)
			runTool(t, "cp", r.image, r.image+"-2") // or mount(8) finds the one that was given up
			runTool(t, "mount", "-o", "loop,errors=remount-ro", r.image+"-2", r.home)
		},
		refuses: "UNAVAILABLE", log: loggedFault,
	}, {
		name: "read-only, ext4", mount: ext4, must: true, final: true, anew: true,
		fail: func(t *testing.T, r *diskRig) {
			r.s.down()
			runTool(t, "mount", "-o", "remount,ro", r.home)
			r.s.again(t)
		},
		mend:    func(t *testing.T, r *diskRig) { runTool(t, "mount", "-o", "remount,rw", r.home) },
		refuses: "UNAVAILABLE", log: loggedFault,
	}, {
		name: "read-only after a kill, ext4", mount: ext4, must: true, final: true, anew: true,
		fail: func(t *testing.T, r *diskRig) {
			r.kill()
			runTool(t, "mount", "-o", "remount,ro", r.home)
			r.s.again(t)
		},
		mend:    func(t *testing.T, r *diskRig) { runTool(t, "mount", "-o", "remount,rw", r.home) },
		refuses: "UNAVAILABLE", log: loggedFault,
	}, {
		name: "EIO of each sync", mount: tmpfs("size=20m"), final: true, traced: true,
		fail: inject("fsync,fdatasync", "EIO"), mend: detach,
		refuses: "UNAVAILABLE", log: loggedFault,
	}, {
		name: "EDQUOT", mount: tmpfs("size=20m"), traced: true,
		fail: inject("pwrite64,renameat,renameat2,linkat,mkdirat,mkdir", "EDQUOT"), mend: detach,
		refuses: "OVERQUOTA", log: loggedFull,
	},
}

// TestDisk has the disk fail in each way under the clients of a user: whatever is refused
// is refused by the right code, nothing that was acknowledged is lost, no message is
// there in part, mail can be read on, other users' sessions notice nothing, the fault is
// logged once, and when it is over everything goes on without a restart.
func TestDisk(t *testing.T) {
	dialogue.LabDir(t)
	if os.Getenv(ownMounts) == "" {
		withOwnMounts(t)
		return
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	daemon, deliver := newMailstead(t, ""), buildProgram(t, "mailstead-deliver")
	for i := range diskFaults {
		f := &diskFaults[i]
		t.Run(f.name, func(t *testing.T) {
			s := *daemon
			newDiskRig(t, f, &s, deliver).run(t)
		})
	}
}

// diskRig is a daemon with two users, whose mail is on two disks.
type diskRig struct {
	f        *diskFault
	s        *server
	dir      string
	home     string // of the user whose disk fails
	image    string
	deliver  string // the program
	strace   *exec.Cmd
	boxes    []*powerBox     // of that user
	healthy  *powerBox       // of the other
	brought  map[string]bool // messages, and whether they were delivered
	answers  map[string]int  // while the disk was at fault
	sessions int             // that were begun while the disk was at fault
}

func newDiskRig(t *testing.T, f *diskFault, s *server, deliver string) *diskRig {
	t.Helper()
	p := newPowerRig(t, "mailstead")
	r := &diskRig{
		f: f, s: s, dir: p.dir, home: filepath.Join(p.dir, "homes", user(1)), image: filepath.Join(p.dir, "image"),
		deliver: deliver, brought: make(map[string]bool), answers: make(map[string]int),
	}
	for n := 1; n <= 2; n++ {
		home := filepath.Join(r.dir, "homes", user(n))
		if err := os.Mkdir(home, 0o700); err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			f.mount(t, r)
			t.Cleanup(func() { unix.Unmount(home, unix.MNT_DETACH) })
		}
		for _, dir := range []string{"", "/Maildir", "/Maildir/cur", "/Maildir/new", "/Maildir/tmp"} {
			if err := os.Mkdir(home+dir, 0o700); err != nil && dir != "" {
				t.Fatal(err)
			}
			if err := errors.Join(os.Chmod(home+dir, 0o700), os.Chown(home+dir, mailUID, mailUID)); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.dir = r.dir
	s.up(t)
	t.Cleanup(r.kill)
	return r
}

func (r *diskRig) kill() {
	r.s.daemon.Process.Kill()
	r.s.daemon.Wait()
}

func (r *diskRig) run(t *testing.T) {
	for _, name := range []string{"Box0", "Box1"} {
		r.boxes = append(r.boxes, r.newBox(t, 1, name))
	}
	r.healthy = r.newBox(t, 2, "Box0")
	for _, b := range r.boxes {
		r.work(t, b, 1, 25, false)
	}
	r.bring(t, false)
	const removed = 8
	old := r.dial(t, 1)
	defer old.nc.Close()
	r.ask(t, old, "CREATE Old")
	for range removed {
		if _, _, err := old.append("Old", "", "Subject: x\r\n\r\nold\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	idler := r.dial(t, 1)
	defer idler.nc.Close()
	r.ask(t, idler, "SELECT INBOX")
	fmt.Fprint(idler.nc, "i IDLE\r\n")
	other := r.dial(t, 2)
	defer other.nc.Close()

	r.f.fail(t, r)
	for _, b := range r.boxes {
		r.work(t, b, 1, 20, true)
	}
	r.manage(t)
	r.bring(t, true)
	r.read(t)
	if !r.f.final {
		fmt.Fprint(idler.nc, "DONE\r\n")
		if _, _, err := idler.answer("i"); err != nil {
			t.Errorf("the session in IDLE: %v", err)
		}
	}
	if _, _, err := other.command("SELECT Box0"); err != nil && !r.f.anew {
		t.Errorf("the session of another user: %v", err)
	}
	if !r.f.traced {
		r.work(t, r.healthy, 2, 10, false)
	}
	r.logged(t)
	if r.f.removes {
		r.ask(t, old, "SELECT Old")
		r.ask(t, old, "STORE 1:* +FLAGS.SILENT (\\Deleted)")
		if there, _, err := old.command("EXPUNGE"); err != nil || len(there) < removed {
			t.Errorf("EXPUNGE: %q, %v", there, err)
		}
	}

	r.f.mend(t, r)
	r.wait(t)
	r.read(t)
	for _, b := range r.boxes {
		r.work(t, b, 1, 15, false)
	}
	r.bring(t, false)
	r.delivered(t)
	r.read(t)
	t.Logf("answers while the disk was at fault: %v, %d sessions", r.answers, r.sessions)
	if r.answers[r.f.refuses] == 0 {
		t.Error("nothing was refused")
	}
}

func (r *diskRig) newBox(t *testing.T, n int, name string) *powerBox {
	t.Helper()
	c := r.dial(t, n)
	defer c.nc.Close()
	c.command("CREATE %s", name)
	c.command("CREATE Copies")
	b := newPowerBox(name, rand.New(rand.NewPCG(1, uint64(len(r.f.name)))))
	b.condstore, b.calm = true, new(atomic.Bool)
	return b
}

func (r *diskRig) dial(t *testing.T, n int) *plainClient {
	t.Helper()
	c, err := dialAs(user(n), r.s.address, 20*time.Second)
	if err != nil {
		t.Fatalf("log in: %v", err)
	}
	return c
}

func (r *diskRig) ask(t *testing.T, c *plainClient, command string) {
	t.Helper()
	if _, _, err := c.command("%s", command); err != nil {
		t.Fatalf("%s: %v", command, err)
	}
}

// work does so many steps in a mailbox; with the disk at fault, each may be refused.
func (r *diskRig) work(t *testing.T, b *powerBox, n, steps int, fault bool) {
	t.Helper()
	c := r.open(t, b, n, fault)
	defer func() { c.nc.Close() }()
	for range steps {
		if fault && r.f.removes {
			r.f.fail(t, r) // what was removed has made room
		}
		err := b.step()(c)
		switch {
		case err == nil:
			r.count(fault, "OK")
		case !fault:
			t.Errorf("%s: %v", b.name, err)
			return
		case errors.Is(err, errRefused) && !strings.Contains(err.Error(), "* BYE"):
			r.refused(t, err)
		case !r.f.final:
			t.Errorf("%s: the session has ended: %v", b.name, err)
			return
		default:
			c.nc.Close()
			r.sessions++
			c = r.open(t, b, n, fault)
		}
	}
}

// open gives a session with the mailbox. One that began before the account was opened
// anew may end with it.
func (r *diskRig) open(t *testing.T, b *powerBox, n int, fault bool) *plainClient {
	t.Helper()
	for try := 1; ; try++ {
		c := r.dial(t, n)
		err := b.open(c)
		if err == nil {
			return c
		}
		c.nc.Close()
		if !fault || !r.f.final || try == 5 {
			t.Fatalf("select %s: %v", b.name, err)
		}
		r.sessions++
	}
}

func (r *diskRig) count(fault bool, answer string) {
	if fault {
		r.answers[answer]++
	}
}

// refused holds a refusal to be the right one.
func (r *diskRig) refused(t *testing.T, err error) {
	t.Helper()
	if !strings.Contains(err.Error(), "NO ["+r.f.refuses+"] ") {
		t.Errorf("refused by %v", err)
	}
	r.answers[r.f.refuses]++
}

// manage gives each command that changes something else.
func (r *diskRig) manage(t *testing.T) {
	t.Helper()
	for i, command := range []string{
		"CREATE New", "RENAME Box1 Other", "RENAME Other Box1", "SUBSCRIBE Box0", "UNSUBSCRIBE Box0", "DELETE New",
		`SETMETADATA INBOX (/private/comment "x")`, "SETACL INBOX u2 lrs", "DELETEACL INBOX u2", "SETQUOTA \"\" (STORAGE 100)",
	} {
		c := r.dial(t, 1)
		_, tagged, err := c.command("%s", command)
		c.nc.Close()
		switch {
		case err == nil:
			r.count(true, "OK")
			if r.f.must && i != 4 { // who is not subscribed need not be taken out
				t.Errorf("%s: %s", command, tagged)
			}
		case strings.Contains(tagged, "[NONEXISTENT]"), strings.Contains(tagged, "[NOPERM]"), strings.Contains(tagged, "[ALREADYEXISTS]"):
		case errors.Is(err, errRefused):
			r.refused(t, err)
			if r.f.final && r.f.traced { // each sync has failed, so the next one finds another account
				r.sessions++
			}
		case !r.f.final:
			t.Errorf("%s: %v", command, err)
		default:
			r.sessions++
		}
	}
}

// bring delivers by the pipe.
func (r *diskRig) bring(t *testing.T, fault bool) {
	t.Helper()
	for range 3 {
		text := fmt.Sprintf("Subject: delivery %d\n\n%s", len(r.brought), strings.Repeat("A line of it.\n", 300))
		cmd := exec.Command(r.deliver, "-d", filepath.Join(r.home, "Maildir"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: mailUID, Gid: mailUID}}
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.CombinedOutput()
		r.brought[text] = err == nil
		const tempFail = 75
		if err != nil && (!fault || cmd.ProcessState.ExitCode() != tempFail) {
			t.Errorf("deliver: %v: %s", err, out)
		}
	}
}

// delivered holds that what was delivered is there once, and nothing else.
func (r *diskRig) delivered(t *testing.T) {
	t.Helper()
	c := r.dial(t, 1)
	defer c.nc.Close()
	inbox := newPowerBox("INBOX", nil)
	r.ask(t, c, "SELECT INBOX")
	there, _, err := inbox.fetch(c)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]int)
	for _, text := range there {
		i := strings.Index(text, "Subject: ")
		found[strings.ReplaceAll(text[max(i, 0):], "\r\n", "\n")]++
	}
	for text, kept := range r.brought {
		if n := found[text]; kept && n != 1 || !kept && n != 0 {
			t.Errorf("%.30q, delivered: %v, is there %d times", text, kept, n)
		}
		delete(found, text)
	}
	if len(found) > 0 {
		t.Errorf("%d messages are there that nobody has delivered", len(found))
	}
}

// read holds the mailboxes, as a session sees them that is begun now, to what was acknowledged.
func (r *diskRig) read(t *testing.T) {
	t.Helper()
	c := r.dial(t, 1)
	defer c.nc.Close()
	for _, b := range r.boxes {
		l, _, err := b.check(c)
		if err != nil {
			t.Errorf("read %s: %v", b.name, err)
		} else if !l.none() {
			t.Errorf("%s: %+v", b.name, l)
		}
	}
	for _, command := range []string{
		"NOOP", "SEARCH BODY line", "FETCH 1 (ENVELOPE BODY[TEXT])", "STATUS Box0 (MESSAGES UIDNEXT)", `LIST "" *`, "EXAMINE INBOX", "SELECT INBOX", "UID FETCH 1:* (FLAGS BODY[])",
	} {
		if _, _, err := c.command("%s", command); err != nil {
			t.Errorf("%s: %v", command, err)
		}
	}
}

var levelError = regexp.MustCompile(`(?m)^.*level=ERROR.*$`)

// logged holds that the log says once, and not for each command, what is wrong and where.
func (r *diskRig) logged(t *testing.T) {
	t.Helper()
	out, err := os.ReadFile(filepath.Join(r.dir, "output"))
	if err != nil {
		t.Fatal(err)
	}
	lines := levelError.FindAllString(string(out), -1)
	said := 0
	for _, line := range lines {
		if strings.Contains(line, r.f.log) && strings.Contains(line, filepath.Join(r.home, "Maildir")) && strings.Contains(line, " mend=") {
			said++
		}
	}
	if accounts := 1 + r.sessions; said == 0 || said > accounts || len(lines) > 3*accounts {
		t.Errorf("the fault was logged %d times by %d accounts:\n%s", said, accounts, strings.Join(lines, "\n"))
	}
}

// wait waits until a change is not refused any more: an account that was opened while
// nothing could be written is opened anew first.
func (r *diskRig) wait(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c, err := dialAs(user(1), r.s.address, 20*time.Second)
		if err == nil {
			_, _, err = c.command("SUBSCRIBE Box0")
			if err == nil {
				_, _, err = c.append("Copies", "", "Subject: x\r\n\r\nagain\r\n")
			}
			c.nc.Close()
		}
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the disk is well again, and still: %v", err)
		}
	}
}

func tmpfs(options string) func(t *testing.T, r *diskRig) {
	return func(t *testing.T, r *diskRig) { runTool(t, "mount", "-t", "tmpfs", "-o", options, "tmpfs", r.home) }
}

func ext4(t *testing.T, r *diskRig) {
	f, err := os.Create(r.image)
	if err == nil {
		err = errors.Join(f.Truncate(16<<20), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	runTool(t, "mkfs.ext4", "-q", "-F", "-m", "0", r.image)
	runTool(t, "mount", "-o", "loop,errors=remount-ro", r.image, r.home)
}

// fillDisk leaves no block.
func fillDisk(t *testing.T, r *diskRig) {
	f, err := os.OpenFile(filepath.Join(r.home, "filler"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for wrote := true; wrote; { // what a file system has kept for itself is free once it is synced
		wrote = false
		for _, size := range []int{1 << 16, 1 << 10} {
			for err = nil; err == nil; {
				var n int
				n, err = f.Write(make([]byte, size))
				wrote = wrote || n > 0
			}
		}
		if err := f.Sync(); !errors.Is(err, unix.ENOSPC) && err != nil {
			t.Fatal(err)
		}
	}
}

// fillInodes leaves no inode.
func fillInodes(t *testing.T, r *diskRig) {
	for n := 0; ; n++ {
		if err := os.WriteFile(filepath.Join(r.home, fmt.Sprint("filler", n)), nil, 0o600); errors.Is(err, unix.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func freeDisk(t *testing.T, r *diskRig) {
	files, err := filepath.Glob(filepath.Join(r.home, "filler*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		os.Remove(file)
	}
}

// inject has system calls of the daemon fail.
func inject(calls, fault string) func(t *testing.T, r *diskRig) {
	return func(t *testing.T, r *diskRig) {
		trace := filepath.Join(r.dir, "trace")
		r.strace = exec.Command("strace", "-f", "-o", trace, "-e", "trace="+calls, "-e", "inject="+calls+":error="+fault, "-p", fmt.Sprint(r.s.daemon.Process.Pid))
		var said strings.Builder
		r.strace.Stderr = &said
		if err := r.strace.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.strace.Process.Kill() })
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			tracer, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.s.daemon.Process.Pid))
			if strings.Contains(string(tracer), fmt.Sprintf("TracerPid:\t%d\n", r.strace.Process.Pid)) {
				time.Sleep(50 * time.Millisecond) // the other threads
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("strace: %s", said.String())
			}
		}
	}
}

// detach ends that.
func detach(_ *testing.T, r *diskRig) {
	r.strace.Process.Signal(syscall.SIGINT)
	r.strace.Wait()
}

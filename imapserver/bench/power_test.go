package bench_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/dialogue"
	"mailstead/imapserver/maildir"
)

// powerClients work at once, each in a mailbox of its own, on one account.
const powerClients = 4

// lockPatience is with a server that has been late once: Dovecot waits two minutes
// for a lock that is left behind.
const lockPatience = 130 * time.Second

// powerRig cuts a server off again and again while clients work, and compares
// what it then serves with what it has acknowledged.
type powerRig struct {
	name  string
	dir   string
	serve func(t *testing.T, r *powerRig, during func(t *testing.T, address string))
	cut   func(t *testing.T, r *powerRig) // while the server runs
	again func(t *testing.T, r *powerRig) // before the next starts
	// patience is with the first SELECT of a server that waits for a lock that is
	// left behind; then the locks are removed.
	patience time.Duration

	rnd    *rand.Rand
	boxes  []*powerBox
	total  powerLoss
	firsts []time.Duration
	uncuts []time.Duration // the same where the server was stopped in order
	late   int             // first SELECTs that did not come in time
	stuck  bool            // one that did not come at all: the account is given up
	acked  int
	kept   int // messages, at most at one time
	calm   atomic.Bool
	image  *powerImage
	daemon *exec.Cmd
}

func newPowerRig(t *testing.T, name string) *powerRig {
	t.Helper()
	dir, err := os.MkdirTemp("", "power")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &powerRig{name: name, dir: dir, patience: 10 * time.Second, rnd: rand.New(rand.NewPCG(1, uint64(len(name))))}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, mailUID, mailUID), os.Mkdir(filepath.Join(dir, "homes"), 0o755)); err != nil {
		t.Fatal(err)
	}
	return r
}

// begin makes an account that no one has used.
func (r *powerRig) begin(t *testing.T) {
	t.Helper()
	home := filepath.Join(r.dir, "homes", user(1))
	for _, dir := range []string{home, home + "/Maildir", home + "/Maildir/cur", home + "/Maildir/new", home + "/Maildir/tmp"} {
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, mailUID, mailUID)); err != nil {
			t.Fatal(err)
		}
	}
	r.boxes = nil
	for n := range powerClients {
		name := fmt.Sprintf("Box%d", n)
		if r.name == "courier" {
			name = "INBOX." + name
		}
		b := newPowerBox(name, rand.New(rand.NewPCG(r.rnd.Uint64(), 1)))
		b.condstore, b.calm = r.name != "courier", &r.calm
		r.boxes = append(r.boxes, b)
	}
	unix.Sync() // what was there before is not what this is about
}

// cycle has clients work until the server is cut off.
func (r *powerRig) cycle(t *testing.T, after time.Duration) {
	t.Helper()
	r.serve(t, r, func(t *testing.T, address string) {
		r.check(t, address)
		r.calm.Store(false)
		var clients sync.WaitGroup
		var cut atomic.Bool
		for _, b := range r.boxes {
			c, err := dialPlain(address, 5*time.Second)
			if err != nil {
				r.troubled(t, err)
				continue
			}
			defer c.nc.Close()
			c.cut = &cut
			clients.Go(func() {
				before := b.acked
				if err := b.work(c); errors.Is(err, errRefused) && b.acked == before {
					t.Logf("%s: %s: %v", r.name, b.name, err)
				}
			})
		}
		time.Sleep(after / 2)
		r.calm.Store(r.rnd.IntN(2) == 0)
		time.Sleep(after / 2)
		cut.Store(true)
		r.cut(t, r)
		clients.Wait()
	})
	r.again(t, r)
}

// check holds the mailboxes to what was acknowledged, or makes them.
func (r *powerRig) check(t *testing.T, address string) {
	t.Helper()
	c, err := dialPlain(address, r.patience)
	for try := 0; err != nil && try < 5; try++ {
		r.unlock(t)
		c, err = dialPlain(address, lockPatience)
	}
	if err != nil {
		r.giveUp(t, err)
		return
	}
	defer func() { c.nc.Close() }()
	if r.boxes[0].validity == 0 {
		for _, b := range r.boxes {
			c.command("CREATE %s", b.name)
		}
		c.command("CREATE %s", r.copies())
	}
	for i, b := range r.boxes {
		l, took, err := b.check(c)
		for try := 0; err != nil && try < 3; try++ {
			r.late++
			r.unlock(t)
			c.nc.Close()
			again, derr := dialPlain(address, lockPatience)
			if derr == nil {
				c = again
				l, _, err = b.check(c)
			}
		}
		if err != nil {
			r.giveUp(t, fmt.Errorf("%s: %w", b.name, err))
			return
		}
		if i == 0 {
			r.firsts = append(r.firsts, took)
		}
		r.found(t, b, l)
	}
	r.checkCopies(t, c)
	if r.name == keeping {
		r.checkKept(t)
	}
}

// firstWithin is what the first SELECT after a cut may take.
const firstWithin = time.Second

// uncut takes the time of a first SELECT where nothing was cut off: how long that is
// on a machine that has other work to do.
func (r *powerRig) uncut(t *testing.T) {
	t.Helper()
	r.serve(t, r, func(t *testing.T, address string) {
		r.check(t, address)
		r.daemon.Process.Signal(syscall.SIGTERM)
		r.daemon.Wait()
	})
	r.serve(t, r, func(t *testing.T, address string) {
		c, err := dialPlain(address, r.patience)
		if err != nil {
			r.giveUp(t, err)
			return
		}
		defer c.nc.Close()
		start := time.Now()
		if err := r.boxes[0].open(c); err != nil {
			r.giveUp(t, err)
		}
		r.uncuts = append(r.uncuts, time.Since(start))
	})
}

// holds that commands were acknowledged, and that each first SELECT came in time:
// within firstWithin, and three times what it takes here without a cut.
func (r *powerRig) holds(t *testing.T) {
	t.Helper()
	if r.acked == 0 || r.late > 0 || len(r.uncuts) == 0 {
		t.Errorf("%s: %d commands were acknowledged; %d first SELECTs were late, %d without a cut", r.name, r.acked, r.late, len(r.uncuts))
		return
	}
	first, uncut := slices.Max(r.firsts), slices.Max(r.uncuts)
	if bound := firstWithin + 3*uncut; first > bound {
		t.Errorf("%s: a first SELECT took %v, and %v at most without a cut", r.name, first, uncut)
	}
}

// giveUp ends the run where a server of ours does not come back, and else goes on
// with another account.
func (r *powerRig) giveUp(t *testing.T, err error) {
	t.Helper()
	r.troubled(t, err)
	if r.ours() {
		t.FailNow()
	}
	r.late++
	r.stuck = true
}

func (r *powerRig) found(t *testing.T, b *powerBox, l powerLoss) {
	r.acked += b.acked
	b.acked = 0
	r.total.add(l)
	if r.name == "relaxed" { // which does not promise these
		l.expunges, l.stores, l.renumbered = 0, 0, 0
	}
	if !l.none() && r.ours() {
		t.Errorf("%s: %+v", b.name, l)
	}
}

func (r *powerRig) ours() bool {
	return r.name == "mailstead" || r.name == "relaxed" || r.name == keeping
}

// keeping is the rig of a daemon that keeps what is expunged.
const keeping = "keeping"

// checkKept holds that what is in no mailbox any more is kept, whole.
func (r *powerRig) checkKept(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(r.dir, "homes", user(1), "Maildir", maildir.OwnDir, maildir.KeptDir, "cur", "*"))
	if err != nil {
		t.Fatal(err)
	}
	kept := make(map[string]bool)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		kept[strings.ReplaceAll(string(text), "\n", "\r\n")] = true
	}
	for _, b := range r.boxes {
		var l powerLoss
		for text := range b.expunged {
			if !kept[text] {
				l.kept++
				delete(b.expunged, text)
			}
		}
		r.found(t, b, l)
	}
	r.kept = max(r.kept, len(kept))
}

// troubled notes that a client was not let in: a fault of ours alone.
func (r *powerRig) troubled(t *testing.T, err error) {
	t.Helper()
	if r.ours() {
		t.Errorf("%s: %v", r.name, err)
		return
	}
	t.Logf("%s: %v", r.name, err)
}

func (r *powerRig) copies() string {
	if r.name == "courier" {
		return "INBOX.Copies"
	}
	return "Copies"
}

// checkCopies holds that what was copied is there. Several clients copy there.
func (r *powerRig) checkCopies(t *testing.T, c *plainClient) {
	t.Helper()
	all := newPowerBox(r.copies(), nil)
	_, _, err := c.command("SELECT %s", all.name)
	if errors.Is(err, errRefused) {
		c.command("CREATE %s", all.name)
		_, _, err = c.command("SELECT %s", all.name)
	}
	var there map[uint32]string
	if err == nil {
		there, _, err = all.fetch(c)
	}
	if err != nil {
		r.giveUp(t, fmt.Errorf("%s: %w", all.name, err))
		return
	}
	texts := make(map[string]bool)
	for _, text := range there {
		texts[text] = true
	}
	for _, b := range r.boxes {
		var l powerLoss
		for text := range b.copied {
			if !texts[text] {
				l.copies++
				delete(b.copied, text)
			}
		}
		r.found(t, b, l)
	}
}

// unlock removes lock files, for whoever waits for them.
func (r *powerRig) unlock(t *testing.T) {
	t.Helper()
	for _, pattern := range []string{"*.lock", ".*/*.lock"} {
		files, err := filepath.Glob(filepath.Join(r.dir, "homes", user(1), "Maildir", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			os.Remove(file)
		}
	}
}

// row is a line of the table.
func (r *powerRig) row(cycles int) string {
	l := r.total
	return fmt.Sprintf("| %s | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d | %s, %d too late | %s |",
		r.name, cycles, r.acked, l.appends+l.copies+l.kept, l.expunges, l.stores, l.reused, l.renumbered, l.modseqs, l.nexts, l.torn, medianAndMost(r.firsts), r.late, medianAndMost(r.uncuts))
}

func medianAndMost(took []time.Duration) string {
	if len(took) == 0 {
		return "–"
	}
	slices.Sort(took)
	return fmt.Sprintf("%v, at most %v", took[len(took)/2].Round(10*time.Microsecond), took[len(took)-1].Round(10*time.Microsecond))
}

const powerHead = "| server | cycles | acknowledged | lost | expunges undone | flags undone | UIDs reused | renumbered | modseq back | UIDNEXT back | torn | first SELECT | without a cut |"

// serveProcess runs a server of bench until it is killed.
func serveProcess(s *server) func(*testing.T, *powerRig, func(*testing.T, string)) {
	return func(t *testing.T, r *powerRig, during func(*testing.T, string)) {
		t.Helper()
		s.dir = r.dir
		start := s.start
		s.start = func(t testing.TB, s *server) *exec.Cmd {
			cmd := start(t, s)
			if cmd.SysProcAttr == nil {
				cmd.SysProcAttr = &syscall.SysProcAttr{}
			}
			cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
			return cmd
		}
		s.up(t)
		s.start = start
		r.daemon = s.daemon
		defer kill(s.daemon)
		during(t, s.address)
	}
}

// kill ends a server and all that it has started.
func kill(cmd *exec.Cmd) {
	syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	cmd.Wait()
}

// serveCourier runs a Courier for as long as a test of its own runs.
func serveCourier(t *testing.T, r *powerRig, during func(*testing.T, string)) {
	t.Helper()
	t.Run("courier", func(t *testing.T) {
		home := filepath.Join(r.dir, "homes", user(1))
		during(t, dialogue.StartCourier(t, dialogue.CourierUser{Name: user(1), Password: password, Home: home, UID: mailUID, GID: mailUID}))
	})
}

// cycles gives how many there are to be.
func cycles(t *testing.T, variable string, few int) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv(variable), strconv.Itoa(few)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestKilled kills the daemon with SIGKILL at random moments while clients work,
// as often as MAILSTEAD_KILLS says.
func TestKilled(t *testing.T) {
	dialogue.LabDir(t)
	n := cycles(t, "MAILSTEAD_KILLS", 40)
	r := newPowerRig(t, "mailstead")
	s := newMailstead(t, r.dir)
	r.serve = serveProcess(s)
	r.cut = func(t *testing.T, r *powerRig) { syscall.Kill(-r.daemon.Process.Pid, syscall.SIGKILL) }
	r.again = func(*testing.T, *powerRig) {}
	for i := range n {
		if i%50 == 0 {
			os.RemoveAll(filepath.Join(r.dir, "homes", user(1)))
			r.begin(t)
		}
		r.cycle(t, time.Duration(r.rnd.IntN(60))*time.Millisecond)
		if i%10 == 9 {
			r.uncut(t)
		}
		if t.Failed() {
			break
		}
	}
	t.Logf("\n%s\n%s", powerHead, r.row(n))
	r.holds(t)
}

// TestPowerCut has the power fail while clients work, by the call that has a file
// system in a file forget all that is not on disk (XFS_IOC_GOINGDOWN without a
// flush of the log), as often as MAILSTEAD_POWER_CUTS says; beside it, as often as
// MAILSTEAD_POWER_CONTROLS says, the daemon that promises less, and Courier
// and, where one of them is set, Dovecot, which are to lose something, or the rig is blind.
func TestPowerCut(t *testing.T) {
	dialogue.LabDir(t)
	if os.Getenv(ownMounts) == "" {
		withOwnMounts(t)
		return
	}
	n := cycles(t, "MAILSTEAD_POWER_CUTS", 25)
	controls := cycles(t, "MAILSTEAD_POWER_CONTROLS", max(3, n/10))
	t.Log("\n" + powerHead + "\n|" + strings.Repeat("---|", 13))
	for _, fs := range []string{"ext4", "xfs"} {
		r := newPowerRig(t, "mailstead")
		r.serve = serveProcess(newMailstead(t, r.dir))
		r.runCuts(t, fs, (n+1)/2)
		t.Log(strings.Replace(r.row((n+1)/2), "mailstead", "mailstead, "+fs, 1))
		r.holds(t)
	}
	k := newPowerRig(t, keeping)
	keeper := newMailstead(t, k.dir)
	keeper.keep = time.Hour
	k.serve = serveProcess(keeper)
	cuts := 0
	for ; cuts < 5*controls && k.kept == 0; cuts += controls { // a slow machine may not have expunged yet
		k.runCuts(t, "ext4", controls)
	}
	t.Log(k.row(cuts), k.kept, "kept")
	if k.kept == 0 {
		t.Error("nothing was kept")
	}
	r := newPowerRig(t, "relaxed")
	relaxed := newMailstead(t, r.dir)
	relaxed.relaxed = true
	r.serve = serveProcess(relaxed)
	r.runCuts(t, "ext4", controls)
	t.Log(r.row(controls))
	others := []string{"courier"}
	if cmp.Or(os.Getenv("MAILSTEAD_POWER_CUTS"), os.Getenv("MAILSTEAD_POWER_CONTROLS")) != "" { // Dovecot waits for minutes for a lock that it has left behind itself
		others = append(others, "dovecot")
	}
	for _, name := range others {
		r := newPowerRig(t, name)
		r.serve = serveCourier
		if name == "dovecot" {
			r.patience = 5 * time.Second
			r.serve = serveProcess(newDovecot(name, r.dir, ""))
		}
		r.runCuts(t, "ext4", controls)
		t.Log(r.row(controls))
		if r.total.none() {
			t.Errorf("%s has lost nothing: the rig is blind", name)
		}
	}
}

// ownMounts is set where the mounts are those of this test alone.
const ownMounts = "MAILSTEAD_TEST_OWN_MOUNTS"

// withOwnMounts runs the test in a process that has mounts of its own: a file
// system that was cut off stays as it is for as long as anyone has it, and whoever
// makes a namespace of mounts, such as a container, takes a copy of them all.
func withOwnMounts(t *testing.T) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=0")
	c.Env = append(os.Environ(), ownMounts+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := c.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("with mounts of its own: %v", err)
	}
}

// runCuts cuts the power so often, with an account that no one has used every ten
// times.
func (r *powerRig) runCuts(t *testing.T, fs string, n int) {
	t.Helper()
	r.image = &powerImage{file: filepath.Join(r.dir, "image"), at: filepath.Join(r.dir, "homes"), fs: fs}
	defer r.image.unmount(t)
	r.cut = func(t *testing.T, r *powerRig) { r.image.cut(t); time.Sleep(30 * time.Millisecond); r.endDaemon() }
	r.again = func(t *testing.T, r *powerRig) { r.image.unmount(t); r.image.mount(t) }
	for i := range n {
		if i%10 == 0 || r.stuck {
			r.stuck = false
			r.image.unmount(t)
			r.image.make(t)
			r.image.mount(t)
			r.begin(t)
		}
		r.cycle(t, time.Duration(50+r.rnd.IntN(400))*time.Millisecond)
		if i%10 == 5 && r.ours() {
			r.uncut(t)
		}
	}
	if n%10 != 0 { // what the last cut has left
		r.serve(t, r, func(t *testing.T, address string) { r.check(t, address) })
	}
}

func (r *powerRig) endDaemon() {
	if r.daemon != nil {
		syscall.Kill(-r.daemon.Process.Pid, syscall.SIGKILL)
	}
}

// powerImage is a file system in a file.
type powerImage struct {
	file, at, fs string
	mounted      bool
}

func (p *powerImage) make(t *testing.T) {
	t.Helper()
	os.Remove(p.file)
	f, err := os.Create(p.file)
	if err == nil {
		err = errors.Join(f.Truncate(400<<20), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	args := map[string][]string{"ext4": {"-q", "-F"}, "xfs": {"-q", "-f"}}[p.fs]
	runTool(t, "mkfs."+p.fs, append(args, p.file)...)
}

// mount waits until no one has the file system any more that was cut off.
func (p *powerImage) mount(t *testing.T) {
	t.Helper()
	for try := 0; ; try++ {
		runTool(t, "mount", "-o", "loop", p.file, p.at)
		p.mounted = true
		err := os.Chmod(p.at, 0o755)
		if err == nil {
			return
		}
		if try == 100 {
			t.Fatal(err)
		}
		p.unmount(t)
		time.Sleep(50 * time.Millisecond)
	}
}

// unmount waits for those who have files open there to be gone.
func (p *powerImage) unmount(t *testing.T) {
	t.Helper()
	if !p.mounted {
		return
	}
	var err error
	for range 200 {
		if err = unix.Unmount(p.at, 0); err == nil {
			p.mounted = false
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	unix.Unmount(p.at, unix.MNT_DETACH)
	p.mounted = false
	t.Errorf("unmount %s: %v", p.at, err)
}

// cut has the file system go down with nothing more written.
func (p *powerImage) cut(t *testing.T) {
	t.Helper()
	const goingDown, noLogFlush = 0x8004587d, 2
	d, err := os.Open(p.at)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := unix.IoctlSetPointerInt(int(d.Fd()), goingDown, noLogFlush); err != nil {
		t.Fatalf("cut the power of %s: %v", p.fs, err)
	}
}

func runTool(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

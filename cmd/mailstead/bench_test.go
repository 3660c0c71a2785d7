package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// benchRow is a line of the table of TestBenchHost.
type benchRow struct {
	name string
	time time.Duration // goal; 0 for none
	rss  int           // MiB; 0 for none
	host func(b *benchHost)
	args []string
	code int // 6 where systemd does not run: units wait
}

// TestBenchHost measures the operator's half on a large host: the real programs,
// as root, on a new ext4 file system and in an /etc of their own.
//
//	MAILSTEAD_BENCH=1 go test -v -count=1 -run BenchHost -timeout 1h ./cmd/mailstead
//
// MAILSTEAD_BENCH chooses rows by a regular expression where it is not 1. Units are
// left out where systemd does not run; that is five resources. Processor time is
// that of all processes, the largest of which gives the memory. Where
// ansible-playbook is installed it does a thousand users of the same job.
func TestBenchHost(t *testing.T) {
	chosen := benchChoice(t)
	const many, some = 10_000, 1_000
	none := func(*benchHost) {}
	grow := func(virtual, system int) func(*benchHost) {
		return func(b *benchHost) { b.describe(virtual, system) }
	}
	apply, plan := []string{"apply", "--yes"}, []string{"plan"}
	fmt.Println("| work | time | processor | memory | goal |\n|---|---|---|---|---|")
	t.Run("many", func(t *testing.T) {
		b := newBenchHost(t)
		b.describe(many, 0)
		b.rows(chosen, []benchRow{
			{"validate 10,000 users", 3 * time.Second, 64, none, []string{"validate"}, 0},
			{"apply from nothing, on a terminal", time.Minute, 0, none, apply, 6},
			{"plan with nothing to do", 5 * time.Second, 0, none, plan, 0},
			{"apply with nothing to do", 0, 0, none, apply, 6},
			{"apply one user more", 0, 0, grow(many+1, 0), apply, 6},
			{"apply 1,000 system users more", 0, 0, grow(many+1, some), apply, 6},
			{"plan with nothing to do, 1,000 system users", 0, 0, none, plan, 0},
		})
	})
	t.Run("twice", func(t *testing.T) {
		b := newBenchHost(t)
		b.describe(2*many, 0)
		b.rows(chosen, []benchRow{
			{"validate 20,000 users", 0, 0, none, []string{"validate"}, 0},
			{"apply 20,000 from nothing, on a terminal", 0, 0, none, apply, 6},
			{"plan 20,000 with nothing to do", 0, 0, none, plan, 0},
		})
	})
	t.Run("ansible", func(t *testing.T) {
		if !chosen("ansible") {
			t.Skip("not chosen")
		}
		b := newBenchHost(t)
		b.describe(some, 0)
		b.beside(some)
	})
}

// benchChoice tells which rows MAILSTEAD_BENCH asks for.
func benchChoice(t *testing.T) func(name string) bool {
	t.Helper()
	expr := os.Getenv("MAILSTEAD_BENCH")
	if expr == "" {
		t.Skip("measures for minutes: set MAILSTEAD_BENCH=1, or to a regular expression of rows")
	}
	if os.Getuid() != 0 {
		t.Fatal("needs root")
	}
	if expr == "1" {
		expr = ""
	}
	return regexp.MustCompile(expr).MatchString
}

// benchHost is the place of one generated host.
type benchHost struct {
	*testing.T
	dir, bin string
}

// newBenchHost makes a file system: on one that others use, what they have just
// removed slows down what is made.
func newBenchHost(t *testing.T) *benchHost {
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	b := &benchHost{T: t, bin: bin, dir: filepath.Join(t.TempDir(), "host")}
	b.must(os.Mkdir(b.dir, 0o755))
	for dir := filepath.Dir(b.dir); dir != os.TempDir(); dir = filepath.Dir(dir) {
		b.must(os.Chmod(dir, 0o755)) // the owners of mail have to pass
	}
	image := b.dir + ".ext4"
	b.sh(fmt.Sprintf("truncate -s 24G %s; mkfs.ext4 -q -F -N 3000000 %s; mount -o loop %s %s", image, image, image, b.dir))
	t.Cleanup(func() { syscall.Unmount(b.dir, syscall.MNT_DETACH) })
	for _, dir := range []string{"desc", "etc", "work", "units", "letsencrypt", "home"} {
		b.must(os.Mkdir(filepath.Join(b.dir, dir), 0o755))
	}
	return b
}

func (b *benchHost) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *benchHost) sh(script string) {
	b.Helper()
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		b.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// benchFolders are the folders of everybody.
const benchFolders = `Sent: use: "sent", Drafts: use: "drafts", Junk: use: "junk", Trash: use: "trash", Archive: use: "archive"
		Lists: {}, "Lists.Work": {}, Bills: {}, Travel: {}, Family: {}`

// describe writes a description of virtual users and, in addition, system users
// with their accounts.
func (b *benchHost) describe(virtual, system int) {
	b.Helper()
	b.must(os.WriteFile(b.dir+"/desc/host.cue", fmt.Appendf(nil, `hosts: "mail.example.org": {
	listeners: {imap: {}, imaps: {}}
	tls: certificates: "mail.example.org": selfSigned: {}
	mail: root: "%[1]s/vmail"
	paths: {state: "%[1]s/state", run: "%[1]s/run", letsencrypt: "%[1]s/letsencrypt", units: "%[1]s/units", bin: %[2]q}
	folders: {
		%[3]s
	}
}
`, b.dir, b.bin, benchFolders), 0o644))
	var users, passwd, group strings.Builder
	sep := ""
	for i := range virtual {
		fmt.Fprintf(&users, `%s"user%05d@example.org": {"password": {"hash": "$6$saltsalt%05d$%086d"}}`, sep, i, i, i)
		sep = ",\n"
	}
	for i := range system {
		fmt.Fprintf(&users, `%s"person%04d": {}`, sep, i)
		fmt.Fprintf(&passwd, "person%04d:x:%d:%d::%s/home/person%04d:/bin/sh\n", i, 20000+i, 20000+i, b.dir, i)
		fmt.Fprintf(&group, "person%04d:x:%d:\n", i, 20000+i)
		home := fmt.Sprintf("%s/home/person%04d", b.dir, i)
		b.must(os.Mkdir(home, 0o700))
		b.must(os.Chown(home, 20000+i, 20000+i))
	}
	b.must(os.WriteFile(b.dir+"/desc/users.json", []byte(`{"hosts": {"mail.example.org": {"users": {`+"\n"+users.String()+"\n}}}}\n"), 0o600))
	for name, lines := range map[string]string{"passwd": passwd.String(), "group": group.String()} {
		if lines == "" {
			continue
		}
		at := filepath.Join(b.dir, "etc", name)
		text, err := os.ReadFile(at)
		if os.IsNotExist(err) {
			text, err = os.ReadFile("/etc/" + name)
		}
		b.must(err)
		b.must(os.WriteFile(at, append(text, lines...), 0o644))
	}
}

func (b *benchHost) rows(chosen func(string) bool, rows []benchRow) {
	for _, r := range rows {
		r.host(b)
		args := append([]string{filepath.Join(b.bin, "mailstead")}, r.args...)
		if args = append(args, b.dir+"/desc"); r.args[0] == "apply" {
			args = []string{"script", "-qec", strings.Join(args, " "), "/dev/null"}
		}
		m := b.measure(r.code, args...)
		if !chosen(r.name) {
			continue // done all the same, for the rows after it
		}
		goal := ""
		if r.time > 0 {
			goal = fmt.Sprint(r.time)
		}
		if r.rss > 0 {
			goal += fmt.Sprintf(", %d MiB", r.rss)
		}
		fmt.Printf("| %s | %.2f s | %.2f s | %d MiB | %s |\n", r.name, m.wall.Seconds(), m.cpu.Seconds(), m.rss, goal)
		// The time is of this machine at this moment; the memory is not.
		if r.rss > 0 && m.rss > r.rss {
			b.Errorf("%s: %d MiB", r.name, m.rss)
		}
	}
}

// measured is what a run took.
type measured struct {
	wall, cpu time.Duration // cpu: of all its processes
	rss       int           // of the largest of them, in MiB
}

// measure runs a program in a mount namespace with an /etc of its own.
func (b *benchHost) measure(code int, args ...string) measured {
	b.Helper()
	const private = `mount --make-rprivate / && mount -t overlay overlay -o "lowerdir=/etc,upperdir=$0/etc,workdir=$0/work" /etc && exec "$@"`
	cmd := exec.Command("unshare", append([]string{"-m", "sh", "-c", private, b.dir}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+b.dir, "TERM=xterm")
	var tail benchTail
	cmd.Stdout, cmd.Stderr = &tail, &tail
	start := time.Now()
	err := cmd.Run()
	m := measured{wall: time.Since(start)}
	if got := cmd.ProcessState.ExitCode(); got != code {
		b.Fatalf("%q: exit %d, want %d: %v\n%s", args, got, code, err, tail)
	}
	if code == 6 && !strings.Contains(string(tail), "everything else is applied") {
		b.Fatalf("%q:\n%s", args, tail)
	}
	use := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	m.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	m.rss = int(use.Maxrss >> 10)
	return m
}

// benchTail keeps the end of an output.
type benchTail []byte

func (t *benchTail) Write(p []byte) (int, error) {
	const most = 4096
	*t = append(*t, p...)
	*t = (*t)[max(0, len(*t)-most):]
	return len(p), nil
}

// beside has Ansible do the job for so many users after Mailstead, and prints how
// many times as long it takes where there is nothing to do. It is made easy for
// Ansible: a template for the users, and one command a user that makes all of the
// mailboxes, of which a second run only looks whether its last one is there.
func (b *benchHost) beside(users int) {
	if _, err := exec.LookPath("ansible-playbook"); err != nil {
		b.Skip("no ansible-playbook")
	}
	desc := b.dir + "/desc"
	mailstead := filepath.Join(b.bin, "mailstead")
	first := b.measure(6, mailstead, "apply", "--yes", desc)
	again := b.measure(6, mailstead, "apply", "--yes", desc)
	b.must(os.WriteFile(b.dir+"/play.yaml", fmt.Appendf(nil, `- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - copy:
        dest: %[1]s/users
        mode: "0600"
        content: "{%% for n in range(%[2]d) %%}user{{ n }}@example.org:$6$saltsalt\n{%% endfor %%}"
    - command:
        cmd: sh -ec 'umask 077; for f in "" /.Sent /.Drafts /.Junk /.Trash /.Archive /.Lists /.Lists.Work /.Bills /.Travel /.Family; do mkdir -p "$0$f/tmp" "$0$f/new" "$0$f/cur"; done' %[1]s/amail/user{{ item }}
        creates: %[1]s/amail/user{{ item }}/.Family/cur
      loop: "{{ range(%[2]d) | list }}"
      loop_control:
        label: ""
`, b.dir, users), 0o644))
	play := []string{"ansible-playbook", "-i", "localhost,", b.dir + "/play.yaml"}
	theirs := b.measure(0, play...)
	theirsAgain := b.measure(0, play...)
	fmt.Println("\n| 1,000 users | Mailstead | Ansible | ratio |\n|---|---|---|---|")
	for _, r := range []struct {
		name         string
		ours, theirs measured
	}{{"from nothing", first, theirs}, {"nothing to do (goal: 100)", again, theirsAgain}} {
		fmt.Printf("| %s | %.2f s | %.1f s | %.0f |\n", r.name, r.ours.wall.Seconds(), r.theirs.wall.Seconds(), r.theirs.wall.Seconds()/r.ours.wall.Seconds())
	}
}

//go:build amd64 || arm64

package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain is also the process that takes something from itself, and then tries.
func TestMain(m *testing.M) {
	take, dir := os.Getenv("CONFINE_TEST_TAKE"), os.Getenv("CONFINE_TEST_DIR")
	switch take {
	case "":
		os.Exit(m.Run())
	case "the end":
		os.Exit(0)
	}
	said, err := attempt(take, dir)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(said)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// attempt says how each attempt ends, once the process has taken that from itself.
func attempt(take, dir string) (map[string]string, error) {
	var err error
	said := map[string]string{}
	switch take {
	case "files":
		_, err = Files([]string{filepath.Join(dir, "mine")})
	case "many":
		return many(dir)
	case "calls":
		err = errors.Join(Limits(), Calls(OfWorker...))
	case "login":
		_, err = Files(nil)
		err = errors.Join(err, Limits(), Calls(OfLogin...))
	case "front":
		_, err = Files(nil)
		err = errors.Join(err, Limits(), Calls(OfFront...))
	}
	if err != nil {
		return nil, err
	}
	if take != "calls" {
		for _, f := range files {
			said["file: "+f.name] = fmt.Sprint(f.try(dir))
		}
	}
	if take != "files" {
		for _, c := range calls {
			said[c.name] = outcome(c.number, c.args)
		}
	}
	said["wait for connections"] = outcome(unix.SYS_BIND, [6]uintptr{never})
	said["make a local socket"] = outcome(unix.SYS_SOCKET, [6]uintptr{unix.AF_UNIX, unix.SOCK_STREAM})
	said["connect"] = outcome(unix.SYS_CONNECT, [6]uintptr{never})
	said["make a pair of sockets"] = outcome(unix.SYS_SOCKETPAIR, [6]uintptr{never})
	if take == "calls" {
		for n := range uint32(1024) {
			if n == 335 || n == 336 { // of uprobes, which never come to a list, and kill who calls them otherwise
				continue
			}
			for _, number := range []uint32{n, 1<<30 | n} { // as x32 numbers them
				if !allowed(number) {
					said[fmt.Sprint("number ", number)] = outcome(uintptr(number), [6]uintptr{})
				}
			}
		}
		work()
	}
	return said, nil
}

// many has the process be confined to as many directories as a uid may have, and says
// what it can read, and how long that took.
func many(dir string) (map[string]string, error) {
	var roots []string
	for n := range manyRoots {
		roots = append(roots, filepath.Join(dir, fmt.Sprint("root", n)))
	}
	begun := time.Now()
	to, err := Files(roots)
	said := map[string]string{"confined": time.Since(begun).Round(time.Microsecond).String()}
	begun = time.Now()
	said["fits"] = fmt.Sprint(to.Fit(roots, roots[7]+"/Maildir"), " ", to.Fit([]string{dir}, dir))
	said["fitted"] = time.Since(begun).Round(time.Microsecond).String()
	readable := 0
	for _, r := range roots {
		if read(r+"/a") == nil {
			readable++
		}
	}
	said["roots"], said["beside"] = fmt.Sprint(readable), fmt.Sprint(read(dir+"/a"))
	return said, err
}

const manyRoots = 4096 // limit.Worker.Roots

func allowed(n uint32) bool {
	for _, l := range limited {
		if l.number == n {
			return true
		}
	}
	return slices.Contains(needed, n) || slices.Contains(legacy, n) || slices.Contains(OfWorker, n)
}

// work has Go's runtime do what it does under load: threads, and signals to them.
func work() {
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			runtime.LockOSThread() // and a thread less at the end
			for range 100 {
				_ = make([]byte, 1<<16)
			}
		})
	}
	all.Go(func() {
		for range 5 {
			runtime.GC()
		}
	})
	all.Wait()
}

const refused = "operation not permitted"

func outcome(number uintptr, args [6]uintptr) string {
	if _, _, errno := syscall.RawSyscall6(number, args[0], args[1], args[2], args[3], args[4], args[5]); errno != 0 {
		return errno.Error()
	}
	return "done"
}

// run has a process try, and gives what it says.
func run(t *testing.T, take, dir string) map[string]string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"CONFINE_TEST_TAKE=" + take, "CONFINE_TEST_DIR=" + dir}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", take, err)
	}
	var said map[string]string
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatalf("%s: %v\n%s", take, err, out)
	}
	return said
}

// never is what no address is at, and no descriptor, user, process or flag is.
const never = ^uintptr(0)

// calls is what a worker must not do, so that the kernel says something else than
// EPERM to root: most of it is asked for in a way that makes no sense, and changes nothing.
var calls = []struct {
	name   string
	number uintptr
	args   [6]uintptr
}{
	{"run a program", unix.SYS_EXECVE, [6]uintptr{never}},
	{"run a program by its descriptor", unix.SYS_EXECVEAT, [6]uintptr{never, never}},
	{"become another process", unix.SYS_CLONE, [6]uintptr{unix.CLONE_SIGHAND}},
	{"become another process, anew", unix.SYS_CLONE3, [6]uintptr{}},
	{"make a thread with users of its own", unix.SYS_CLONE, [6]uintptr{unix.CLONE_THREAD | unix.CLONE_NEWUSER}},
	{"leave the users", unix.SYS_UNSHARE, [6]uintptr{unix.CLONE_NEWUSER}},
	{"leave the network", unix.SYS_UNSHARE, [6]uintptr{unix.CLONE_NEWNET}},
	{"enter a namespace", unix.SYS_SETNS, [6]uintptr{never}},
	{"trace", unix.SYS_PTRACE, [6]uintptr{unix.PTRACE_ATTACH, never}},
	{"read another's memory", unix.SYS_PROCESS_VM_READV, [6]uintptr{never}},
	{"write another's memory", unix.SYS_PROCESS_VM_WRITEV, [6]uintptr{never}},
	{"signal another", unix.SYS_KILL, [6]uintptr{math.MaxInt32, uintptr(unix.SIGTERM)}},
	{"signal a thread of another", unix.SYS_TGKILL, [6]uintptr{1, 1, 0}},
	{"have a file signal another", unix.SYS_FCNTL, [6]uintptr{0, unix.F_SETOWN, math.MaxInt32}},
	{"have a file signal a thread of another", unix.SYS_FCNTL, [6]uintptr{0, unix.F_SETOWN_EX, never}},
	{"hold another", unix.SYS_PIDFD_OPEN, [6]uintptr{1}},
	{"mount", unix.SYS_MOUNT, [6]uintptr{never, never, never}},
	{"unmount", unix.SYS_UMOUNT2, [6]uintptr{never, 0}},
	{"change the root", unix.SYS_CHROOT, [6]uintptr{never}},
	{"become another user", unix.SYS_SETUID, [6]uintptr{0}},
	{"become another group", unix.SYS_SETGID, [6]uintptr{0}},
	{"become another user for all", unix.SYS_SETRESUID, [6]uintptr{0, 0, 0}},
	{"reach files as another user", unix.SYS_SETFSUID, [6]uintptr{never}},
	{"have groups", unix.SYS_SETGROUPS, [6]uintptr{0, 0}},
	{"have capabilities", unix.SYS_CAPSET, [6]uintptr{never}},
	{"change what it is", unix.SYS_PRCTL, [6]uintptr{unix.PR_SET_DUMPABLE, 1}},
	{"load a module", unix.SYS_FINIT_MODULE, [6]uintptr{never}},
	{"load a program into the kernel", unix.SYS_BPF, [6]uintptr{never}},
	{"have a ring", unix.SYS_IO_URING_SETUP, [6]uintptr{0, 0}},
	{"watch the processor", unix.SYS_PERF_EVENT_OPEN, [6]uintptr{never}},
	{"catch faults of pages", unix.SYS_USERFAULTFD, [6]uintptr{never}},
	{"ask for keys", unix.SYS_KEYCTL, [6]uintptr{never}},
	{"open a file by a handle", unix.SYS_OPEN_BY_HANDLE_AT, [6]uintptr{never}},
	{"watch a file system", unix.SYS_FANOTIFY_INIT, [6]uintptr{never}},
	{"set the clock", unix.SYS_CLOCK_SETTIME, [6]uintptr{never}},
	{"name the host", unix.SYS_SETHOSTNAME, [6]uintptr{never, 1}},
	{"restart the host", unix.SYS_REBOOT, [6]uintptr{}},
	{"have more than its limits", unix.SYS_PRLIMIT64, [6]uintptr{0, unix.RLIMIT_CORE, never}},
	{"come first", unix.SYS_SETPRIORITY, [6]uintptr{unix.PRIO_PROCESS, 0, 0}},
	{"be another's personality", unix.SYS_PERSONALITY, [6]uintptr{0xffffffff}},
	{"speak with a device", unix.SYS_IOCTL, [6]uintptr{0, unix.TIOCSTI}},
	{"make a device", unix.SYS_MKNODAT, [6]uintptr{never, never}},
	{"make a link", unix.SYS_SYMLINKAT, [6]uintptr{never, never, never}},
	{"change the mode of a file by its name", unix.SYS_FCHMODAT, [6]uintptr{never, never}},
	{"give a file away", unix.SYS_FCHOWNAT, [6]uintptr{never, never}},
	{"have a file without a name that a program could inherit", unix.SYS_MEMFD_CREATE, [6]uintptr{never}},
	{"speak TCP", unix.SYS_SOCKET, [6]uintptr{unix.AF_INET, unix.SOCK_STREAM}},
	{"speak TCP by IPv6", unix.SYS_SOCKET, [6]uintptr{unix.AF_INET6, unix.SOCK_STREAM}},
	{"speak with the kernel", unix.SYS_SOCKET, [6]uintptr{unix.AF_NETLINK, unix.SOCK_RAW}},
	{"hear the network", unix.SYS_SOCKET, [6]uintptr{unix.AF_PACKET, unix.SOCK_RAW}},
	{"wait for others", unix.SYS_LISTEN, [6]uintptr{never}},
	{"run what it has written", unix.SYS_MMAP, [6]uintptr{0, 4096, unix.PROT_READ | unix.PROT_WRITE | unix.PROT_EXEC, unix.MAP_PRIVATE | unix.MAP_ANON, never}},
	{"run what it has written before", unix.SYS_MPROTECT, [6]uintptr{0, 4096, unix.PROT_READ | unix.PROT_EXEC}},
	{"change this list", unix.SYS_SECCOMP, [6]uintptr{unix.SECCOMP_SET_MODE_FILTER, 0, never}},
}

// TestCalls has a process try all that there is, with the list and, as root, without.
func TestCalls(t *testing.T) {
	confinable(t)
	missing := []string{"become another process, anew", fmt.Sprint("number ", unix.SYS_CLONE3)}
	login := run(t, "login", place(t))
	for _, c := range calls {
		if c.number != unix.SYS_CLONE3 && login[c.name] != refused {
			t.Errorf("a login: %s: %s", c.name, login[c.name])
		}
	}
	worker, front := run(t, "calls", t.TempDir()), run(t, "front", place(t))
	for _, row := range []struct{ what, worker, login, front string }{
		{"make a local socket", "done", "done", refused}, // to the outbox, and to auth
		{"connect", unix.EBADF.Error(), unix.EBADF.Error(), refused},
		{"make a pair of sockets", refused, unix.EFAULT.Error(), unix.EFAULT.Error()},
		{"wait for connections", refused, refused, refused},
	} {
		if worker[row.what] != row.worker || login[row.what] != row.login || front[row.what] != row.front {
			t.Errorf("%s: a worker: %s, a login: %s, a front: %s", row.what, worker[row.what], login[row.what], front[row.what])
		}
		delete(worker, row.what)
	}
	for _, c := range calls {
		if c.number != unix.SYS_CLONE3 && front[c.name] != refused {
			t.Errorf("a front: %s: %s", c.name, front[c.name])
		}
	}
	for what, said := range worker {
		if want := map[bool]string{false: refused, true: unix.ENOSYS.Error()}[slices.Contains(missing, what)]; said != want {
			t.Errorf("%s: %s", what, said)
		}
	}
	if os.Getuid() != 0 {
		t.Log("not root: it is not seen what would happen without the list")
		return
	}
	control := run(t, "nothing", place(t))
	for _, c := range calls {
		if control[c.name] == refused {
			t.Errorf("%s: refused without the list too, so it proves nothing", c.name)
		}
	}
}

// confinable skips where this test's program cannot do what the daemon does.
func confinable(t *testing.T) {
	t.Helper()
	if err := Landlock(); err != nil {
		if os.Getenv("MAILSTEAD_E2E") == "1" && !strings.Contains(err.Error(), "cgo") { // which the race detector brings
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// place makes what files are tried with: a directory of the process's own, and
// somebody else's.
func place(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"mine", "other"} {
		os.Mkdir(filepath.Join(dir, d), 0o755)
		for _, name := range []string{"a", "b", "c"} {
			if err := os.WriteFile(filepath.Join(dir, d, name), []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	program, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "mine/program"), program, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// files is what is tried with files, and whether a process that is confined to
// mine may do it.
var files = []struct {
	name string
	may  bool
	try  func(dir string) error
}{
	{"read its own", true, func(dir string) error { return read(dir + "/mine/a") }},
	{"write its own", true, func(dir string) error { return os.WriteFile(dir+"/mine/new", nil, 0o600) }},
	{"cut its own", true, func(dir string) error { return os.Truncate(dir+"/mine/a", 0) }},
	{"list its own", true, func(dir string) error { return list(dir + "/mine") }},
	{"move its own", true, func(dir string) error {
		return errors.Join(os.Mkdir(dir+"/mine/sub", 0o700), os.Rename(dir+"/mine/b", dir+"/mine/sub/b"), os.Link(dir+"/mine/a", dir+"/mine/sub/a"))
	}},
	{"remove its own", true, func(dir string) error { return os.RemoveAll(dir + "/mine/sub") }},
	{"know the boot", true, func(string) error { return read("/proc/sys/kernel/random/boot_id") }},
	{"be random", true, func(string) error { return open("/dev/urandom", os.O_RDONLY) }},
	{"read another's", false, func(dir string) error { return read(dir + "/other/a") }},
	{"read another's by a link", false, func(dir string) error { return read(dir + "/mine/../other/a") }},
	{"write another's", false, func(dir string) error { return open(dir+"/other/a", os.O_WRONLY) }},
	{"make a file beside", false, func(dir string) error { return os.WriteFile(dir+"/new", nil, 0o600) }},
	{"cut another's", false, func(dir string) error { return os.Truncate(dir+"/other/a", 0) }},
	{"list another's", false, func(dir string) error { return list(dir + "/other") }},
	{"list what it is in", false, func(dir string) error { return list(dir) }},
	{"remove another's", false, func(dir string) error { return os.Remove(dir + "/other/b") }},
	{"take another's", false, func(dir string) error { return os.Rename(dir+"/other/c", dir+"/mine/taken") }},
	{"link another's", false, func(dir string) error { return os.Link(dir+"/other/a", dir+"/mine/linked") }},
	{"give its own", false, func(dir string) error { return os.Rename(dir+"/mine/c", dir+"/other/given") }},
	{"make a link", false, func(dir string) error { return os.Symlink("a", dir+"/mine/link") }},
	{"make a pipe", false, func(dir string) error { return unix.Mkfifo(dir+"/mine/pipe", 0o600) }},
	{"know the users", false, func(string) error { return read("/etc/passwd") }},
	{"know itself", false, func(string) error { return read("/proc/self/status") }},
	{"write a device", false, func(string) error { return open("/dev/null", os.O_WRONLY) }},
	{"run a program", false, func(string) error { return end("/proc/self/exe").Run() }},
	{"run what is its own", false, func(dir string) error { return end(dir + "/mine/program").Run() }},
	{"gain no privileges", true, func(string) error {
		if on, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || on != 1 {
			return fmt.Errorf("%d: %w", on, err)
		}
		return nil
	}},
}

// end is a program that opens no file, and needs none of this process's own.
func end(path string) *exec.Cmd {
	cmd := exec.Command(path)
	cmd.Env = []string{"CONFINE_TEST_TAKE=the end"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stderr, os.Stderr
	return cmd
}

func open(path string, flags int) error {
	f, err := os.OpenFile(path, flags, 0)
	if err == nil {
		f.Close()
	}
	return err
}

func read(path string) error {
	_, err := os.ReadFile(path)
	return err
}

func list(path string) error {
	_, err := os.ReadDir(path)
	return err
}

// TestFiles has a process try what there is with files, confined and not.
func TestFiles(t *testing.T) {
	confinable(t)
	within, without, login := run(t, "files", place(t)), run(t, "nothing", place(t)), run(t, "login", place(t))
	for _, f := range files {
		if f.name != "gain no privileges" && without["file: "+f.name] != "<nil>" {
			t.Errorf("%s: %s without Landlock too, so it proves nothing", f.name, without["file: "+f.name])
		}
		if said := login["file: "+f.name]; said == "<nil>" && !slices.Contains([]string{"know the boot", "be random", "remove its own", "gain no privileges"}, f.name) { // there is none
			t.Errorf("a login: %s", f.name)
		}
		if said := within["file: "+f.name]; f.may != (said == "<nil>") {
			t.Errorf("%s: %s", f.name, said)
		}
	}
}

// TestManyRoots: each of many directories is a root of its own, and what is beside them
// none.
func TestManyRoots(t *testing.T) {
	confinable(t)
	dir := t.TempDir()
	for n := range manyRoots {
		root := filepath.Join(dir, fmt.Sprint("root", n))
		if err := errors.Join(os.Mkdir(root, 0o700), os.WriteFile(filepath.Join(root, "a"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(filepath.Join(dir, "a"), nil, 0o600)
	said := run(t, "many", dir)
	t.Logf("%d roots: confined in %s, found to fit in %s", manyRoots, said["confined"], said["fitted"])
	if said["roots"] != fmt.Sprint(manyRoots) || said["fits"] != "true false" || !strings.Contains(said["beside"], "permission denied") {
		t.Errorf("%s of %d roots can be read, they fit: %s, what is beside them: %s", said["roots"], manyRoots, said["fits"], said["beside"])
	}
}

// TestFit: roots are the directories that had these names.
func TestFit(t *testing.T) {
	dir := place(t)
	mine, later := filepath.Join(dir, "mine"), filepath.Join(dir, "later")
	rootOf := func(path string) root {
		is, _ := os.Stat(path)
		return root{path, is}
	}
	r := Roots{rootOf(later), rootOf(mine)}
	for want, fits := range map[string]bool{mine: true, mine + "/sub": true, mine + "2": false, dir: false, later: true} {
		if r.Fit([]string{want}, want) != fits {
			t.Errorf("%s does not fit as it should", want)
		}
	}
	if !Roots(nil).Fit([]string{"/"}, mine) || r.Fit([]string{mine, "/"}, mine) {
		t.Error("who is not confined fits all, who is does not")
	}
	os.Mkdir(later, 0o700)
	if r.Fit([]string{mine, later}, later+"/Maildir") || !r.Fit([]string{mine, later}, mine) {
		t.Error("a directory that came later")
	}
	r = Roots{rootOf(mine)}
	os.Rename(mine, mine+".old")
	if !r.Fit([]string{mine}, mine) {
		t.Error("nothing is there now")
	}
	os.Mkdir(mine, 0o700)
	if r.Fit([]string{mine}, mine+"/Maildir") {
		t.Error("another directory")
	}
}

package kind

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// spyEnv names the directory that a process of TestKeyExposure looks into.
const spyEnv = "MAILSTEAD_TEST_SPY"

// spy opens whatever the directory holds, all the time and whenever the kernel
// says that something has happened there, until its standard input ends. It
// tells how often it tried and how often it could.
func spy(dir string) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err == nil {
		_, err = unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_ATTRIB|unix.IN_MODIFY|unix.IN_MOVED_TO)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	tries, opens := 0, 0
	try := func() {
		for _, name := range []string{"key.pem.mailstead~", "key.pem"} {
			tries++
			if fd, err := unix.Open(filepath.Join(dir, name), unix.O_RDONLY, 0); err == nil {
				opens++
				unix.Close(fd)
			}
		}
	}
	end := make(chan struct{})
	go func() {
		bufio.NewReader(os.Stdin).ReadByte()
		close(end)
	}()
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	fmt.Println("ready")
	for events := make([]byte, 1<<16); ; {
		select {
		case <-end:
			fmt.Println(tries, opens)
			os.Exit(0)
		default:
		}
		try()
		if n, _ := unix.Poll(poll, 0); n > 0 {
			unix.Read(fd, events)
			try()
		}
	}
}

// spied has somebody without rights look into the directory while work is done.
func spied(t *testing.T, dir string, work func()) (tries, opens int) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), spyEnv+"="+dir)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "ready\n" {
		t.Fatalf("the spy: %q %v", line, err)
	}
	work()
	in.Close()
	line, _ := lines.ReadString('\n')
	if _, err := fmt.Sscan(line, &tries, &opens); err != nil {
		t.Fatalf("the spy: %q %v", line, err)
	}
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	return tries, opens
}

// TestKeyExposure writes keys 10,000 times into a directory that everybody may
// read, without a umask, while somebody else tries to open them. Who writes a
// file first and takes the rights away then is caught by the same spy.
func TestKeyExposure(t *testing.T) {
	e2e(t)
	b := newBench(t)
	b.must(os.Chmod(b.dir, 0o755))
	program := b.path("spy") // the test's own is where nobody else may go
	b.must(exec.Command("cp", os.Args[0], program).Run())
	self := os.Args[0]
	os.Args[0] = program
	defer func() { os.Args[0] = self }()
	dir := b.path("keys")
	b.must(os.Mkdir(dir, 0o755))
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(dir, "key.pem")

	caught := 0
	for range 100 { // on a machine with other work the two may not run side by side for long
		if _, caught = spied(t, dir, func() {
			for range 1000 {
				b.must(os.WriteFile(path, []byte("key"), 0o644))
				b.must(os.Chmod(path, 0o600))
				b.must(os.Remove(path))
			}
		}); caught > 0 {
			break
		}
	}
	if caught == 0 {
		t.Error("the spy catches nobody, so it proves nothing")
	}
	tries, opens := spied(t, dir, func() {
		for n := range 10000 {
			group := []string{"", "adm"}[n%2]
			b.must(writeSecret(path, group, []byte(fmt.Sprintf("key %d", n))))
		}
	})
	t.Logf("%d tries; the naive writer was caught %d times", tries, caught)
	if opens > 0 || tries < 1000 {
		t.Errorf("%d tries, of which %d found a key open", tries, opens)
	}
	b.wantMode(path, "0640")
}

// TestKeyIsMadeClosed: the first system call that makes the file of a key gives
// it its last mode or a closer one.
func TestKeyIsMadeClosed(t *testing.T) {
	e2e(t)
	b := newBench(t)
	b.apply(killWorld(b.dir, 1)...)
	c := exec.Command("strace", "-f", "-qq", "-o", b.path("trace"), "-e", "trace=openat,openat2,creat,open", "sh", "-c", "umask 0; exec "+os.Args[0])
	c.Env = append(os.Environ(), applyEnv+"="+b.dir)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatal(errors.Join(err, errors.New(string(out))))
	}
	made := 0
	for line := range strings.Lines(b.content(b.path("trace"))) {
		if strings.Contains(line, "O_CREAT") && strings.Contains(line, ".pem") {
			made++
			if !strings.Contains(line, ", 0600)") {
				t.Error(line)
			}
		}
	}
	if made == 0 {
		t.Error("no key was made")
	}
}

// Command prober tries what the sandbox of a unit forbids, and prints a line for
// each attempt: its name, and "done" or why not. TestPromises runs it in place of
// the program of each unit. What it tries with stands in the directories named
// probe, which everyone may write to: the sandbox alone is in the way.
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

var probes = []struct {
	name string
	try  func() error
}{
	{"write /etc", func() error { return write("/etc/probe") }},
	{"write /usr", func() error { return write("/usr/probe") }},
	{"write /var", func() error { return write("/var/lib/probe") }},
	{"write /run", func() error { return write("/run/probe") }},
	{"write mail", func() error { return write("/home/bob/probe") }},
	{"read mail", func() error { return read("/home/bob/probe/mail") }},
	{"read what is bob's alone", func() error { return read("/var/lib/probe/secret") }},
	{"read what is root's alone", func() error { return read("/root/probe") }},
	{"give away", func() error { return os.Lchown(own("given"), 61234, 61234) }},
	{"make set-uid", func() error { return unix.Chmod(own("suid"), 0o4755) }},
	{"see the host's /tmp", func() error { return read("/tmp/probe-of-the-host") }},
	{"see processes of others", func() error { return read(fmt.Sprintf("/proc/%d/status", argument("bob"))) }},
	{"see the kernel's state", func() error { return read("/proc/meminfo") }},
	{"set the kernel", func() error { return rewrite("/proc/sys/net/ipv4/ip_forward") }},
	{"make a group of processes", func() error { return mkdir("/sys/fs/cgroup") }},
	{"open a device", func() error { return open("/dev/probe", os.O_WRONLY) }},
	{"make a device", func() error { return unix.Mknod(fresh("device"), unix.S_IFCHR|0o600, 1<<8|3) }},
	{"signal others", func() error { return unix.Kill(argument("bob"), 0) }},
	{"trace", func() error { return call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(argument("bob")), 0, 0) }},
	{"read others' memory", func() error { return memory(argument("bob")) }},
	{"see others' IPC", func() error { return stat(argument("shm")) }},
	{"become another user", func() error { return call(unix.SYS_SETRESUID, 61234, 61234, 61234) }},
	{"become another group", func() error { return call(unix.SYS_SETRESGID, 61234, 61234, 61234) }},
	{"gain privileges", gain},
	{"run a program", func() error { return exec.Command("/bin/true").Run() }},
	{"run what it has written", func() error {
		return call(unix.SYS_MMAP, 0, 4096, unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON, ^uintptr(0))
	}},
	{"ask by IPv4", func() error { return dial("tcp4", "127.0.0.1:4711") }},
	{"ask by IPv6", func() error { return dial("tcp6", "[::1]:4711") }},
	{"ask elsewhere", func() error { return dial("tcp4", "192.0.2.7:4711") }},
	{"make a local socket", func() error { return socket(unix.AF_UNIX, unix.SOCK_STREAM) }},
	{"ask the host's services", func() error { return dial("unix", "/run/dbus/system_bus_socket") }},
	{"ask a user's services", func() error { return dial("unix", "/run/user/4711/probe") }},
	{"speak with the kernel", func() error { return socket(unix.AF_NETLINK, unix.SOCK_RAW) }},
	{"hear the network", func() error { return socket(unix.AF_PACKET, unix.SOCK_RAW) }},
	{"have users of its own", func() error { return start(unix.CLONE_NEWUSER) }},
	{"have mounts of its own", func() error { return call(unix.SYS_UNSHARE, unix.CLONE_NEWNS) }},
	{"have a network of its own", func() error { return call(unix.SYS_UNSHARE, unix.CLONE_NEWNET) }},
	{"mount", func() error { return unix.Mount("none", "/run/probe", "tmpfs", 0, "") }},
	{"change its root", func() error { return unix.Chroot("/") }},
	{"name the host", rename},
	{"come first", func() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, -5) }},
	{"be in real time", realtime},
	{"have another personality", func() error { return call(unix.SYS_PERSONALITY, 8) }}, // PER_LINUX32
	{"call as programs of 32 bits do", func() error { return exec.Command("/proc/self/exe", "foreign").Run() }},
}

func main() {
	switch os.Args[min(1, len(os.Args)-1)] {
	case "nothing":
		return
	case "foreign":
		foreign()
	}
	for _, p := range probes {
		said := "done"
		if err := p.try(); err != nil {
			said = err.Error()
		}
		fmt.Printf("%s\t%s\n", p.name, said)
	}
}

// foreign makes a call by another architecture's number, in a thread whose end it may
// be, and ends.
func foreign() {
	runtime.GOMAXPROCS(4) // of which that thread takes one along
	said := make(chan int)
	go func() { said <- foreignPID() }()
	select {
	case pid := <-said:
		if pid == os.Getpid() {
			os.Exit(0)
		}
	case <-time.After(5 * time.Second):
	}
	os.Exit(1)
}

// argument gives a number that the test has found out.
func argument(name string) int {
	for _, a := range os.Args[1:] {
		if n, ok := strings.CutPrefix(a, name+"="); ok {
			n, _ := strconv.Atoi(n)
			return n
		}
	}
	return -1
}

func call(number uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	done := make(chan syscall.Errno)
	go func() { // in a thread that ends with it: what it has become, nobody else is
		runtime.LockOSThread()
		_, _, errno := syscall.RawSyscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
		done <- errno
	}()
	if errno := <-done; errno != 0 {
		return errno
	}
	return nil
}

func open(path string, flags int) error {
	f, err := os.OpenFile(path, flags|unix.O_NOCTTY, 0o600)
	if err == nil {
		f.Close()
	}
	return err
}

// write makes a file in dir, where the probers of other units do so as well.
func write(dir string) error {
	f, err := os.CreateTemp(dir, "")
	if err == nil {
		f.Close()
		os.Remove(f.Name())
	}
	return err
}

func read(path string) error {
	_, err := os.ReadFile(path)
	return err
}

func rewrite(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0)
}

func mkdir(dir string) error {
	path, err := os.MkdirTemp(dir, "probe")
	os.Remove(path)
	return err
}

// fresh gives the path of what is not there yet, where every unit may write.
func fresh(name string) string {
	path := fmt.Sprint("/tmp/", name, os.Getpid())
	os.Remove(path)
	return path
}

// own makes a file of one's own.
func own(name string) string {
	path := fresh(name)
	os.WriteFile(path, nil, 0o600)
	return path
}

func memory(pid int) error {
	buf := make([]byte, 1)
	local := []unix.Iovec{{Base: &buf[0], Len: 1}}
	_, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: 4096, Len: 1}}, 0)
	if err == unix.EFAULT { // there is nothing, but one may look
		return nil
	}
	return err
}

// stat asks for a segment of shared memory (IPC_STAT).
func stat(id int) error {
	var ds [256]byte
	if _, _, errno := syscall.Syscall(unix.SYS_SHMCTL, uintptr(id), 2, uintptr(unsafe.Pointer(&ds))); errno != 0 {
		return errno
	}
	return nil
}

func gain() error {
	if on, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || on == 1 {
		return fmt.Errorf("set-uid programs have no effect (%v)", err)
	}
	return nil
}

func dial(network, address string) error {
	c, err := net.DialTimeout(network, address, 2*time.Second)
	if err == nil {
		c.Close()
	}
	return err
}

func socket(family, kind int) error {
	fd, err := unix.Socket(family, kind, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func start(flags uintptr) error {
	cmd := exec.Command("/proc/self/exe", "nothing")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	return cmd.Run()
}

func rename() error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	return unix.Sethostname([]byte(name))
}

func realtime() error {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
	return unix.SchedSetAttr(0, &attr, 0)
}

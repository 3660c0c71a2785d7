package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// killer is "mailstead-killer N FILESYSTEM PROGRAM ARGS...": it runs a program
// and kills it, and all that it has started, as it is about to make its Nth
// system call that writes, whichever of its threads and processes makes it. With
// N 0 it runs to its end. FILESYSTEM, unless "-", is a mount point whose power
// is cut before the kill, or at the end. Killed it ends with 137, else as the program; the last
// line of its standard error is how many calls there were.
func killer() {
	runtime.LockOSThread() // every request to a traced process comes from the thread that traces it
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(125)
	}
	cmd := exec.Command(os.Args[3], os.Args[4:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(125)
	}
	k := &killing{main: cmd.Process.Pid, at: n, fs: os.Args[2], known: map[int]bool{}}
	code, err := k.run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 125
	}
	fmt.Fprintf(os.Stderr, "\n%d\n", k.calls)
	os.Exit(code)
}

// killing is a program that is traced.
type killing struct {
	main, at, calls int
	fs              string
	known           map[int]bool // threads that have stopped before
}

const exitKilled = 137

func (k *killing) run() (int, error) {
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(k.main, &ws, 0, nil); err != nil {
		return 0, err
	}
	k.known[k.main] = true
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL
	if err := syscall.PtraceSetOptions(k.main, options); err != nil {
		return 0, err
	}
	for pid, signal := k.main, 0; ; {
		if err := syscall.PtraceSyscall(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return 0, err
		}
		var err error
		if pid, err = syscall.Wait4(-1, &ws, unix.WALL, nil); err != nil {
			return 0, err
		}
		signal = 0
		switch {
		case pid == k.main && ws.Exited():
			return ws.ExitStatus(), k.cut()
		case pid == k.main && ws.Signaled():
			return 128 + int(ws.Signal()), nil
		case !ws.Stopped():
			continue
		case ws.StopSignal() == syscall.SIGTRAP|0x80:
			if k.writes(pid) {
				if k.calls++; k.calls == k.at {
					return exitKilled, k.end()
				}
			}
		case ws.StopSignal() == syscall.SIGSTOP && !k.known[pid], ws.StopSignal() == syscall.SIGTRAP:
		default:
			signal = int(ws.StopSignal())
		}
		k.known[pid] = true
	}
}

// end cuts the power, if it is to, and kills every process: those that are left
// behind belong to this one and go with it (PTRACE_O_EXITKILL).
func (k *killing) end() error {
	if err := k.cut(); err != nil {
		return err
	}
	return syscall.Kill(k.main, syscall.SIGKILL)
}

// cut makes the file system lose what it has not written, and every further
// write fail.
func (k *killing) cut() error {
	const shutdown, noFlush = 0x8004587d, 2 // EXT4_IOC_SHUTDOWN, which XFS has too
	if k.fs == "-" {
		return nil
	}
	f, err := os.Open(k.fs)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := uint32(noFlush)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), shutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		return fmt.Errorf("cut the power of %s: %w", k.fs, errno)
	}
	return nil
}

// writing are the calls that change a file system, or take a lock.
var writing = []uint64{
	unix.SYS_MKDIRAT, unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_FSYNC,
	unix.SYS_FDATASYNC, unix.SYS_SYNCFS, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_UNLINKAT, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_FTRUNCATE, unix.SYS_FLOCK,
}

// syscallInfo is struct ptrace_syscall_info at the entry of a call.
type syscallInfo struct {
	op   uint8
	_    [3]uint8
	_    uint32 // arch
	_    [2]uint64
	nr   uint64
	args [6]uint64
}

// writes tells whether a stopped thread is about to make a call that writes.
func (k *killing) writes(pid int) bool {
	const getSyscallInfo, entry = 0x420e, 1
	var info syscallInfo
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(pid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 || info.op != entry {
		return false
	}
	const written = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT
	switch info.nr {
	case unix.SYS_OPENAT:
		return info.args[2]&written != 0
	case unix.SYS_OPENAT2:
		return true // its flags are in the program's memory
	case unix.SYS_WRITE:
		return info.args[0] > 2
	}
	return slices.Contains(writing, info.nr)
}

//go:build amd64 || arm64

package confine

import (
	"fmt"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// needed is what is asked of the kernel, on every architecture: what Go's
// runtime, SQLite and the store do, as tracing all of their tests shows, and what
// they would do elsewhere. legacy adds to it what an old architecture has besides.
// Everything else fails with EPERM: to run, trace or signal another program, to
// become another user, mount, namespaces, modules, keys, BPF, io_uring, devices.
var needed = []uint32{
	// Files. Landlock and the uid say which, but not whose mode is changed: that of an open one alone.
	unix.SYS_OPENAT, unix.SYS_CLOSE, unix.SYS_READ, unix.SYS_WRITE, unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREAD64, unix.SYS_PWRITE64,
	unix.SYS_LSEEK, unix.SYS_FSTAT, unix.SYS_NEWFSTATAT, unix.SYS_STATX, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2, unix.SYS_GETDENTS64, unix.SYS_READLINKAT,
	unix.SYS_GETCWD, unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_FADVISE64, unix.SYS_FLOCK,
	unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_UNLINKAT, unix.SYS_MKDIRAT, unix.SYS_FCHMOD, unix.SYS_UTIMENSAT,
	unix.SYS_STATFS, unix.SYS_FSTATFS, unix.SYS_DUP, unix.SYS_DUP3, unix.SYS_PIPE2, unix.SYS_SPLICE, unix.SYS_SENDFILE, unix.SYS_COPY_FILE_RANGE,
	unix.SYS_INOTIFY_INIT1, unix.SYS_INOTIFY_ADD_WATCH, unix.SYS_INOTIFY_RM_WATCH,
	// Sockets that there are.
	unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_SHUTDOWN,
	unix.SYS_GETSOCKOPT, unix.SYS_SETSOCKOPT, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, unix.SYS_PPOLL,
	// Memory, threads, time, and who one is.
	unix.SYS_MUNMAP, unix.SYS_MREMAP, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_BRK,
	unix.SYS_FUTEX, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_EXIT, unix.SYS_EXIT_GROUP,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK, unix.SYS_RESTART_SYSCALL,
	unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_GETTIMEOFDAY, unix.SYS_GETRANDOM, unix.SYS_UNAME,
	unix.SYS_GETPID, unix.SYS_GETPPID, unix.SYS_GETTID, unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID,
}

// What Calls allows besides: a worker, which has mail sent, to reach the outbox; a login
// and others that talk to strangers to accept connections, reach auth, and hand them over; who has its connections
// from elsewhere to hand over alone.
var (
	OfWorker = []uint32{unix.SYS_SOCKET, unix.SYS_CONNECT}
	OfLogin  = []uint32{unix.SYS_SOCKET, unix.SYS_CONNECT, unix.SYS_ACCEPT4, unix.SYS_SOCKETPAIR}
	OfFront  = []uint32{unix.SYS_SOCKETPAIR}
)

// limited is the calls of which a part is needed: those where the bits of mask
// in an argument make one of want. No address can be looked behind here, which is why
// clone3 is not among them: it is said to be missing, and a program with cgo, whose
// threads the C library makes, goes on with clone.
var limited = []struct {
	number   uint32
	argument uint32
	mask     uint32
	want     []uint32
}{
	{unix.SYS_SOCKET, 0, whole, []uint32{unix.AF_UNIX}},
	{unix.SYS_CLONE, 0, unix.CLONE_THREAD | namespaces, []uint32{unix.CLONE_THREAD}},
	{unix.SYS_MMAP, 2, unix.PROT_EXEC, []uint32{0}}, // there is no code to come
	{unix.SYS_MPROTECT, 2, unix.PROT_EXEC, []uint32{0}},
	{unix.SYS_IOCTL, 1, whole, []uint32{unix.SIOCOUTQ}},                                    // whether a login has read all, before a connection is given back
	{unix.SYS_KILL, 1, whole, []uint32{0}},                                                 // whether the holder of one of Courier's locks is still there
	{unix.SYS_MEMFD_CREATE, 1, whole, []uint32{unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING}}, // in which handoff sends what is long; nothing can be run
	{unix.SYS_TGKILL, 0, whole, []uint32{uint32(os.Getpid())}},                             // by which Go stops its own threads
	{unix.SYS_FCNTL, 1, whole, []uint32{ // F_SETOWN would signal others
		unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL, unix.F_DUPFD_CLOEXEC, unix.F_SETPIPE_SZ, unix.F_ADD_SEALS, unix.F_GET_SEALS,
		unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW,
	}},
}

const whole = ^uint32(0)

const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// Calls has this process use no system calls but what all need and more, for as long as
// it lives.
func Calls(more ...uint32) error {
	if err := stay(); err != nil {
		return err
	}
	program := filter(more)
	f := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&f)))
	switch {
	case errno != 0:
		return fmt.Errorf("list of system calls: %w", errno)
	case thread != 0:
		return fmt.Errorf("list of system calls: thread %d does not take it", thread)
	}
	return nil
}

// Offsets in the kernel's struct seccomp_data; of an argument, whose lower half
// comes first on both architectures.
const (
	atNumber       = 0
	atArchitecture = 4
	atArguments    = 16
)

// filter is the tables as a program. For what it always allows the kernel keeps a
// map, and does not run it (since 5.11).
func filter(more []uint32) []unix.SockFilter {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	// unless goes on behind the next skip lines where what was loaded is not k.
	unless := func(k uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: skip, K: k}
	}
	end := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}
	}
	allow, refuse := end(unix.SECCOMP_RET_ALLOW), end(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM))
	missing := end(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))
	p := []unix.SockFilter{load(atArchitecture), {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: architecture}, refuse, load(atNumber), unless(unix.SYS_CLONE3, 1), missing}
	for _, l := range limited {
		if l.number == unix.SYS_SOCKET && !slices.Contains(more, l.number) {
			continue
		}
		p = append(p, unless(l.number, uint8(3+2*len(l.want))), load(atArguments+8*l.argument), unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: l.mask})
		for _, want := range l.want {
			p = append(p, unless(want, 1), allow)
		}
		p = append(p, refuse)
	}
	for _, number := range slices.Concat(needed, legacy, more) {
		p = append(p, unless(number, 1), allow)
	}
	return append(p, refuse)
}

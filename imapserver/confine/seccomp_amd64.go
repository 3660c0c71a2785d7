package confine

import "golang.org/x/sys/unix"

const architecture = unix.AUDIT_ARCH_X86_64

// legacy is the calls that newer ones stand for elsewhere: SQLite's library has them.
var legacy = []uint32{
	unix.SYS_OPEN, unix.SYS_STAT, unix.SYS_LSTAT, unix.SYS_ACCESS, unix.SYS_READLINK, unix.SYS_UNLINK, unix.SYS_MKDIR, unix.SYS_RMDIR,
	unix.SYS_RENAME, unix.SYS_UTIMES, unix.SYS_DUP2, unix.SYS_POLL, unix.SYS_EPOLL_WAIT, unix.SYS_TIME,
}

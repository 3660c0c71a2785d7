package main

import (
	"errors"
	"syscall"
)

// remedies are what to do about what the kernel refuses, whatever it was asked
// for. Nothing has to be cleaned up before the next apply.
var remedies = []struct {
	errno syscall.Errno
	hint  string
}{
	{syscall.ENOSPC, "make room on that file system (\"df\" and \"df -i\" show space and inodes), then apply again: it goes on where this one stopped"},
	{syscall.EDQUOT, "the disk quota of the owner is used up: raise it or make room, then apply again: it goes on where this one stopped"},
	{syscall.EROFS, "that file system is mounted read-only: mount it writable (\"mount -o remount,rw\"), or look in the kernel's log for why it went read-only"},
	{syscall.EACCES, "whoever runs this has no right to it: run it as root, or as the owner of that directory"},
	{syscall.EIO, "the disk does not answer as it should: look in the kernel's log before you go on"},
}

// remedy gives the hint for an error of the kernel's that has none of its own.
func remedy(err error) (string, bool) {
	for _, r := range remedies {
		if errors.Is(err, r.errno) {
			return r.hint, true
		}
	}
	return "", false
}

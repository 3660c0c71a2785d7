package main

import (
	"errors"
	"syscall"
)

// remedies are what to do about what the kernel refuses, whatever it was asked for.
var remedies = []struct {
	errno syscall.Errno
	hint  string
	room  bool // it is room that is missing
}{
	{syscall.ENOSPC, "make room on that file system (\"df\" and \"df -i\" show space and inodes)", true},
	{syscall.EDQUOT, "the disk quota of the owner is used up: raise it or make room", true},
	{syscall.EROFS, "that file system is mounted read-only: mount it writable (\"mount -o remount,rw\"), or look in the kernel's log for why it went read-only", false},
	{syscall.EACCES, "whoever runs this has no right to it: run it as root, or as the owner of that directory", false},
	{syscall.EIO, "the disk does not answer as it should: look in the kernel's log before you go on", false},
}

// remedy gives the hint for an error of the kernel's that has none of its own, "" where
// there is none, and whether it is about room.
func remedy(err error) (hint string, room bool) {
	for _, r := range remedies {
		if errors.Is(err, r.errno) {
			return r.hint, r.room
		}
	}
	return "", false
}

// goesOn adds for whoever applies, and had no room, that nothing has to be cleaned up
// before the next apply.
func goesOn(err error) error {
	if h, room := remedy(err); room && len(hints(err)) == 0 {
		return hint(err, "%s, then apply again: it goes on where this one stopped", h)
	}
	return err
}

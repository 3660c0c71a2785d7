// Command mailstead-deliver puts a message into the Maildir of a user: the one on
// standard input, as a mail server's pipe gives it, or those that come by LMTP to
// a socket of systemd's. pipe.go and lmtp.go have the two; the work is done by
// package deliver.
package main

import (
	"os"
	"syscall"
)

func main() {
	syscall.Umask(0o077)
	os.Exit(run(os.Args[1:], os.Stdin, os.Stderr))
}

// Command mailstead-imapd is the IMAP daemon. It reads the two files that
// mailstead apply writes, and no CUE. verb.go has the table of its verbs, each
// of which has a file of its own; the work is done by package imapserver.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

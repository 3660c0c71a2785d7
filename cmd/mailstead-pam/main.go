// Command mailstead-pam asks PAM whether a login is good: one question at a
// time on stdin, its answer on stdout (handoff.PAMRequest, PAMAnswer). It runs
// beside the daemon because PAM modules block, fork and crash, and because the
// daemon needs no C for it: built without the tag pam, this program is pure Go
// and says of every login that it cannot tell.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

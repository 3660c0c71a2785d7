// Command mailstead is the operator's program: it reads a description of mail
// hosts, shows what would have to change on this one, changes it, and says what
// is served. main.go starts it, root.go lists its commands, and each command
// has a file of its own. It owns no rule about mail or hosts: schema reads,
// reconcile compares and applies, and this package puts words around them.
// Nothing imports it.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

package schema

import (
	"fmt"
	"slices"
	"strings"
)

// besideRun are the sockets beside the directory paths.run, each by what follows that.
var besideRun = []string{"-auth", "-spawn", "-pam", "-outbox", "-import-connect", "-web-admin"}

// checkSockets compares the sockets whose paths are the operator's with each other, and
// with those that Mailstead makes by itself.
func (c *completer) checkSockets() {
	type socket struct {
		spot
		file string
	}
	var all []socket
	if d := c.host.Deliver; d != nil && d.LMTP != nil {
		all = append(all, socket{c.spot.at("deliver", "lmtp", "socket"), d.LMTP.Socket})
	}
	if m := c.host.Metrics; m != nil && m.Socket != "" {
		all = append(all, socket{c.spot.at("metrics", "socket"), m.Socket})
	}
	run := c.host.Paths.Run
	for i, s := range all {
		beside, ok := strings.CutPrefix(s.file, run)
		hint := "name another one, such as " + run + "-" + s.path[len(s.path)-2]
		switch {
		case i > 0 && s.file == all[i-1].file:
			s.faultOfValue(CodeDuplicate, fmt.Sprintf("is that of deliver.lmtp too (%s): %s", all[i-1].pos(), s.file), "give one of them another path")
		case run == "":
		case below(s.file, run):
			s.faultOfValue(CodeUnsafe, "is in "+run+", which is emptied when the daemon stops: "+s.file, hint)
		case ok && slices.Contains(besideRun, beside):
			s.faultOfValue(CodeDuplicate, "is a socket of Mailstead's own: "+s.file, hint)
		}
	}
}

package kind

import "time"

// Host is the machine that the kinds look at and change. Its methods are for
// one goroutine. The zero Host is ready for use; Close it at the end.
type Host struct {
	// Boot says that systemd runs the program while the host comes up, before
	// the daemon: what has yet to be started will be, and is not waited for.
	Boot bool
	// Helper is the command that calls HelperMain; nil is this program's
	// hidden command "as-user".
	Helper []string
	// Patience is what one request to a helper may take; 0 is two minutes.
	Patience time.Duration

	worker   mailWorker         // for mail that is the process's own
	helper   *helper            // the one that runs
	unsynced map[identity]error // owners of mail whose changes may not survive a power cut
	systemd  *systemd
}

// Close ends the helper and the connection to systemd.
func (h *Host) Close() {
	h.drop()
	if h.systemd != nil {
		h.systemd.close()
		h.systemd = nil
	}
}

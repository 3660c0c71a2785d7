package kind

import "mailstead/reconcile"

// Host is the machine that the kinds look at and change. Its methods are for
// one goroutine. The zero Host is ready for use; Close it at the end.
type Host struct {
	// Boot says that systemd runs the program while the host comes up, before
	// the daemon: what has yet to be started will be, and is not waited for.
	Boot bool
	// Helper is the command that calls HelperMain; nil is this program's
	// hidden command "as-user".
	Helper []string

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

// Table lists the kinds in apply order: what others stand in or read comes
// first, what runs comes last. What bears our name or lies in a directory of
// ours is adopted.
func (h *Host) Table() []reconcile.Kind {
	return []reconcile.Kind{
		{Name: "service-user", Observe: each(observeServiceUser), Apply: applyServiceUser, Keep: true},
		{Name: "directory", Observe: each(observeDirectory), Apply: applyDirectory},
		{Name: "mail-directory", Observe: each(observeDirectory), Apply: applyDirectory, Keep: true},
		{Name: "maildir", Observe: h.observeMail, Apply: h.applyMail, Settle: h.settleMail, Keep: true},
		{Name: "folder", Observe: h.observeMail, Apply: h.applyMail, Settle: h.settleMail, Keep: true, Once: true},
		{Name: "certificate", Observe: each(observeCertificate), Apply: applyCertificate, Adopt: true},
		{Name: "password-file", Observe: each(observeFile), Apply: applyFile, Adopt: true},
		{Name: "daemon-config", Observe: each(observeFile), Apply: applyFile, Adopt: true},
		{Name: "pam-service", Observe: each(observeFile), Apply: applyFile, Adopt: true},
		{Name: "deploy-hook", Observe: each(observeFile), Apply: applyFile, Adopt: true},
		{Name: "file", Observe: each(observeFile), Apply: applyFile},
		{Name: "unit", Observe: h.observeUnits, Apply: h.applyUnit, Settle: h.settleUnits, Adopt: true, DeleteFirst: true},
		{Name: "daemon", Observe: each(h.observeDaemon), Apply: h.applyDaemon, Live: true},
	}
}

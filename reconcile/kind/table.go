package kind

import "mailstead/reconcile"

// Table lists the kinds in apply order: what others stand in or read comes
// first, what runs comes last. What bears our name or lies in a directory of
// ours is adopted, unless it does not say that it is ours.
func (h *Host) Table() []reconcile.Kind {
	return []reconcile.Kind{
		{Name: "service-user", Observe: each(observeServiceUser), Apply: applyServiceUser, Keep: true},
		{Name: "directory", Observe: each(observeDirectory), Apply: applyDirectory},
		{Name: "mail-directory", Observe: each(observeDirectory), Apply: applyDirectory, Keep: true},
		{Name: "maildir", Observe: h.observeMail, Apply: h.applyMail, ApplyAll: h.applyMails, Together: "owner", Settle: h.settleMail, In: "mail-directory", Keep: true, Adopt: true},
		{Name: "folder", Observe: h.observeMail, Apply: h.applyMail, ApplyAll: h.applyMails, Together: "owner", Settle: h.settleMail, Keep: true, Once: true},
		{Name: "certificate", Observe: withCopies(each(observeCertificate)), Apply: applyCertificate, HandsOn: true, Adopt: true},
		{Name: "password-file", Observe: each(observeFile), Apply: applyFile, Adopt: true},
		{Name: "daemon-config", Observe: each(observeFile), Apply: applyFile, Adopt: true},
		{Name: "pam-service", Observe: signed(each(observeFile)), Apply: applyFile, Adopt: true},
		{Name: "deploy-hook", Observe: signed(each(observeFile)), Apply: applyFile, Adopt: true},
		{Name: "file", Observe: signed(each(observeFile)), Apply: applyFile},
		{Name: "unit", Observe: signed(h.observeUnits), Apply: h.applyUnit, Settle: h.settleUnits, Adopt: true, DeleteFirst: true},
		{Name: "daemon", Observe: each(h.observeDaemon), Apply: h.applyDaemon, Live: true},
	}
}

// Package target is the host that a plan is for: Gather says what is known of
// it before anything is compared. For now that is the machine that the program
// runs on. It is called by cmd; it must not import schema, so the caller says
// what to look for.
package target

import (
	"context"
	"os"

	"mailstead/reconcile"
	"mailstead/reconcile/kind"
)

// Request says what to look for.
type Request struct {
	Accounts     []string               // system accounts: users that log in, the service user, the owner of virtual mail
	Certificates []kind.CertificateSpec // by Name
	Bin          string                 // directory of our programs
}

// Gather looks at the host. It writes nothing and works without root.
func Gather(ctx context.Context, req Request) (reconcile.Facts, error) {
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return reconcile.Facts{}, err
	}
	group, err := os.ReadFile("/etc/group")
	if err != nil {
		return reconcile.Facts{}, err
	}
	return reconcile.Facts{
		Root: os.Geteuid() == 0, UID: os.Geteuid(), GID: os.Getegid(),
		FreeIDs: freeIDs(string(passwd), string(group), len(req.Accounts)),
	}, ctx.Err()
}

// Package target is the host that a plan is for: Gather says what is known of
// it before anything is compared, on the machine that the program runs on; SSH
// reaches a mailstead on another one, and Reader and Write are what the two say
// to each other. It is called by cmd; it must not import schema, so the caller
// says what to look for.
package target

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"mailstead/reconcile"
	"mailstead/reconcile/kind"
)

// Request says what to look for.
type Request struct {
	Accounts     []string               // system accounts: users that log in, the service user, the owner of virtual mail
	Certificates []kind.CertificateSpec // by Name
	Bin          string                 // directory of our programs
	PAM          []byte                 // what the file of our PAM service is to say; nil: nobody logs in through PAM
}

// Gather looks at the host. It writes nothing and works without root: what it
// may not look at is in the facts as such.
func Gather(ctx context.Context, req Request) (reconcile.Facts, error) {
	f := reconcile.Facts{
		Root:         os.Geteuid() == 0,
		UID:          os.Geteuid(),
		GID:          os.Getegid(),
		Accounts:     make(map[string]reconcile.Account),
		Certificates: make(map[string]reconcile.Certificate),
		PAMHelper:    hasPAM(ctx, filepath.Join(req.Bin, "mailstead-pam")),
		PAMAskers:    PAMAskers(os.DirFS("/"), "", req.PAM),
		Program:      digest(filepath.Join(req.Bin, "mailstead-imapd")),
	}
	var err error
	if f.Hostname, err = os.Hostname(); err != nil {
		return f, fmt.Errorf("gather facts: %w", err)
	}
	if f.FreeIDs, err = readFreeIDs(len(req.Accounts)); err != nil {
		return f, fmt.Errorf("gather facts: %w", err)
	}
	var h kind.Host
	defer h.Close()
	if f.Systemd, err = h.SystemdVersion(ctx); err != nil {
		return f, fmt.Errorf("gather facts: %w", err)
	}
	for _, name := range req.Accounts {
		a, ok, err := kind.LookupAccount(ctx, name)
		if err != nil {
			return f, fmt.Errorf("gather facts: %w", err)
		}
		if ok {
			f.Accounts[name] = a
		}
	}
	for _, c := range req.Certificates {
		f.Certificates[c.Name] = kind.ReadCertificate(ctx, c)
	}
	return f, ctx.Err()
}

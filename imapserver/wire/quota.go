package wire

import (
	"math"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// The commands about quota (RFC 9208 §4.1). Names of roots are octets.
type (
	// GetQuota is GETQUOTA.
	GetQuota struct{ Root string }
	// GetQuotaRoot is GETQUOTAROOT.
	GetQuotaRoot struct{ Mailbox string }
	// SetQuota is SETQUOTA.
	SetQuota struct {
		Root   string
		Limits []QuotaLimit
	}
	// QuotaLimit is the limit of a resource, in its units.
	QuotaLimit struct {
		Resource imap.QuotaResourceType // in capitals; maybe one that there is not
		Limit    int64
	}
)

// Capabilities of resources (RFC 9208 §3.1.1).
const (
	CapQuotaStorage imap.Cap = "QUOTA=RES-STORAGE"
	CapQuotaMessage imap.Cap = "QUOTA=RES-MESSAGE"
)

// StorageUnit is the unit of STORAGE, in octets (RFC 9208 §5.1).
const StorageUnit = 1024

func parseGetQuota(d *decoder) Command     { return &GetQuota{d.spRoot()} }
func parseGetQuotaRoot(d *decoder) Command { return &GetQuotaRoot{d.spMailbox()} }

// parseSetQuota reads SETQUOTA (RFC 9208 §4.1.3).
func parseSetQuota(d *decoder) Command {
	c := &SetQuota{Root: d.spRoot()}
	d.expectSP()
	d.list(func() {
		l := QuotaLimit{Resource: imap.QuotaResourceType(strings.ToUpper(d.expectAtom("resource")))}
		d.expectSP()
		l.Limit = int64(d.expectNumber(math.MaxInt64))
		c.Limits = append(c.Limits, l)
	})
	return c
}

func (d *decoder) spRoot() string {
	d.expectSP()
	return d.expectAString("quota root")
}

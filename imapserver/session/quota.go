package session

import (
	"context"
	"errors"
	"math"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// quotaRoot is the one quota root of a user: all of their mail counts together.
// It has the name that Courier gives it.
const quotaRoot = "ROOT"

var errNoRoot = no(imap.ResponseCodeNonExistent, "no such quota root")

// getQuota is GETQUOTA (RFC 9208 §4.1.1).
func (s *session) getQuota(c *wire.GetQuota) (imap.ResponseCode, error) {
	if c.Root != quotaRoot {
		return "", errNoRoot
	}
	return "", s.writeQuota()
}

// getQuotaRoot is GETQUOTAROOT (RFC 9208 §4.1.2). How much mail others have is
// not told: their mailboxes have no root here, though what is put there counts.
func (s *session) getQuotaRoot(ctx context.Context, c *wire.GetQuotaRoot) (imap.ResponseCode, error) {
	return "", s.at(ctx, c.Mailbox, func(p place) error {
		if !p.own && !p.account.Exists(ctx, p.name) {
			return store.ErrNotFound // as where it may not be seen
		}
		_, _, err := s.Account.Quota()
		rooted := p.own && err == nil
		if err != nil && !errors.Is(err, store.ErrNoQuota) {
			return err
		}
		s.w.Raw("* QUOTAROOT ")
		s.w.Mailbox(shown(c.Mailbox))
		if !rooted {
			s.w.CRLF()
			return nil
		}
		s.w.Raw(" ")
		s.w.String(quotaRoot)
		s.w.CRLF()
		return s.writeQuota()
	})
}

// writeQuota writes the QUOTA response (RFC 9208 §4.2.1), of the resources that
// have a limit.
func (s *session) writeQuota() error {
	limits, used, err := s.Account.Quota()
	if errors.Is(err, store.ErrNoQuota) {
		return errNoRoot
	}
	if err != nil {
		return err
	}
	s.w.Raw("* QUOTA ")
	s.w.String(quotaRoot)
	s.w.Raw(" (")
	space := ""
	resource := func(name imap.QuotaResourceType, used, limit int64) {
		s.w.Raw(space + string(name) + " ")
		s.w.Number(uint64(used))
		s.w.Raw(" ")
		s.w.Number(uint64(limit))
		space = " "
	}
	if limits.Octets > 0 {
		resource(imap.QuotaResourceStorage, storageUnits(used.Octets), storageUnits(limits.Octets))
	}
	if limits.Messages > 0 {
		resource(imap.QuotaResourceMessage, used.Messages, limits.Messages)
	}
	s.w.Raw(")\r\n")
	return nil
}

// storageUnits rounds up, as Courier does.
func storageUnits(octets int64) int64 { return (octets + wire.StorageUnit - 1) / wire.StorageUnit }

// setQuota is SETQUOTA (RFC 9208 §4.1.3), for those who may. A resource that is
// not named has no limit any more.
func (s *session) setQuota(c *wire.SetQuota) (imap.ResponseCode, error) {
	if c.Root != quotaRoot {
		return "", errNoRoot
	}
	if !s.MaySetQuota {
		return "", no(imap.ResponseCodeNoPerm, "the quota is not yours to set")
	}
	var limits store.Limits
	for _, l := range c.Limits {
		switch {
		case l.Limit == 0, l.Limit > math.MaxInt64/wire.StorageUnit:
			return "", no(imap.ResponseCodeCannot, "no such limit can be kept")
		case l.Resource == imap.QuotaResourceStorage:
			limits.Octets = l.Limit * wire.StorageUnit
		case l.Resource == imap.QuotaResourceMessage:
			limits.Messages = l.Limit
		default:
			return "", no(imap.ResponseCodeCannot, "no such resource is limited here")
		}
	}
	if err := s.Account.SetQuota(limits); err != nil {
		return "", err
	}
	if err := s.writeQuota(); !errors.Is(err, errNoRoot) {
		return "", err
	}
	return "", nil
}

// warnQuota tells when a mailbox is selected that there is more mail than there
// may be, by what others have delivered (RFC 9208 §4.3.1).
func (s *session) warnQuota() {
	limits, used, err := s.Account.Quota()
	if err == nil && !limits.Allow(used) && !s.off(imap.CapQuota) {
		s.w.Status("*", imap.StatusResponseTypeNo, imap.ResponseCodeOverQuota, "there is more mail than the quota allows")
	}
}

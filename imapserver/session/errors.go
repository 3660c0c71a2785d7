package session

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/sys/unix"

	"mailstead/imapserver/store"
)

// answers is how the store's errors are told (RFC 5530 has the codes).
var answers = []struct {
	err  error
	code imap.ResponseCode
	text string
}{
	{store.ErrNotFound, imap.ResponseCodeNonExistent, "no such mailbox"},
	{store.ErrExists, imap.ResponseCodeAlreadyExists, "mailbox exists already"},
	{store.ErrName, imap.ResponseCodeCannot, "this mailbox name cannot be used"},
	{store.ErrInbox, imap.ResponseCodeCannot, "not possible with INBOX"},
	{store.ErrChildren, imap.ResponseCodeHasChildren, "mailbox has inferior names"},
	{store.ErrKeywords, imap.ResponseCodeLimit, "too many keywords, or one too long"},
	{store.ErrExpunged, codeExpungeIssued, "some of the messages have been expunged"},
	{store.ErrOverQuota, imap.ResponseCodeOverQuota, "quota exceeded"},
	{store.ErrNoSpace, imap.ResponseCodeOverQuota, "no space left"}, // as Dovecot has it
	{unix.ENOSPC, imap.ResponseCodeOverQuota, "no space left"},
	{unix.EDQUOT, imap.ResponseCodeOverQuota, "no space left"},
	{store.ErrDisk, imap.ResponseCodeUnavailable, diskText},
	{unix.EIO, imap.ResponseCodeUnavailable, diskText},
	{unix.EROFS, imap.ResponseCodeUnavailable, diskText},
	{store.ErrAnnotations, "METADATA TOOMANY", "too many annotations"},
	{store.ErrACL, imap.ResponseCodeLimit, "too many rights, or an identifier too long"},
	{store.ErrSubscriptions, imap.ResponseCodeLimit, "too many subscriptions; unsubscribe from others first"},
	{store.ErrUse, codeUseAttr, "the mailbox cannot have this special use"},
	{store.ErrReadOnly, imap.ResponseCodeCannot, "mailbox is open read-only"},
}

const diskText = "the disk with this mail cannot be used now, try again later"

// Codes that go-imap does not name.
const (
	codeExpungeIssued imap.ResponseCode = "EXPUNGEISSUED" // RFC 5530 §3
	codeReadWrite     imap.ResponseCode = "READ-WRITE"
	codeReadOnly      imap.ResponseCode = "READ-ONLY"
	codeClosed        imap.ResponseCode = "CLOSED" // RFC 7162 §3.2.11
)

// convert makes of an error what the client is told. It is the one place that
// does: what is not known to be safe to tell goes into the log under an id.
func (s *session) convert(command string, err error) *imap.Error {
	var e *imap.Error
	if errors.As(err, &e) {
		return e
	}
	for _, a := range answers {
		if errors.Is(err, a.err) {
			s.Account.Trouble(err)
			return no(a.code, a.text)
		}
	}
	if errors.Is(err, context.Canceled) {
		return no(imap.ResponseCodeUnavailable, "server is stopping")
	}
	return s.serverBug(command, err)
}

// serverBug logs an error and gives the client the id that finds it.
func (s *session) serverBug(command string, err error) *imap.Error {
	id := errorID()
	s.Log.Error("command failed", "id", id, "user", s.User, "command", command, "err", err)
	return no(imap.ResponseCodeServerBug, "internal error "+id)
}

func no(code imap.ResponseCode, text string) *imap.Error {
	return &imap.Error{Type: imap.StatusResponseTypeNo, Code: code, Text: text}
}

func bad(text string) *imap.Error {
	return &imap.Error{Type: imap.StatusResponseTypeBad, Text: text}
}

// errorID names an occurrence in the log to the client.
func errorID() string { return rand.Text()[:10] }

// tryCreate tells that the destination is missing by the code for it
// (RFC 9051 §6.3.12).
func tryCreate(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return no(imap.ResponseCodeTryCreate, "no such mailbox")
	}
	return err
}

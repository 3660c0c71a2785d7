package session

import "github.com/emersion/go-imap/v2"

// rev2 tells whether the client has enabled IMAP4rev2 (RFC 9051). What it changes:
// names and strings are UTF-8; SEARCH is answered by ESEARCH; SELECT tells the
// name, and RENAME the old one; there is no RECENT, no \Recent and no UNSEEN
// code. What was taken out of the protocol (CHECK, LSUB, RFC822, the search keys
// NEW, OLD and RECENT) is understood on.
func (s *session) rev2() bool { return s.on(imap.CapIMAP4rev2) }

// Package lmtp takes mail from the mail servers of the host by LMTP (RFC 2033) and
// has it delivered under the uid of whoever owns the mailbox. Three sorts of
// process do it, each a start of the same program:
//
//	mail server ──> front    LMTP; no privilege, and no file but a spool without a name
//	                  │   │
//	          address │   │ message, over a socket pair
//	                  v   v
//	              Parent  worker (uid U)   deliver.Deliver
//	              finds the user, and starts workers by package spawn
//
// The parent may become users, so it reads nothing of what comes by LMTP but
// addresses. cmd/mailstead-deliver runs all three.
package lmtp

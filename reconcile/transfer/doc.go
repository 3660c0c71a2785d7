// Package transfer brings the mail of an account in from elsewhere: from an IMAP
// server, a Maildir or mbox files (Source) into the sessions of a user of this
// host (Target), message by message, and remembers in a Journal which message of
// the source has become which of ours. It may end at any point and goes on from
// there; nothing is brought twice, and nothing is changed at the source.
//
// cmd/mailstead calls it, as the user whose mail it is. It must not import
// anything of the daemon but maildir: what it writes goes through a session, so
// that quota, index and clients are told as of any other message.
package transfer

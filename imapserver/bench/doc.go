// Package bench measures the daemon beside Debian's Dovecot and Courier-IMAP:
// each serves its own copy of the same generated Maildirs, they take turns, and
// the answer is a table of medians and of our share of Dovecot's time.
//
//	MAILSTEAD_BENCH=1 go test -v -count=1 -run Bench -timeout 2h ./imapserver/bench
//
// MAILSTEAD_BENCH names cases by a regular expression where it is not 1. It
// needs root and dovecot-imapd; Courier takes part where MAILSTEAD_E2E=1 and
// .ci/lab has made one. The mail is kept in MAILSTEAD_BENCH_DIR, by default
// mailstead-bench in the directory for temporary files.
//
// This package holds the messages and the client. The cases and the servers
// are its tests.
package bench

// Package siege has hostile clients at a daemon that runs in earnest: a started
// mailstead-imapd on loopback. It is for tests only. They count what is refused,
// what is held and what a client with a password is denied meanwhile; nothing
// fails because a machine is slow. MAILSTEAD_SIEGE=1 has the numbers of clients
// that DESIGN.md's table of threats has, in place of a tenth of them or less.
//
// Nothing imports it.
package siege

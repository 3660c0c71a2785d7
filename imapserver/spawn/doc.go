// Package spawn is the only part of the daemon that uses privileges. For auth, and
// nobody else, it starts this very program again as another user, with no
// supplementary group, no capability and no way to gain any, and hands workers the
// sessions of their uid. A uid below MinUID is refused whatever auth says. Where
// all mail has the uid that spawn has itself, it needs no privilege.
//
// `mailstead-imapd spawn` runs it, through the root package; it imports handoff alone.
package spawn

// Package spawn is the only part of the daemon that uses privileges. It starts
// this very program again as another user, with no supplementary group, no
// capability and no way to gain any, and hands workers the sessions of their
// uid. Who may have which uid is decided by the caller, from files that only
// root can write; a uid below MinUID is refused here whatever it says.
//
// The supervisor of the root package calls it; it imports handoff alone.
package spawn

// Package proxy is a listener that stands in front of other IMAP servers. Before
// the login it is the login package's: TLS, limits and the parser are the same. The
// password is checked by the server behind, at which the proxy logs in; from then on
// it passes octets on in both directions, and reads along:
//
//	client --login--> Check: a kept connection of that user, or a new one --> server
//	       <--serve-- Begin: session, which copies                        --> server
//	                  LOGOUT: what the session has left behind is undone, and the
//	                  connection is kept for the next login of the same user
//
// A connection is kept only by who has read all of it: each command is one of a
// table that says what it leaves behind, every command has been answered, and the
// server has shown that nothing is selected any more. Everything else is closed.
//
// The root package makes it auth's Remote and login's Host, and says how it connects:
// where login is a process of its own, auth does. It imports, of the project, config,
// handoff, limit and control, and opens no file.
package proxy

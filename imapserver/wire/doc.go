// Package wire is IMAP's grammar (RFC 3501, RFC 9051): octets in, typed
// commands out (Reader), responses in, octets out (Writer), and the tables that
// say what the server can do. A command is parsed completely before anyone
// executes it; only the messages of APPEND are left unread, as Literals.
//
// The tables are where an extension starts: a row of capabilities, rows of
// commands, of fetch items, of search keys, of STATUS items, and the functions
// that parse them.
//
// The login and session packages call it, message and search use its strings
// and search keys. It imports nothing of the project: it knows no mailbox and
// no message, only their syntax.
package wire

// Package dialogue runs protocol scripts: what several connections send, and
// exactly what they are answered. It owns the form of the scripts and the
// servers that they run against: Mailstead's in this process, and a real
// Dovecot beside it, to show that a script asks for what IMAP says and not for
// what our server happens to do. It is for tests alone; external test packages
// import it, and nothing else may.
//
// # Scripts
//
// A script is a text of lines, in testdata/NAME.imap. It starts with comments
// that say what it shows; of those, some are read:
//
//	# covers: IDLE UIDPLUS     the capabilities that the script shows
//	# requires: MOVE           skipped on a server without these capabilities
//	# only: mailstead          run on this server alone, for the reason given beside it
//	# namespace: INBOX.        the personal namespace's prefix; none by default
//	# off: ENABLE              capabilities that are switched off for the user
//	# quota: 5000 10 set       octets and messages that the user may have; "set": and may set
//	# expunge: trash           what the user expunges goes into the trash
//	# elsewhere: imap://a@b/   where the user's mail is, if not here
//	# verifier: of all users  SCRAM is offered
//	# users: bob a@b.c         other users, who may share their mail; "bob/Team" is a
//	                           folder of bob's where one is named, and $bob his name
//
// Empty lines and other comments are for the reader. A line that begins with
// "@dovecot " or "@mailstead " counts on that server alone.
//
// # What is said
//
// "C2: text" is a line that connection 2 sends, and "S2: text" the next response
// that it receives; "C:" and "S:" are connection 1. Sending does not wait: two
// C lines in a row are a pipeline.
//
//	C: a NOOP
//	S: a OK ...
//
// Lines with U are a block of responses in any order; with "U: ..." in it,
// there may be other untagged ones too, but none that an N line names. A block ends
// at the response of the S line after it; without one, when all of it has come.
//
//	C: b SELECT INBOX
//	U: * 2 EXISTS
//	N: * OK [UNSEEN ...] ...
//	U: ...
//	S: b OK [READ-WRITE] ...
//
// "R: "a " "b"*1000" sends what Go strings say, the second a thousand times,
// without a line break.
//
// A connection is made when it is first named, without TLS, and logged in. The
// line "connect 1" makes it without the login and the greeting; "connect 1
// starttls" does so at a listener that has STARTTLS and refuses to log in without it,
// "connect 1 tls" with TLS from the start. "starttls 1" does the handshake, "eof 1" waits until
// the server closes the connection, "close 1" closes it. "deflate 1" has all that follows on it compressed.
//
// # What is compared
//
// Responses are compared by their meaning: a literal and a quoted string are
// one, written "like \"this\"\r\n"; flags, mailbox attributes, capabilities, and the items of
// FETCH, STATUS and ESEARCH have no order. What else is there is exact. In what is
// expected,
//
//	...       stands for any text in a word or string, and alone for any number of words
//	$name     is any word where it stands first, and then the same word
//	{{hello}} is the message of that name
//
// "differ a b" wants $a and $b to be two words. "as 2 bob" has bob log in on connection 2.
//
// What is sent may hold $name too; {{hello}} there is a literal, sent after
// the server's "+", and {{hello+}} one that does not wait for it. {{"a\r\n"}} and
// {{"a\r\n"+}} are literals of a Go string. "$$" is a dollar sign in both.
// Known from the start are $user and $password, $user64 and $password64 in base64, and $plain,
// the response of SASL PLAIN; and $hello_size of a message.
//
// # What lies there
//
//	message hello              defines a message: the lines that follow with "| "
//	mkdir Archive.2024         makes a folder in the Maildir
//	deliver INBOX hello        a mail server puts the message into new/
//	put INBOX hello FS         the message lies in cur/ with these Maildir flags
//	remove INBOX hello         another program unlinks that message's file
//	flags INBOX hello FS       another program renames it to have these flags, "-" for none
//	use sent Sent              gives a folder its special use
//
// "deliver" and "put" take a time, which is the message's internal date, as a
// last word: 2024-05-06T07:08:09Z. The Maildir may be changed at any place of a script.
package dialogue

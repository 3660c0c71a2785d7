package proxy

import (
	"bytes"
	"slices"
	"strings"
)

// effect is what a command leaves behind on the connection.
type effect int

const (
	spoils   effect = iota // something that cannot be undone, or what is not known here
	none                   // nothing
	selects                // a mailbox
	deselect               // no mailbox, if it is done
	notifies               // a wish to be told (RFC 5465)
	idles                  // it goes on until DONE
	leaves                 // the client wants to go
	veils                  // what follows cannot be read along
	refused                // it would take the connection from who it is for, or end TLS at the wrong place
)

// commands is what is known of the commands of clients. What is not in it spoils a
// connection for others than who has it.
var commands = map[string]effect{
	"CAPABILITY": none, "NOOP": none, "CHECK": none, "ID": none, "NAMESPACE": none,
	"CREATE": none, "DELETE": none, "RENAME": none, "SUBSCRIBE": none, "UNSUBSCRIBE": none,
	"LIST": none, "LSUB": none, "RLIST": none, "RLSUB": none, "XLIST": none, "STATUS": none,
	"APPEND": none, "EXPUNGE": none, "SEARCH": none, "FETCH": none, "STORE": none,
	"COPY": none, "MOVE": none, "REPLACE": none, "UID": none, "SORT": none, "THREAD": none,
	"ESEARCH": none, "CANCELUPDATE": none,
	"GETQUOTA": none, "GETQUOTAROOT": none, "SETQUOTA": none,
	"GETACL": none, "SETACL": none, "DELETEACL": none, "LISTRIGHTS": none, "MYRIGHTS": none,
	"GETMETADATA": none, "SETMETADATA": none, "GETANNOTATION": none, "SETANNOTATION": none,
	"GENURLAUTH": none, "URLFETCH": none, "RESETKEY": none,

	"SELECT": selects, "EXAMINE": selects,
	"CLOSE": deselect, "UNSELECT": deselect,
	"NOTIFY":   notifies,
	"IDLE":     idles,
	"LOGOUT":   leaves,
	"COMPRESS": veils,

	// ENABLE cannot be undone (RFC 5161 §3.1); it is here so that it is not thought forgotten.
	"ENABLE": spoils,

	"STARTTLS": refused, "LOGIN": refused, "AUTHENTICATE": refused, "UNAUTHENTICATE": refused,
}

// enabling are words by which other commands enable CONDSTORE for good
// (RFC 7162 §3.1), if they stand anywhere in a line.
var enabling = [][]byte{[]byte("CONDSTORE"), []byte("MODSEQ"), []byte("CHANGEDSINCE"), []byte("QRESYNC")}

// parseCommand takes tag, word and effect from the beginning of a command; ok is
// false where there are none, or where piece ends before the word does.
func parseCommand(piece []byte) (tag, word string, e effect, ok bool) {
	line := strings.TrimRight(string(piece), "\r\n")
	tag, rest, _ := strings.Cut(line, " ")
	word, _, more := strings.Cut(rest, " ")
	if tag == "" || word == "" || strings.ContainsAny(tag, "\r*+\x00") || strings.ContainsFunc(word, odd) || !more && len(line) == len(piece) {
		return "", "", spoils, false
	}
	word = strings.ToUpper(word)
	return tag, word, commands[word], true
}

// odd tells whether no command has a character, though some server may take it for another.
func odd(c rune) bool { return c <= ' ' || c >= 0x7f }

// enables tells whether a piece of a command has a word that does.
func enables(piece []byte) bool {
	upper := bytes.ToUpper(piece)
	for _, word := range enabling {
		if bytes.Contains(upper, word) {
			return true
		}
	}
	return false
}

// unheard is the name of a command that no server knows.
const unheard = "XNOTBEHINDAPROXY"

// renamed gives a command under that name: the answer comes from where all others do,
// in its turn.
func renamed(piece []byte, tag, word string) []byte {
	rest := piece[len(tag)+1+len(word):]
	return append([]byte(tag+" "+unheard), rest...)
}

// defused gives what is no command so that it is none for any server. The answer has
// its tag, where it has one; answered says so.
func defused(piece []byte) (none []byte, answered bool) {
	n := bytes.IndexAny(piece, " \r\n")
	switch {
	case len(bytes.TrimRight(piece, "\r\n")) == 0:
		return piece, false
	case n > 0 && !bytes.ContainsFunc(piece[:n], notOfTag):
		return slices.Concat(piece[:n], []byte(" "+unheard), piece[n:]), true
	}
	return append([]byte("* "+unheard+" "), piece...), false
}

// notOfTag tells whether no tag has a character (RFC 9051 §9).
func notOfTag(c rune) bool { return odd(c) || strings.ContainsRune(`(){%*"\+`, c) }

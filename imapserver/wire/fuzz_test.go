package wire

import (
	"errors"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/oracle"
)

// FuzzReadCommand feeds whole connections. Whatever comes, the Reader ends with
// the input, holds to its limits and answers with its own words only.
func FuzzReadCommand(f *testing.F) {
	for _, s := range []string{
		"a LOGIN {5+}\r\nalice {3}\r\np w\r\n",
		"a AUTHENTICATE PLAIN AGEAYg==\r\n",
		"a ID (\"name\" NIL)\r\nb STARTTLS\r\n",
		"a SETACL x -bob +cd\r\na LISTRIGHTS x bob\r\na SETMETADATA x (/private/a ~{2+}\r\n\x00y /shared/b NIL)\r\na GETMETADATA x (DEPTH 1 MAXSIZE 5) (/shared)\r\n",
		"a APPEND x (\\Seen) \" 1-Feb-2026 03:04:05 +0100\" {5+}\r\nhello\r\nb APPEND x UTF8 (~{3}\r\nabc)\r\n",
		"a LIST (SUBSCRIBED) \"\" (a% *b) RETURN (STATUS (UNSEEN))\r\n",
		"a UID FETCH 1:*,3 (UID BODY.PEEK[1.2.HEADER.FIELDS (A \"B\")]<0.5>)\r\n",
		"a SEARCH RETURN (MIN) CHARSET UTF-8 OR (FROM \"x\" NOT 1:*) SINCE 1-Feb-2026\r\n",
		"a SORT RETURN (PARTIAL -1:-5 SAVE) (REVERSE DATE DISPLAYTO) UTF-8 FUZZY $ OLDER 5\r\nb UID THREAD REFS UTF-8 UID $\r\nc CANCELUPDATE \"a\" b\r\n",
		"a ESEARCH IN (selected subtree-one (a b) mailboxes c) RETURN (UPDATE CONTEXT) YOUNGER 1\r\nb UID FETCH $ UID (PARTIAL 1:2)\r\n",
		"a STORE 1 -FLAGS.SILENT (\\Deleted x)\r\nb UID MOVE 4:* &APw-\r\nc IDLE\r\n",
		"a APPEND x ~{3+}\r\na\x00b (\\Seen) {1+}\r\nx CATENATE (URL \"/x\" TEXT {2+}\r\nab URL {1+}\r\n/)\r\n",
		"a FROB {3+}\r\nabc {1+}\r\nx\r\nb NOOP\r\n",
		"a SELECT x (CONDSTORE QRESYNC (1 2 3:4,9 (1:2 3:4)))\r\nb UID FETCH 1 FLAGS (CHANGEDSINCE 5 VANISHED)\r\n",
		"a STORE 1 (UNCHANGEDSINCE 0) FLAGS ()\r\nb SEARCH MODSEQ \"/flags/x\" all 1\r\nc ENABLE CONDSTORE\r\nd UNAUTHENTICATE\r\n",
		"a STATUS \"a\\\"b\" (SIZE)\r\nb UID EXPUNGE *\r\n",
	} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, s string, utf8 bool) {
		oracle.Cost(t, len(s), func() { readCommands(t, s, utf8) })
	})
}

// readCommands reads a connection to its end.
func readCommands(t *testing.T, s string, utf8 bool) {
	limits := PostAuth
	limits.Literal, limits.Message, limits.Discard = 1<<10, 1<<10, 1<<12
	var out strings.Builder
	r := NewReader(strings.NewReader(s), NewWriter(&out), &limits)
	if utf8 {
		r.SetUTF8()
	}
	for n := 0; ; n++ {
		if n > len(s) {
			t.Fatal("more commands than octets")
		}
		req, err := r.ReadCommand(anyState)
		var e *imap.Error
		if err != nil && !errors.As(err, &e) {
			break
		}
		if err == nil && (req.Row == nil || req.Command == nil || req.Tag == "") {
			t.Fatalf("no error and no command: %+v", req)
		}
		if a, ok := req.Command.(*Append); ok && err == nil && n%3 > 0 {
			readAppend(a)
		}
	}
	r.w.Flush()
	if strings.ReplaceAll(out.String(), "+ go ahead\r\n", "") != "" {
		t.Fatalf("the Reader said %q", out.String())
	}
}

package oracle

import (
	"strings"
	"testing"
	"time"
)

// TestResponses has responses that a client can read, and some that it cannot.
func TestResponses(t *testing.T) {
	for in, ok := range map[string]bool{
		"* OK [CAPABILITY IMAP4rev1 ID] ready\r\na1 BAD no\r\n+ go\r\n": true,
		"* 1 FETCH (FLAGS (\\Seen x) UID 4 INTERNALDATE \" 1-Feb-2026 03:04:05 +0100\" MODSEQ (5) BODY[1.HEADER.FIELDS (A \"B\")]<0> {3}\r\n\r\n) BODY[] \"\\\"\")\r\n":  true,
		"* 2 FETCH (BINARY[1] ~{1}\r\n\x00 BINARY.SIZE[] 0 PREVIEW NIL EMAILID (M1) THREADID NIL SAVEDATE NIL)\r\n":                                                      true,
		"* LIST (\\HasChildren) \".\" \"ü\" (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n* LSUB () \".\" x\r\n* STATUS \"x\" (MESSAGES 0 MAILBOXID (F1))\r\n":                     true,
		"* ESEARCH (TAG \"a\" MAILBOX \"x\" UIDVALIDITY 1) UID MIN 1 COUNT 0 ALL 1:2,4 PARTIAL (-1:-5 NIL) RELEVANCY (1 100) ADDTO (0 1:2)\r\n* ESEARCH (TAG \"a\")\r\n": true,
		"* SEARCH\r\n* SEARCH 1 2 (MODSEQ 3)\r\n* SORT 2\r\n* THREAD (1 2 (3)(4 5))((6)(7))\r\n* THREAD\r\n* VANISHED (EARLIER) 1:3\r\n":                                 true,
		"* METADATA \"\" (/shared/admin \"x\" /private/x ~{1}\r\n\x00)\r\n* METADATA INBOX /shared/comment\r\n* QUOTA \"r\" (STORAGE 1 2)\r\n":                           true,
		"* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL\r\n* ACL x a lrs\r\n* 0 EXISTS\r\n* 3 UIDFETCH (UID 3)\r\n* ENABLED\r\n":                                               true,
		"* OK\r\n":                                      false,
		"* OK [FROB] x\r\n":                             false,
		"* OK [UIDNEXT] x\r\n":                          false,
		"* OK [UIDNEXT 0] x\r\n":                        false,
		"* OK [ALERT x] x\r\n":                          false,
		"* OK caf\xe9\r\n":                              false,
		"* OK x\n":                                      false,
		"a FROB x\r\n":                                  false,
		"* x\r\n":                                       false,
		"hello\r\n":                                     false,
		"* 1 FETCH (FLAGS (\\Seen)\r\n":                 false,
		"* 1 FETCH (FLAGS (x y\") UID 1)\r\n":           false,
		"* 0 FETCH (UID 1)\r\n":                         false,
		"* 1 FETCH ()\r\n":                              false,
		"* 1 FETCH (BODY[] {9}\r\nabc)\r\n":             false,
		"* 1 FETCH (BODY[] {1}\r\n\x00)\r\n":            false,
		"* 1 FETCH (BODY[] ~{1}\r\n\x00)\r\n":           false,
		"* 1 FETCH (BODY[] \"a\r\n\")\r\n":              false,
		"* 1 FETCH (BODY[] \"\\a\")\r\n":                false,
		"* 1 FETCH (INTERNALDATE \"1-Feb-2026\")\r\n":   false,
		"* 1 FETCH (UID 1) x\r\n":                       false,
		"* LIST (\\A) \"..\" x\r\n":                     false,
		"* LIST (A) \".\" x\r\n":                        false,
		"* STATUS x (FROB 1)\r\n":                       false,
		"* SEARCH 01\r\n":                               false,
		"* VANISHED 1:*\r\n":                            false,
		"* CAPABILITY ID\r\n":                           false,
		"* METADATA \"\" (/other \"x\")\r\n":            false,
		"* ESEARCH (TAG \"a\") FROB 1\r\n":              false,
		"* THREAD (1 (2)\r\n":                           false,
		"+\r\n":                                         false,
		"* OK one\r\n* OK [INPROGRESS (\"a\" 1)] x\r\n": false,
	} {
		if err := Responses([]byte(in)); (err == nil) != ok {
			t.Errorf("%q: %v", in, err)
		}
	}
	if tags := Tags([]byte("* OK x\r\na1 OK x\r\nb NO [ALERT] y\r\n")); strings.Join(tags, " ") != "a1 b" {
		t.Errorf("tags %q", tags)
	}
	if Echoes([]byte("a1 BAD no a1 here\r\n"), "a1") == nil || Echoes([]byte("a1 NO [BADURL x] no\r\n* 1 EXISTS\r\n"), "a1") != nil {
		t.Error("what is repeated")
	}
}

// spent is what keeps the compiler from taking the work away.
var spent [][]byte

// noted is a test that fails.
type noted struct{ failed bool }

func (n *noted) Helper()               {}
func (n *noted) Fatalf(string, ...any) { n.failed = true }

// TestCost tells what is too much from what is not.
func TestCost(t *testing.T) {
	turn := func(n int) func() {
		return func() {
			for x, i := ThreadTime(), 0; ThreadTime()-x < maxTime*time.Duration(n); i++ {
			}
		}
	}
	fill := func(n int) func() {
		return func() {
			for spent = nil; len(spent) < n; {
				spent = append(spent, make([]byte, 1<<20))
			}
		}
	}
	for name, c := range map[string]struct {
		n    int
		f    func()
		fail bool
	}{
		"nothing":           {0, func() {}, false},
		"too long":          {10, turn(slow * 2), true},
		"long for much":     {perInput * 4, turn(slow * 2), false},
		"too large":         {10, fill(24), true},
		"large, and enough": {perInput * 4, fill(24), false},
	} {
		var have noted
		Cost(&have, c.n, c.f)
		if have.failed != c.fail {
			t.Errorf("%s: failed is %v", name, have.failed)
		}
	}
}

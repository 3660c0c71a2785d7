package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// client is what a Reader reads in a test, and what the server said meanwhile.
type client struct {
	*Reader
	out bytes.Buffer
}

func newClient(input string, limits *Limits) *client {
	c := &client{}
	c.Reader = NewReader(strings.NewReader(input), NewWriter(&c.out), limits)
	return c
}

// said gives what the server wrote since the last call.
func (c *client) said() string {
	c.w.Flush()
	s := c.out.String()
	c.out.Reset()
	return s
}

var opaque = cmpopts.IgnoreUnexported(Literal{}, Append{}, AppendMessage{})

func ptr[T any](v T) *T { return &v }

func key(k SearchKey) *Search { return &Search{Key: k} }

func TestReadCommand(t *testing.T) {
	section := func(name string, s imap.FetchItemBodySection) *Fetch {
		return &Fetch{Set: imap.SeqSet{{Start: 1, Stop: 1}}, Items: []FetchItem{{FetchSection, name, &s}}}
	}
	one := imap.SeqSet{{Start: 1, Stop: 1}}
	tests := []struct {
		in   string
		want Command
	}{
		{"CAPABILITY", Capability{}},
		{"noop", Noop{}},
		{"LOGOUT", Logout{}},
		{"ID NIL", &ID{}},
		{"ID ()", &ID{}},
		{`ID ("name" "x" "os" NIL)`, &ID{[]IDParam{{"name", "x"}, {"os", ""}}}},
		{"STARTTLS", StartTLS{}},
		{"AUTHENTICATE plain", &Authenticate{Mechanism: "PLAIN"}},
		{"AUTHENTICATE PLAIN =", &Authenticate{"PLAIN", []byte{}}},
		{"AUTHENTICATE PLAIN AGEAYg==", &Authenticate{"PLAIN", []byte("\x00a\x00b")}},
		{`LOGIN alice "a \"b\\"`, &Login{"alice", `a "b\`}},
		{"NOTIFY NONE", &Notify{}},
		{"notify set status (Selected (messagenew (UID FLAGS) MessageExpunge)) (Mailboxes (a b) NONE)", &Notify{true, []NotifyGroup{
			{MailboxFilter{FilterSelected, nil}, []NotifyEvent{EventMessageNew, EventMessageExpunge},
				[]FetchItem{{Kind: FetchUID, Name: "UID"}, {Kind: FetchFlags, Name: "FLAGS"}}},
			{MailboxFilter{FilterMailboxes, []string{"a", "b"}}, nil, nil},
		}}},
		{"LOGIN {5+}\r\nalice {3+}\r\np w", &Login{"alice", "p w"}},
		{`LOGIN ali]ce ""`, &Login{"ali]ce", ""}},
		{"ENABLE UTF8=accept X", &Enable{[]imap.Cap{"UTF8=ACCEPT", "X"}}},
		{"SELECT inbox", &Select{Mailbox: "inbox"}},
		{"SELECT \"ü&\"", &Select{Mailbox: "ü&"}}, // as go-imap writes it
		{"SELECT \"Größe &- Co\"", &Select{Mailbox: "Größe & Co"}},
		{"SELECT a (condstore)", &Select{Mailbox: "a"}},
		{"SELECT a (CONDSTORE QRESYNC (7 9))", &Select{Mailbox: "a", QResync: &QResync{UIDValidity: 7, ModSeq: 9}}},
		{"EXAMINE a (QRESYNC (7 9 5,3:4 (1:2,9 6:7,20)))", &Select{Mailbox: "a", ReadOnly: true, QResync: &QResync{
			UIDValidity: 7, ModSeq: 9, Known: imap.UIDSet{{Start: 3, Stop: 5}},
			Seqs: imap.SeqSet{{Start: 1, Stop: 2}, {Start: 9, Stop: 9}}, UIDs: imap.UIDSet{{Start: 6, Stop: 7}, {Start: 20, Stop: 20}}}}},
		{"SELECT a (QRESYNC (7 9 (1 6)))", &Select{Mailbox: "a", QResync: &QResync{UIDValidity: 7, ModSeq: 9,
			Seqs: one, UIDs: imap.UIDSet{{Start: 6, Stop: 6}}}}},
		{`CREATE a (USE (\Sent \All))`, &Create{"a", []imap.MailboxAttr{`\Sent`, `\All`}}},
		{"CREATE a (USE (Sent))", nil},
		{"CREATE a (X)", nil},
		{"SEARCH EMAILID M1-_", key(SearchKey{Op: SearchEmailID, Text: "M1-_"})},
		{"SEARCH EMAILID M1.", nil},
		{"SEARCH THREADID T", key(notKey(SearchKey{Op: SearchAll}))},
		{"REPLACE * b {3}", &Replace{Num: imap.SeqSet{{}}, Append: &Append{Mailbox: "b", First: &AppendMessage{}}}},
		{"UID REPLACE 4 b (\\Seen) {3}", &Replace{imap.UIDSet{{Start: 4, Stop: 4}},
			&Append{Mailbox: "b", First: &AppendMessage{Flags: []imap.Flag{imap.FlagSeen}}}}},
		{"UID REPLACE * b {3}", nil},
		{"REPLACE 1:2 b {3}", nil},
		{"UIDBATCHES 500", &UIDBatches{500, 1, 0}},
		{"UIDBATCHES 500 2:3", &UIDBatches{500, 2, 3}},
		{"UIDBATCHES 500 3:2", nil},
		{"UIDBATCHES 0", nil},
		{"UIDBATCHES 500 1", nil},
		{"FETCH 1 PREVIEW (lazy)", &Fetch{Set: one, Items: []FetchItem{{Kind: FetchPreview, Name: "PREVIEW"}}}},
		{"FETCH 1 (PREVIEW (LAZY) UID)", &Fetch{Set: one, Items: []FetchItem{{Kind: FetchPreview, Name: "PREVIEW"}, {Kind: FetchUID, Name: "UID"}}}},
		{"FETCH 1 PREVIEW (CHANGEDSINCE 5)", &Fetch{Set: one, Items: []FetchItem{{Kind: FetchPreview, Name: "PREVIEW"}}, ChangedSince: 5}},
		{"FETCH 1 (PREVIEW (FOO))", nil},
		{"SELECT a ()", nil},
		{"SELECT a (X)", nil},
		{"SELECT a (CONDSTORE CONDSTORE)", nil},
		{"SELECT a (QRESYNC)", nil},
		{"SELECT a (QRESYNC (7 0))", nil},
		{"SELECT a (QRESYNC (0 9))", nil},
		{"SELECT a (QRESYNC (7 9223372036854775808))", nil},
		{"SELECT a (QRESYNC (7 9 1:*))", nil},
		{"SELECT a (QRESYNC (7 9 1:5 (1:* 1:5)))", nil},
		{"SELECT a (QRESYNC (7 9 1:5 (1:4 1:5)))", nil},
		{"SELECT Entw&APw-rfe", &Select{Mailbox: "Entwürfe"}},
		{`EXAMINE "a b"`, &Select{Mailbox: "a b", ReadOnly: true}},
		{"CREATE a.b.", &Create{Mailbox: "a.b."}},
		{"DELETE {3+}\r\na b", &Delete{"a b"}},
		{"RENAME a b", &Rename{"a", "b"}},
		{"SUBSCRIBE a", &Subscribe{"a", true}},
		{"UNSUBSCRIBE a", &Subscribe{"a", false}},
		{"NAMESPACE", Namespace{}},
		{"STATUS a (MESSAGES size MESSAGES)", &Status{"a", []StatusItem{StatusMessages, StatusSize}}},
		{`LIST "" *`, &List{Patterns: []string{"*"}}},
		{`LIST a.% "b %"`, nil},
		{`LIST "a." b*%`, &List{Reference: "a.", Patterns: []string{"b*%"}}},
		{`LIST "" (a "b")`, &List{Patterns: []string{"a", "b"}, Extended: true}},
		{`LIST () "" % RETURN ()`, &List{Patterns: []string{"%"}, Extended: true}},
		{`LIST (SUBSCRIBED RECURSIVEMATCH) "" % RETURN (CHILDREN STATUS (UNSEEN) SPECIAL-USE)`, &List{
			Patterns: []string{"%"}, Extended: true, SelectSubscribed: true, SelectRecursive: true,
			ReturnChildren: true, ReturnSpecialUse: true, ReturnStatus: []StatusItem{StatusUnseen}}},
		{`LIST (RECURSIVEMATCH) "" %`, nil},
		{`LIST (SPECIAL-USE REMOTE) "" *`, &List{Patterns: []string{"*"}, Extended: true, SelectSpecialUse: true, SelectRemote: true}},
		{`LIST (X) "" %`, nil},
		{`LIST "" % RETURN (STATUS ())`, nil},
		{`LSUB "" *`, &List{LSub: true, Patterns: []string{"*"}}},
		{`XLIST "" "%"`, &List{XList: true, Patterns: []string{"%"}}},
		{"GETACL a", &GetACL{"a"}},
		{"MYRIGHTS a", &MyRights{"a"}},
		{"LISTRIGHTS a bob", &ListRights{"a", "bob"}},
		{"DELETEACL a {4+}\r\n-bob", &DeleteACL{"a", "-bob"}},
		{"SETACL a bob lrs", &SetACL{"a", "bob", StoreSet, "lrs"}},
		{"SETACL a bob +cd", &SetACL{"a", "bob", StoreAdd, "ktex"}},
		{`SETACL a "b ob" -ll`, &SetACL{"a", "b ob", StoreRemove, "l"}},
		{`SETACL a bob ""`, &SetACL{"a", "bob", StoreSet, ""}},
		{`SETACL a bob "+"`, &SetACL{"a", "bob", StoreAdd, ""}},
		{"SETACL a bob lrQ", nil},
		{"SETACL a bob lrq", nil},
		{"SETACL a bob l+r", nil},
		{"SETACL a \"b\xff\" l", nil},
		{"SETACL a bob", nil},
		{`LIST "" % RETURN (MYRIGHTS)`, &List{Patterns: []string{"%"}, Extended: true, ReturnMyRights: true}},
		{"GETMETADATA a /shared/Comment", &GetMetadata{Mailbox: "a", Entries: []string{"/shared/comment"}}},
		{`GETMETADATA "" (/shared/comment "/private/vendor/x" /shared/COMMENT)`, &GetMetadata{
			Entries: []string{"/shared/comment", "/private/vendor/x"}}},
		{"GETMETADATA (MAXSIZE 10 DEPTH infinity) a (/private)", &GetMetadata{"a", []string{"/private"}, MetadataOptions{ptr(int64(10)), DepthInfinity}}},
		{"GETMETADATA a (DEPTH 1) (/private/x)", &GetMetadata{"a", []string{"/private/x"}, MetadataOptions{Depth: 1}}},
		{"GETMETADATA a (MAXSIZE 0) /private/x", &GetMetadata{"a", []string{"/private/x"}, MetadataOptions{MaxSize: ptr(int64(0))}}},
		{"GETMETADATA a ()", nil},
		{"GETMETADATA () a /shared/x", nil},
		{"GETMETADATA a (DEPTH 2) /shared/x", nil},
		{"GETMETADATA a (DEPTH 1 /shared/x)", nil},
		{"GETMETADATA a (MAXSIZE x) /shared/x", nil},
		{"GETMETADATA a (MAXSIZE 99999999999999999999) /shared/x", nil},
		{"GETMETADATA a (FOO 1) /shared/x", nil},
		{"GETMETADATA a (DEPTH 1) (DEPTH 1) /shared/x", nil},
		{"GETMETADATA a shared/x", nil},
		{"GETMETADATA a /other/x", nil},
		{"GETMETADATA a /shared/", nil},
		{"GETMETADATA a /shared//x", nil},
		{`GETMETADATA a "/shared/*"`, nil},
		{"GETMETADATA a {10+}\r\n/shared/\xc3\xbc", nil},
		{"GETMETADATA a /shared/" + strings.Repeat("x", 250), nil},
		{"SETMETADATA a (/shared/comment {1+}\r\nx /private/comment NIL)", &SetMetadata{"a", []MetadataEntry{
			{"/shared/comment", ptr("x")}, {"/private/comment", nil}}}},
		{"SETMETADATA a (/shared/comment ~{2+}\r\n\x00x)", &SetMetadata{"a", []MetadataEntry{{"/shared/comment", ptr("\x00x")}}}},
		{"SETMETADATA a (/shared/comment {2+}\r\n\x00x)", nil},
		{"SETMETADATA a (/shared/comment ~x)", nil},
		{"SETMETADATA a (/shared NIL)", nil},
		{"SETMETADATA a (/shared/vendor/x NIL)", nil},
		{"SETMETADATA a (/shared/vendor/x/y NIL)", &SetMetadata{"a", []MetadataEntry{{"/shared/vendor/x/y", nil}}}},
		{"SETMETADATA a (/shared/comment)", nil},
		{"SETMETADATA a ()", nil},
		{"SETMETADATA a /shared/comment x", nil},
		{`LIST "" % RETURN (METADATA (/shared/comment))`, &List{Patterns: []string{"%"}, Extended: true, ReturnMetadata: []string{"/shared/comment"}}},
		{`LIST "" % RETURN (METADATA ())`, nil},
		{"CHECK", Check{}},
		{"CLOSE", Close{}},
		{"UNSELECT", Unselect{}},
		{"IDLE", Idle{}},
		{"EXPUNGE", &Expunge{}},
		{"UID EXPUNGE 3:5", &Expunge{UIDs: imap.UIDSet{{Start: 3, Stop: 5}}}},
		{"uid expunge *", &Expunge{UIDs: imap.UIDSet{{}}}},
		{"EXPUNGE 3", nil},
		{`STORE 1 +flags.silent (\seen \Recent work Work)`, &Store{Set: one, Op: StoreAdd, Silent: true, Flags: []imap.Flag{`\Seen`, "work"}}},
		{`STORE 1 -FLAGS \Deleted $Junk`, &Store{Set: one, Op: StoreRemove, Flags: []imap.Flag{`\Deleted`, "$Junk"}}},
		{`UID STORE 2:* FLAGS ()`, &Store{Set: imap.UIDSet{{Start: 2}}, Op: StoreSet}},
		{`STORE 1 (UNCHANGEDSINCE 0) FLAGS ()`, &Store{Set: one, UnchangedSince: new(uint64)}},
		{`STORE 1 (UNCHANGEDSINCE) FLAGS ()`, nil},
		{`STORE 1 FLAGS \Foo`, nil},
		{`STORE 1 FLAGS.LOUD ()`, nil},
		{"COPY 1 a", &Copy{one, "a", false}},
		{"UID COPY 1 a", &Copy{imap.UIDSet{{Start: 1, Stop: 1}}, "a", false}},
		{"MOVE 1 a", &Copy{one, "a", true}},
		{"UID MOVE 1 a", &Copy{imap.UIDSet{{Start: 1, Stop: 1}}, "a", true}},
		{"FETCH 1 FAST", &Fetch{Set: one, Items: []FetchItem{{Kind: FetchFlags, Name: "FLAGS"},
			{Kind: FetchInternalDate, Name: "INTERNALDATE"}, {Kind: FetchSize, Name: "RFC822.SIZE"}}}},
		{"UID FETCH 1 FLAGS (VANISHED CHANGEDSINCE 5)", &Fetch{Set: imap.UIDSet{{Start: 1, Stop: 1}},
			Items: []FetchItem{{Kind: FetchFlags, Name: "FLAGS"}}, ChangedSince: 5, Vanished: true}},
		{"FETCH 1 MODSEQ (CHANGEDSINCE 5)", &Fetch{Set: one, Items: []FetchItem{{Kind: FetchModSeq, Name: "MODSEQ"}}, ChangedSince: 5}},
		{"FETCH 1 FLAGS (VANISHED CHANGEDSINCE 5)", nil},
		{"UID FETCH 1 FLAGS (VANISHED)", nil},
		{"FETCH 1 FLAGS (CHANGEDSINCE 0)", nil},
		{"FETCH 1 FLAGS ()", nil},
		{"FETCH 1 (FAST)", nil},
		{"FETCH 1 ()", nil},
		{"FETCH 1 (UID body)", &Fetch{Set: one, Items: []FetchItem{{Kind: FetchUID, Name: "UID"}, {Kind: FetchBody, Name: "BODY"}}}},
		{"FETCH 1 (UID uid BODY.PEEK[TEXT] UID BODY[TEXT])", &Fetch{Set: one, Items: []FetchItem{{Kind: FetchUID, Name: "UID"},
			{FetchSection, "BODY[TEXT]", &imap.FetchItemBodySection{Specifier: "TEXT"}}}}},
		{"FETCH 1 (" + strings.Repeat("UID ", 1000) + "UID)", nil},
		{"FETCH 1 BODYSTRUCTURE", &Fetch{Set: one, Items: []FetchItem{{Kind: FetchBodyStructure, Name: "BODYSTRUCTURE"}}}},
		{"FETCH 1 RFC822", section("RFC822", imap.FetchItemBodySection{})},
		{"FETCH 1 RFC822.HEADER", section("RFC822.HEADER", imap.FetchItemBodySection{Specifier: "HEADER", Peek: true})},
		{"FETCH 1 rfc822.text", section("RFC822.TEXT", imap.FetchItemBodySection{Specifier: "TEXT"})},
		{"FETCH 1 BODY[]", section("BODY[]", imap.FetchItemBodySection{})},
		{"FETCH 1 BODY.PEEK[1.2.mime]<7.9>", section("BODY[1.2.MIME]<7>", imap.FetchItemBodySection{
			Specifier: "MIME", Part: []int{1, 2}, Peek: true, Partial: &imap.SectionPartial{Offset: 7, Size: 9}})},
		{"FETCH 1 BODY[1]", section("BODY[1]", imap.FetchItemBodySection{Part: []int{1}})},
		{`FETCH 1 BODY[HEADER.FIELDS (Date "x\"y" {4+}` + "\r\nFrom)]", section(`BODY[HEADER.FIELDS (Date "x\"y" From)]`,
			imap.FetchItemBodySection{Specifier: "HEADER", HeaderFields: []string{"Date", `x"y`, "From"}})},
		{"FETCH 1 BODY[1.HEADER.FIELDS.NOT (A)]", section("BODY[1.HEADER.FIELDS.NOT (A)]",
			imap.FetchItemBodySection{Specifier: "HEADER", Part: []int{1}, HeaderFieldsNot: []string{"A"}})},
		{"FETCH 1 BODY[MIME]", nil},
		{"FETCH 1 BODY[1.]", nil},
		{"FETCH 1 BODY[01]", nil},
		{"FETCH 1 BODY[0]", nil},
		{"FETCH 1 BODY[" + strings.Repeat("1.", 200) + "1]", nil},
		{"FETCH 1 BODY[FOO]", nil},
		{"APPEND x \"31-Feb-2026 00:00:00 +0000\" {3}", nil},
		{"SEARCH HEADER \"a b\" x", nil},
		{`LIST "" ()`, nil},
		{`LSUB "" ""`, &List{LSub: true, Patterns: []string{""}}},
		{`LIST "" % FOO`, nil},
		{"STATUS a (FOO)", nil},
		{"ID FOO", nil},
		{"AUTHENTICATE PLAIN A", nil},
		{"AUTHENTICATE PLAIN {8+}\r\nc LOGOUT", nil}, // is no command
		{"AUTHENTICATE PLAIN YWI={8+}\r\nc LOGOUT", nil},
		{strings.Repeat("x", 300), nil},
		{"FETCH 1 BODY[1.2x]", nil},
		{"FETCH 1 BODY[HEADER.FIELDS ()]", nil},
		{"FETCH 1 BODY[HEADER.FIELDS (\"a b\")]", nil},
		{"FETCH 1 BODY[]<0.0>", nil},
		{"FETCH 1 BODY[]<0>", nil},
		{"FETCH 1 FOO", nil},
		{"FETCH 0 UID", nil},
		{"SEARCH ALL", key(SearchKey{Op: SearchAll})},
		{`SEARCH MODSEQ "/flags/\\draft" all 620162338`, key(SearchKey{Op: SearchModSeq, ModSeq: 620162338})},
		{"SEARCH MODSEQ 0", key(SearchKey{Op: SearchModSeq})},
		{`SEARCH MODSEQ "/x" all 6`, nil},
		{`SEARCH MODSEQ "/flags/x" both 6`, nil},
		{"SEARCH MODSEQ -1", nil},
		{"SEARCH CHARSET utf-8 TEXT ü", nil}, // an atom cannot hold it
		{"SEARCH CHARSET utf-8 TEXT \"ü\"", key(SearchKey{Op: SearchText, Text: "ü"})},
		{"SEARCH 2,4:6 UNSEEN", key(andKey(SearchKey{Op: SearchSeq, SeqSet: imap.SeqSet{{Start: 2, Stop: 2}, {Start: 4, Stop: 6}}}, notKey(flagKey(`\Seen`))))},
		{"SEARCH OR (FROM a TO b) NOT UID *", key(SearchKey{Op: SearchOr, Keys: []SearchKey{
			andKey(SearchKey{Op: SearchHeader, Header: "From", Text: "a"}, SearchKey{Op: SearchHeader, Header: "To", Text: "b"}),
			notKey(SearchKey{Op: SearchUID, UIDSet: imap.UIDSet{{}}})}})},
		{`SEARCH HEADER X-Y ""`, key(SearchKey{Op: SearchHeader, Header: "X-Y"})},
		{"SEARCH LARGER 10 KEYWORD $Junk", key(andKey(SearchKey{Op: SearchLarger, Size: 10}, flagKey("$Junk")))},
		{"SEARCH NEW", key(andKey(SearchKey{Op: SearchRecent}, notKey(flagKey(`\Seen`))))},
		{"SEARCH ()", nil},
		{"SEARCH NOT", nil},
		{"SEARCH", nil},
		{"SEARCH FOO", nil},
		{"SEARCH SINCE 32-Jan-2026", nil},
		{"UID SEARCH RETURN () 1", &Search{UID: true, Return: &SearchReturn{All: true}, Key: SearchKey{Op: SearchSeq, SeqSet: one}}},
		{"SEARCH RETURN (MIN max COUNT) ALL", &Search{Return: &SearchReturn{Min: true, Max: true, Count: true}, Key: SearchKey{Op: SearchAll}}},
		{"SEARCH RETURN (SAVE) ALL", &Search{Return: &SearchReturn{Save: true}, Key: SearchKey{Op: SearchAll}}},
		{"SEARCH RETURN (PARTIAL -7:-3 UPDATE COUNT CONTEXT) $", &Search{
			Return: &SearchReturn{Partial: &PartialRange{From: 7, To: 3, Backward: true}, Update: true, Count: true}, Key: SearchKey{Op: SearchSaved},
		}},
		{"SEARCH RETURN (RELEVANCY) OR 1 FUZZY TO a", &Search{Return: &SearchReturn{Relevancy: true}, Key: SearchKey{Op: SearchOr, Keys: []SearchKey{
			{Op: SearchSeq, SeqSet: imap.SeqSet{{Start: 1, Stop: 1}}},
			{Op: SearchFuzzy, Keys: []SearchKey{{Op: SearchHeader, Header: "To", Text: "a"}}},
		}}}},
		{"SEARCH OLDER 60 UID $", key(andKey(SearchKey{Op: SearchOlder, Interval: time.Minute}, SearchKey{Op: SearchSaved}))},
		{"SEARCH RETURN (PARTIAL 1:2 ALL) ALL", nil},
		{"SEARCH RETURN (PARTIAL 1:-2) ALL", nil},
		{"SEARCH RETURN (RELEVANCY) ALL", nil},
		{"SEARCH RETURN (NONSENSE) ALL", nil},
		{"SEARCH 1,$", nil},
		{"SEARCH FUZZY", nil},
		{"FETCH $ UID", &Fetch{Set: imap.SearchRes(), Items: []FetchItem{{Kind: FetchUID, Name: "UID"}}}},
		{"UID SORT (REVERSE DATE SUBJECT) utf-8 ALL", &Sort{
			Search: Search{UID: true, Key: SearchKey{Op: SearchAll}}, By: []SortCriterion{{SortDate, true}, {SortSubject, false}},
		}},
		{"SORT RETURN () (RELEVANCY) US-ASCII FUZZY ALL", &Sort{
			Search: Search{Return: &SearchReturn{All: true}, Key: SearchKey{Op: SearchFuzzy, Keys: []SearchKey{{Op: SearchAll}}}},
			By:     []SortCriterion{{SortRelevancy, false}},
		}},
		{"SORT (RELEVANCY) UTF-8 ALL", nil},
		{"SORT (REVERSE REVERSE DATE) UTF-8 ALL", nil},
		{"SORT () UTF-8 ALL", nil},
		{"SORT (DATE) UTF-8", nil},
		{"THREAD refs UTF-8 ALL", &Thread{Search: Search{Key: SearchKey{Op: SearchAll}}, Algorithm: ThreadRefs}},
		{"THREAD x UTF-8 ALL", nil},
		{"ESEARCH ALL", &ESearch{Search{UID: true, Return: &SearchReturn{All: true}, Key: SearchKey{Op: SearchAll}}, []MailboxFilter{{Kind: FilterSelected}}}},
		{"ESEARCH IN (personal SUBTREE-ONE (a b)) RETURN (MIN) CHARSET UTF-8 ALL", &ESearch{
			Search{UID: true, Return: &SearchReturn{Min: true}, Key: SearchKey{Op: SearchAll}},
			[]MailboxFilter{{Kind: FilterPersonal}, {Kind: FilterSubtreeOne, Names: []string{"a", "b"}}},
		}},
		{"ESEARCH IN () ALL", nil},
		{"ESEARCH IN (selected-delayed) ALL", nil},
		{"ESEARCH IN (personal (x)) ALL", nil},
		{"ESEARCH IN (personal) RETURN (SAVE) ALL", nil},
		{"CANCELUPDATE \"a\" b", &CancelUpdate{[]string{"a", "b"}}},
		{"CANCELUPDATE", nil},
		{"UID NOOP", nil},
		{"FROB", nil},
		{"NOOP ", nil},
		{"", nil},
	}
	for _, tt := range tests {
		c := newClient("a "+tt.in+"\r\nb NOOP\r\n", &PostAuth)
		req, err := c.ReadCommand(NotAuthenticated | Authenticated | Selected)
		if tt.want == nil {
			if e, ok := err.(*imap.Error); !ok || e.Type != imap.StatusResponseTypeBad || req.Tag != "a" {
				t.Errorf("%s: got tag %q, error %v; want BAD", tt.in, req.Tag, err)
			}
		} else if err != nil {
			t.Errorf("%s: %v", tt.in, err)
		} else if diff := cmp.Diff(tt.want, req.Command, opaque); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.in, diff)
		}
		if req, err := c.ReadCommand(Authenticated); err != nil || req.Tag != "b" {
			t.Errorf("%s: out of step afterwards: %v %v", tt.in, req, err)
		}
		if _, err := c.ReadCommand(Authenticated); err != io.EOF {
			t.Errorf("%s: at the end: %v", tt.in, err)
		}
	}
}

// Refusals must leave the connection in step, whatever the client has sent of
// the command by then.
func TestResync(t *testing.T) {
	small := PostAuth
	small.Literal, small.Literals, small.Command, small.Line, small.Discard, small.Message = 10, 2, 200, 100, 50, 20
	long := strings.Repeat("x", 150)
	tests := []struct {
		name, in string
		typ      string // of the refusal; BYE where the connection ends
		said     string
	}{
		{"unknown command, literal", "a FROB {3}\r\n", "BAD", ""},
		{"unknown command, literal sent", "a FROB {3+}\r\nabc {1+}\r\nx\r\n", "BAD", ""},
		{"wrong state", "a LOGIN {3}\r\n", "BAD", ""},
		{"literal where a set belongs", "a FETCH {3}\r\n", "BAD", ""},
		{"literal where a set belongs, sent", "a FETCH {3+}\r\nabc\r\n", "BAD", ""},
		{"literal too large", "a SELECT {11}\r\n", "BAD", ""},
		{"literal too large, sent", "a SELECT {11+}\r\n12345678901 x\r\n", "BAD", ""},
		{"literal far too large, sent", "a SELECT {1000+}\r\n", "BYE", ""},
		{"literal beyond 64 bits", "a SELECT {18446744073709551617+}\r\n", "BYE", ""},
		{"literal beyond 64 bits, skipped", "a FROB {18446744073709551617+}\r\n", "BYE", ""},
		{"literal beyond 64 bits, waiting", "a FROB {18446744073709551617}\r\n", "BAD", ""},
		{"second literal too large", "a RENAME {1}\r\nx {11}\r\n", "BAD", "+ go ahead\r\n"},
		{"too many literals", "a SEARCH TO {1+}\r\nx TO {1+}\r\nx TO {1+}\r\nx TO {1+}\r\nx\r\n", "BAD", ""},
		{"NUL in a literal", "a SELECT {3+}\r\na\x00b\r\n", "BAD", ""},
		{"NUL in a string", "a SELECT \"a\x00b\"\r\n", "BAD", ""},
		{"line too long", "a SELECT " + long + "\r\n", "BAD", ""},
		{"command too long", "a SELECT " + long + long + "\r\n", "BYE", ""},
		{"no end of line", "a SELECT " + long + long, "BYE", ""},
		{"open quote", "a SELECT \"abc\r\n", "BAD", ""},
		{"bad escape", "a SELECT \"a\\bc\"\r\n", "BAD", ""},
		{"bare CR", "a NOOP\rx\r\n", "BAD", ""},
		{"no command", "a\r\n", "BAD", ""},
		{"message too large", "a APPEND x {21}\r\n", "NO", ""},
		{"message too large, sent", "a APPEND x {21+}\r\n" + strings.Repeat("m", 21) + "\r\n", "NO", ""},
		{"message far too large, sent", "a APPEND x {201+}\r\n", "BYE", ""},
		{"UTF8 without ENABLE", "a APPEND x UTF8 (~{3+}\r\nabc)\r\n", "BAD", ""},
		{"garbage after a forgotten message", "a APPEND x {3+}\r\nabcd\r\n", "none", ""},
		{"bad mailbox name", "a SELECT &bad\r\n", "NO", ""},
		{"bad mailbox name and a literal", "a RENAME &bad {3+}\r\nabc\r\n", "NO", ""},
		{"neither UTF-7 nor UTF-8 in a name", "a SELECT \"\xff\"\r\n", "NO", ""},
		{"invalid UTF-8 to search for", "a SEARCH TEXT \"\xff\"\r\n", "NO", ""},
		{"unknown charset", "a SEARCH CHARSET KOI8-R TEXT {3}\r\n", "NO", ""},
		{"deep nesting", "a SEARCH " + strings.Repeat("(", 60) + "\r\n", "BAD", ""},
		{"malformed head", "a SELECT {x}\r\n", "BAD", ""},
		{"head in the middle", "a SELECT {3} x\r\n", "BAD", ""},
	}
	for _, tt := range tests {
		c := newClient(tt.in+"b NOOP\r\n", &small)
		state := Authenticated | Selected
		req, err := c.ReadCommand(state)
		typ := "none"
		var e *imap.Error
		var bye *ByeError
		if errors.As(err, &e) {
			typ = string(e.Type)
		} else if errors.As(err, &bye) {
			typ = "BYE"
		}
		if typ != tt.typ || req.Tag != "a" {
			t.Errorf("%s: got %q %v, want %s", tt.name, req.Tag, err, tt.typ)
		}
		if got := c.said(); got != tt.said {
			t.Errorf("%s: the server said %q, want %q", tt.name, got, tt.said)
		}
		if tt.typ == "BYE" {
			continue
		}
		if req, err := c.ReadCommand(state); err != nil || req.Tag != "b" {
			t.Errorf("%s: out of step afterwards: %v %v", tt.name, req, err)
		}
	}
}

// TestResyncAnywhere has a line end everywhere around its limit, and literals whose sizes have
// zeros in front: what is read next is never an octet of a literal, and no command is lost.
func TestResyncAnywhere(t *testing.T) {
	small := PostAuth
	small.Line = 100
	var inputs []string
	for n := range 100 {
		q, zeros := strings.Repeat("q", n), strings.Repeat("0", n)
		inputs = append(inputs, "a SEARCH SUBJECT "+q+" TEXT {8+}\r\nx LOGOUT SEEN\r\n", "a SETMETADATA "+q+" (/private/x ~{8+}\r\nx LOGOUT)\r\n",
			"a SEARCH SUBJECT "+q+"\r\n", "a SEARCH TEXT {"+zeros+"8+}\r\nx LOGOUT SEEN\r\n", "a FROB {"+zeros+"8+}\r\nx LOGOUT SEEN\r\n")
	}
	for _, in := range inputs {
		c := newClient(in+"b NOOP\r\n", &small)
		req, err := c.ReadCommand(Selected)
		if req.Tag != "a" {
			t.Errorf("%q: got %q, %v", in, req.Tag, err)
		}
		if _, bye := err.(*ByeError); bye {
			continue
		}
		if req, err := c.ReadCommand(Selected); err != nil || req.Tag != "b" {
			t.Errorf("%q: out of step afterwards: %q, %v", in, req.Tag, err)
		}
	}
}

// Before login the whole command, with what is dropped of it, stays in its
// budget (RFC 7888 §5, and every advisory about logins that eat memory).
func TestPreAuthBudget(t *testing.T) {
	flood := &counter{r: io.MultiReader(strings.NewReader("a LOGIN "), endless('A'))}
	r := NewReader(flood, NewWriter(io.Discard), &PreAuth)
	_, err := r.ReadCommand(NotAuthenticated)
	if _, ok := err.(*ByeError); !ok || flood.n > PreAuth.Command+readAhead {
		t.Errorf("endless line: %v after %d octets", err, flood.n)
	}

	many := "a LOGIN " + strings.Repeat("{100+}\r\n"+strings.Repeat("x", 100), 3000)
	flood = &counter{r: strings.NewReader(many)}
	r = NewReader(flood, NewWriter(io.Discard), &PreAuth)
	_, err = r.ReadCommand(NotAuthenticated)
	if _, ok := err.(*ByeError); !ok || flood.n > PreAuth.Command+readAhead {
		t.Errorf("many literals: %v after %d octets", err, flood.n)
	}

	for _, in := range []string{"a LOGIN {4097+}\r\n", "a ID ((", "a LOGIN {8193}\r\n", "a LOGIN {8180}\r\n"} {
		c := newClient(in+"\r\n", &PreAuth)
		if _, err := c.ReadCommand(NotAuthenticated); err == nil || c.said() != "" {
			t.Errorf("%q: got %v, want a refusal and no continuation", in, err)
		}
	}
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

func TestUTF8(t *testing.T) {
	c := newClient("a SELECT \"ü&-\"\r\nb APPEND x UTF8 (~{3+}\r\nabc)\r\nc SEARCH CHARSET UTF-8 ALL\r\nd SELECT \"\xff\"\r\n", &PostAuth)
	c.SetAccept()
	if req, err := c.ReadCommand(Authenticated); err != nil || req.Command.(*Select).Mailbox != "ü&-" {
		t.Errorf("name: %v %v", req, err)
	}
	req, err := c.ReadCommand(Authenticated)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := readAppend(req.Command.(*Append)); b != "abc" || err != nil {
		t.Errorf("message: %q %v", b, err)
	}
	if _, err := c.ReadCommand(Selected); err == nil {
		t.Error("CHARSET was taken (RFC 6855 §3)")
	}
	if _, err := c.ReadCommand(Selected); err == nil {
		t.Error("a name of bad UTF-8 was taken")
	}
}

func TestReadSASL(t *testing.T) {
	c := newClient("AGEAYg==\r\n\r\n*\r\nAGEA*\r\n"+strings.Repeat("A", 20000), &PreAuth)
	if b, err := c.ReadSASL(); string(b) != "\x00a\x00b" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	if b, err := c.ReadSASL(); len(b) != 0 || err != nil {
		t.Errorf("empty response: got %q, %v", b, err)
	}
	for range 2 {
		if _, err := c.ReadSASL(); !refusal(err) {
			t.Errorf("got %v, want BAD", err)
		}
	}
	if _, err := c.ReadSASL(); err == nil || refusal(err) {
		t.Errorf("endless response: got %v, want BYE", err)
	}
}

func TestReadDone(t *testing.T) {
	c := newClient("done\r\nFOO\r\n", &PostAuth)
	if err := c.ReadDone(); err != nil {
		t.Error(err)
	}
	if err := c.ReadDone(); !refusal(err) {
		t.Errorf("got %v, want BAD", err)
	}
}

// What the client sent behind STARTTLS must be seen to be dropped.
func TestBuffered(t *testing.T) {
	c := newClient("a STARTTLS\r\nb LOGIN x y\r\n", &PreAuth)
	if _, err := c.ReadCommand(NotAuthenticated); err != nil {
		t.Fatal(err)
	}
	if got := string(c.Buffered()); got != "b LOGIN x y\r\n" {
		t.Errorf("got %q", got)
	}
}

// A client that goes away leaves an error of the connection, wherever it was.
func TestCutOff(t *testing.T) {
	whole := "a RENAME {1}\r\nx \"y\"\r\nb APPEND x (a) {3+}\r\nabc\r\nc FROB {3+}\r\nabc {1+}\r\nx\r\nd SELECT {9+}\r\n123456789\r\n"
	for n := range whole {
		c := newClient(whole[:n], &PostAuth)
		var err error
		for err == nil || refusal(err) {
			var req Request
			req, err = c.ReadCommand(Authenticated)
			if a, ok := req.Command.(*Append); ok && err == nil {
				_, err = readAppend(a)
			}
		}
		between := n == 0 || strings.HasSuffix(whole[:n], "\"\r\n") || strings.HasSuffix(whole[:n], "abc\r\n") || strings.HasSuffix(whole[:n], "x\r\n")
		if err != io.EOF && err != io.ErrUnexpectedEOF || (err == io.EOF) != between {
			t.Errorf("after %q: %v", whole[:n], err)
		}
	}
}

func TestStates(t *testing.T) {
	for _, row := range Commands {
		for _, s := range []State{NotAuthenticated, Authenticated, Selected} {
			c := newClient("a "+row.Name+" \x01\r\n", &PostAuth)
			_, err := c.ReadCommand(s)
			if e, ok := err.(*imap.Error); !ok || strings.Contains(e.Text, "not possible") == (row.States&s != 0) {
				t.Errorf("%s in state %b: %v", row.Name, s, err)
			}
		}
	}
}

// What is echoed of a client's own octets is short and harmless.
func TestTags(t *testing.T) {
	for tag, ok := range map[string]bool{"a": true, "A.1]-x": true, strings.Repeat("t", 255): true,
		strings.Repeat("t", 256): false, "+": false, "*": false, "a(": false, "ü": false, "a\x7f": false, "": false} {
		req, err := newClient(tag+" NOOP\r\n", &PostAuth).ReadCommand(Authenticated)
		if (err == nil) != ok || ok && req.Tag != tag || !ok && req.Tag != "" && req.Tag != "a" {
			t.Errorf("%.20q: tag %.20q, %v", tag, req.Tag, err)
		}
	}
}

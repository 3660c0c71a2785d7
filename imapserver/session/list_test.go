package session

import (
	"bytes"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// answerList gives the responses to a LIST or LSUB over a fixed list.
func answerList(t *testing.T, ns namespace, entries []store.Entry, command string) string {
	t.Helper()
	var out bytes.Buffer
	w := wire.NewWriter(&out)
	s := &session{names: ns, w: w}
	req, err := wire.NewReader(strings.NewReader("a "+command+"\r\n"), w, &wire.PostAuth).ReadCommand(wire.Authenticated)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	c := req.Command.(*wire.List)
	tree := newTree(entries, ns)
	for _, n := range tree.nodes {
		for _, l := range tree.listed(c, n, ownPatterns(s, c)) {
			s.writeListed(c, l)
		}
	}
	w.Flush()
	return strings.ReplaceAll(out.String(), "\r\n", "\n")
}

func TestList(t *testing.T) {
	there := func(name string) store.Entry { return store.Entry{Name: name, Selectable: true, Exists: true} }
	sent := there("Sent")
	sent.Use, sent.Subscribed = imap.MailboxAttrSent, true
	deep := there("a.b.c")
	deep.Subscribed = true
	entries := []store.Entry{there("INBOX"), sent, {Name: "a"}, {Name: "a.b"}, deep, {Name: "gone.sub", Subscribed: true}, there("x")}
	const (
		inboxLine = `* LIST (\HasNoChildren) "." "INBOX"` + "\n"
		xLine     = `* LIST (\HasNoChildren) "." "x"` + "\n"
	)
	tests := []struct {
		ns      namespace
		command string
		want    string
	}{
		{"", `LIST "" *`, inboxLine +
			`* LIST (\HasNoChildren \Sent) "." "Sent"` + "\n" +
			`* LIST (\Noselect \HasChildren) "." "a"` + "\n" +
			`* LIST (\Noselect \HasChildren) "." "a.b"` + "\n" +
			`* LIST (\HasNoChildren) "." "a.b.c"` + "\n" + xLine},
		{"", `LIST "" %`, inboxLine +
			`* LIST (\HasNoChildren \Sent) "." "Sent"` + "\n" +
			`* LIST (\Noselect \HasChildren) "." "a"` + "\n" + xLine},
		{"", `LIST "a." %`, `* LIST (\Noselect \HasChildren) "." "a.b"` + "\n"},
		{"", `LIST "" inbox`, inboxLine},
		{"", `LIST "" INBOX.x`, `* LIST (\HasNoChildren) "." "INBOX.x"` + "\n"},
		{"", `LIST INBOX. S*`, `* LIST (\HasNoChildren \Sent) "." "INBOX.Sent"` + "\n"},
		{"", `LIST "" (x INBOX inbox % x)`, inboxLine +
			`* LIST (\HasNoChildren \Sent) "." "Sent"` + "\n" + `* LIST (\NonExistent \HasChildren) "." "a"` + "\n" + xLine},
		{"", `LIST "" (x INBOX.x)`, xLine + `* LIST (\HasNoChildren) "." "INBOX.x"` + "\n"},
		{"", `LIST (SUBSCRIBED) "" *`, `* LIST (\HasNoChildren \Sent \Subscribed) "." "Sent"` + "\n" +
			`* LIST (\HasNoChildren \Subscribed) "." "a.b.c"` + "\n" +
			`* LIST (\NonExistent \HasNoChildren \Subscribed) "." "gone.sub"` + "\n"},
		{"", `LIST (SUBSCRIBED RECURSIVEMATCH) "" %`, `* LIST (\HasNoChildren \Sent \Subscribed) "." "Sent"` + "\n" +
			`* LIST (\NonExistent \HasChildren) "." "a" ("CHILDINFO" ("SUBSCRIBED"))` + "\n" +
			`* LIST (\NonExistent \HasNoChildren) "." "gone" ("CHILDINFO" ("SUBSCRIBED"))` + "\n"},
		{"", `LIST (SPECIAL-USE RECURSIVEMATCH) "" INBOX`, ""},
		{courier, `LIST (SPECIAL-USE RECURSIVEMATCH) "" INBOX`, `* LIST (\HasChildren) "." "INBOX" ("CHILDINFO" ("SPECIAL-USE"))` + "\n"},
		{courier, `LIST (SUBSCRIBED SPECIAL-USE RECURSIVEMATCH) "" INBOX`, `* LIST (\HasChildren) "." "INBOX" ("CHILDINFO" ("SUBSCRIBED" "SPECIAL-USE"))` + "\n"},
		{"", `LIST (SPECIAL-USE) "" *`, `* LIST (\HasNoChildren \Sent) "." "Sent"` + "\n"},
		{"", `LIST (SPECIAL-USE SUBSCRIBED) "" x`, ""},
		{"", `LIST "" S% RETURN (SUBSCRIBED)`, `* LIST (\HasNoChildren \Sent \Subscribed) "." "Sent"` + "\n"},
		{"", `LSUB "" *`, `* LSUB () "." "Sent"` + "\n" + `* LSUB () "." "a.b.c"` + "\n" + `* LSUB () "." "gone.sub"` + "\n"},
		{"", `LSUB "" %`, `* LSUB () "." "Sent"` + "\n" + `* LSUB (\Noselect) "." "a"` + "\n" + `* LSUB (\Noselect) "." "gone"` + "\n"},
		{"", `LSUB "" INBOX.a*`, `* LSUB () "." "INBOX.a.b.c"` + "\n"},

		{courier, `LIST "" %`, `* LIST (\HasChildren) "." "INBOX"` + "\n"},
		{courier, `LIST "" *.x`, `* LIST (\HasNoChildren) "." "INBOX.x"` + "\n"},
		{courier, `LIST INBOX. a.%`, `* LIST (\Noselect \HasChildren) "." "INBOX.a.b"` + "\n"},
		{courier, `LIST "" x`, xLine},
		{courier, `LIST "" y`, ""},
		{courier, `LSUB "" INBOX.%`, `* LSUB () "." "INBOX.Sent"` + "\n" + `* LSUB (\Noselect) "." "INBOX.a"` + "\n" + `* LSUB (\Noselect) "." "INBOX.gone"` + "\n"},
		{courier, `LSUB "" a.*`, `* LSUB () "." "a.b.c"` + "\n"},
	}
	for _, tt := range tests {
		if got := answerList(t, tt.ns, entries, tt.command); got != tt.want {
			t.Errorf("prefix %q, %s:\ngot\n%swant\n%s", tt.ns, tt.command, got, tt.want)
		}
	}
}

// A folder whose own name begins with INBOX. goes before the alias of another.
func TestListOwnName(t *testing.T) {
	entries := []store.Entry{
		{Name: "INBOX", Selectable: true, Exists: true},
		{Name: "INBOX.x", Selectable: true, Exists: true},
		{Name: "x", Selectable: true, Exists: true},
	}
	want := `* LIST (\HasChildren) "." "INBOX"` + "\n" +
		`* LIST (\HasNoChildren) "." "INBOX.x"` + "\n" +
		`* LIST (\HasNoChildren) "." "x"` + "\n"
	if got := answerList(t, "", entries, `LIST "" *`); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	want = `* LIST (\HasNoChildren) "." "INBOX.INBOX.x"` + "\n"
	if got := answerList(t, "", entries, `LIST "" INBOX.*`); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func ownPatterns(s *session, c *wire.List) []listPattern {
	own, _, _ := s.listPatterns(c)
	return own
}

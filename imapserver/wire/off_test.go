package wire

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
)

func TestOff(t *testing.T) {
	for _, tt := range []struct {
		names, want []string
	}{
		{nil, nil},
		{[]string{"idle"}, []string{"IDLE"}},
		{[]string{"ESEARCH"}, []string{"ESEARCH", "SEARCHRES", "PARTIAL", "ESORT"}},
		{[]string{"ACL", "NOTIFY"}, []string{"ACL", "RIGHTS=texk", "LIST-MYRIGHTS", "NOTIFY"}},
		{[]string{"ENABLE"}, []string{"ENABLE", "UTF8=ACCEPT"}},
	} {
		got, err := Off(tt.names...)
		if err != nil {
			t.Error(err)
		}
		for _, name := range tt.want {
			if !slices.Contains(got, imap.Cap(name)) {
				t.Errorf("%v: %s is not among %v", tt.names, name, got)
			}
		}
		if tt.names == nil && got != nil {
			t.Errorf("nothing switches off %v", got)
		}
	}
	for _, name := range []string{"IMAP4rev1", "STARTTLS", "LOGINDISABLED", "NONE", ""} {
		if got, err := Off(name); err == nil {
			t.Errorf("%q switches off %v", name, got)
		}
	}
}

// What a row needs is not advertised without it, whichever is switched off.
func TestOffIsWhole(t *testing.T) {
	for _, row := range Capabilities {
		off, err := Off(string(row.Name))
		if slices.Contains(Fixed, row.Name) {
			continue
		}
		if err != nil || !slices.Contains(off, row.Name) {
			t.Errorf("%s: %v, %v", row.Name, off, err)
		}
		left := strings.Fields(string(AppendCapabilities(nil, phaseAny, off...)))
		for _, need := range Needs {
			if slices.Contains(left, string(need.Name)) && slices.ContainsFunc(need.Needs, func(c imap.Cap) bool { return slices.Contains(off, c) }) {
				t.Errorf("without %s: %s is advertised, which needs %v", row.Name, need.Name, need.Needs)
			}
		}
	}
}

// arguments is what follows a word of the tables where something must.
var arguments = map[string]string{
	"BINARY": "[1]", "BINARY.PEEK": "[1]", "BINARY.SIZE": "[1]", "CANCELUPDATE": ` "a"`, "ESEARCH": " ALL",
	"SAVEDBEFORE": " 1-Jan-2026", "SAVEDON": " 1-Jan-2026", "SAVEDSINCE": " 1-Jan-2026", "SEARCH EMAILID": " a", "SEARCH THREADID": " a",
	"XLIST": ` "" *`, "GETQUOTA": " a", "GETQUOTAROOT": " a", "SETQUOTA": " a ()",
	"ENABLE": " X", "ID": " NIL", "NOTIFY": " NONE",
	"GETACL": " a", "MYRIGHTS": " a", "LISTRIGHTS": " a b", "DELETEACL": " a b", "SETACL": " a b l",
	"GETMETADATA": " a /private/x", "SETMETADATA": " a (/private/x NIL)",
	"UID EXPUNGE": " 1", "MOVE": " 1 a", "UID MOVE": " 1 a", "REPLACE": " 1 a {1}", "COMPRESS": " DEFLATE", "UIDBATCHES": " 500", "UID REPLACE": " 1 a {1}", "USE": ` (\Sent)`,
	"SORT": " (SIZE) UTF-8 ALL", "UID SORT": " (SIZE) UTF-8 ALL",

	"CHANGEDSINCE": " 1", "UNCHANGEDSINCE": " 1", "PARTIAL": " 1:2", "QRESYNC": " (1 1)",
	"VANISHED": " CHANGEDSINCE 1",
	"FUZZY":    " ALL", "SEARCH MODSEQ": " 1", "OLDER": " 1", "YOUNGER": " 1",
	"LIST STATUS": " (MESSAGES)", "LIST MYRIGHTS": "", "LIST METADATA": " (/private/x)",
}

// usage makes use of one row: a line that a client may send.
type usage struct {
	name, line string
	cap        imap.Cap
}

// usages is every row of the tables that has a capability.
func usages() (list []usage) {
	add := func(c imap.Cap, word, form string) {
		if c != "" && !slices.Contains(Fixed, c) {
			command, _, _ := strings.Cut(form, " ")
			args, ok := arguments[command+" "+word]
			if !ok {
				args = arguments[word]
			}
			list = append(list, usage{word, fmt.Sprintf(form, word+args), c})
		}
	}
	for _, r := range Commands {
		add(r.Cap, r.Name, "%s")
	}
	for _, r := range FetchItems {
		add(r.Cap, r.Name, "FETCH 1 (%s)")
	}
	for _, r := range FetchModifiers {
		add(r.Cap, r.Name, "UID FETCH 1 UID (%s)")
	}
	for _, r := range StoreModifiers {
		add(r.Cap, r.Name, "STORE 1 (%s) FLAGS ()")
	}
	for _, r := range SelectParameters {
		add(r.Cap, r.Name, "SELECT a (%s)")
	}
	for _, r := range CreateParameters {
		add(r.Cap, r.Name, "CREATE a (%s)")
	}
	for _, r := range SearchKeys {
		add(r.Cap, r.Name, "SEARCH %s")
	}
	for _, r := range SearchReturns {
		add(r.Cap, r.Name, "SEARCH RETURN (%s) FUZZY ALL")
	}
	for _, r := range SortKeys {
		add(r.Cap, string(r.Key), "SORT (%s) UTF-8 FUZZY ALL")
	}
	for _, r := range ThreadAlgorithms {
		add(r.Cap, string(r.Algorithm), "THREAD %s UTF-8 ALL")
	}
	for _, r := range StatusItems {
		add(r.Cap, string(r.Item), "STATUS a (%s)")
	}
	for _, r := range ListSelections {
		add(r.Cap, r.Name, "LIST (SUBSCRIBED %s) \"\" *")
	}
	for _, r := range ListReturns {
		add(r.Cap, r.Name, "LIST \"\" * RETURN (%s)")
	}
	return list
}

// Whatever makes use of a capability says so, whereupon it is refused where the
// capability is switched off. A row without arguments here is parsed in vain.
func TestUses(t *testing.T) {
	for _, u := range usages() {
		w := NewWriter(io.Discard)
		r := NewReader(strings.NewReader("a "+u.line+"\r\n"), w, &PostAuth)
		req, err := r.ReadCommand(Selected)
		if err != nil {
			var refused *imap.Error
			errors.As(err, &refused)
			t.Errorf("%s: %s: %v (the word's arguments are to be added here)", u.name, u.line, err)
			continue
		}
		if !slices.Contains(req.Uses, u.cap) {
			t.Errorf("%s uses %v, not %s", u.line, req.Uses, u.cap)
		}
	}
}

func TestUsesSASLIR(t *testing.T) {
	for line, want := range map[string][]imap.Cap{"AUTHENTICATE PLAIN =": {imap.CapSASLIR}, "AUTHENTICATE PLAIN": nil} {
		r := NewReader(strings.NewReader("a "+line+"\r\n"), NewWriter(io.Discard), &PreAuth)
		req, err := r.ReadCommand(NotAuthenticated)
		if diff := cmp.Diff(want, req.Uses); err != nil || diff != "" {
			t.Errorf("%s: %v %s", line, err, diff)
		}
	}
}

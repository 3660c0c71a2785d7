package render

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/schema"
)

// TestPurgeRules writes rules and reads them again; one for the inbox has to say that it is.
func TestPurgeRules(t *testing.T) {
	rules := PurgeRules(&schema.Host{Users: []schema.User{
		{Name: "alice", PurgeInbox: 365, Folders: []schema.Folder{{Name: "Junk", PurgeAfter: 14}, {Name: "Sent"}}},
		{Name: "bob", PurgeInbox: 365, Elsewhere: "imap://bob@x/"},
	}})
	want := []PurgeRule{{User: "alice", Folder: "INBOX", Days: 365, Inbox: true}, {User: "alice", Folder: "Junk", Days: 14}}
	if diff := cmp.Diff(want, rules); diff != "" {
		t.Error(diff)
	}
	data, err := EncodePurge(rules)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParsePurge(data); err != nil || !cmp.Equal(want, got) {
		t.Errorf("%v, %v", got, err)
	}
	for _, line := range []string{
		`{"user":"alice","folder":"INBOX","days":1}`,
		`{"user":"alice","folder":"inbox","days":1}`,
		`{"user":"alice","folder":"Inbox","days":1,"inbox":true}`,
		`{"user":"alice","folder":"Trash","days":1,"inbox":true}`,
		`{"user":"alice","folder":"INBOX","days":0,"inbox":true}`,
		`{"user":"","folder":"INBOX","days":1,"inbox":true}`,
	} {
		if got, err := ParsePurge([]byte(line + "\n")); err == nil {
			t.Errorf("%s: %v", line, got)
		}
	}
}

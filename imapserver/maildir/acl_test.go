package maildir

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/oracle"
)

func TestACL(t *testing.T) {
	const file = "owner aceilrstwx\nadministrators aceilrstwx\nuser=bob ilrstw\nanyone lr\n-user=carol sw\ngroup=staff lrs\n-group=students r\n"
	want := ACL{
		{IDOwner, false, AllRights &^ RightPost},
		{"user=bob", false, RightInsert | RightLookup | RightRead | RightSeen | RightDeleted | RightWrite},
		{IDAnyone, false, RightLookup | RightRead},
		{"user=carol", true, RightSeen | RightWrite},
		{"group=staff", false, RightLookup | RightRead | RightSeen},
		{"group=students", true, RightRead},
	}
	acl := ParseACL([]byte(file))
	if diff := cmp.Diff(want, acl); diff != "" {
		t.Errorf("parsed (-want +got):\n%s", diff)
	}
	data, err := EncodeACL(acl)
	if err != nil {
		t.Fatal(err)
	}
	// Courier's line of the administrators goes to the end.
	const again = "owner aceilrstwx\nuser=bob ilrstw\nanyone lr\n-user=carol sw\ngroup=staff lrs\n-group=students r\nadministrators aceilrstwx\n"
	if diff := cmp.Diff(again, string(data)); diff != "" {
		t.Errorf("encoded (-want +got):\n%s", diff)
	}
}

func TestEffectiveRights(t *testing.T) {
	tests := []struct{ file, user, owner, want string }{
		{"", "bob", "", ""},
		{"", "", "alice", "la"},
		{"owner lr\n", "", "alice", "lra"},
		{"owner lrswi\n-owner l\n-anyone wi\n", "", "alice", "lrsa"},
		{"user=bob lr\nanyone s\n", "bob", "", "lrs"},
		{"user=bob lr\nanyone s\n", "Bob", "", "s"},
		{"user=bob lr\n-anyone r\n", "bob", "", "l"},
		{"user=bob lr\n-user=bob lrswipkxtea\n", "bob", "", ""},
		{"user=bob l\nuser=bob r\n", "bob", "", "lr"},
		{"anonymous l\n", "bob", "", "l"},
		{"group=bob lr\nadministrators lr\nbob lr\nowner lr\n", "bob", "", ""},
		{"user=bob ck9Q!\xff\n", "bob", "", "k9"},
		{"user= lr\n=bob lr\n lr\n- lr\nuser=b\x00b lr\nuser=b\xff lr\nuser=bob\n", "bob", "", ""},
		{"user=bob\tlr\r\nuser=bob lr\r\n", "bob", "", "lr"},
		{"user=bob lr", "bob", "", "lr"}, // the last line is not at its end
	}
	for _, tt := range tests {
		user := tt.user + tt.owner
		if got := ParseACL([]byte(tt.file)).Rights(user, tt.owner != "").String(); got != tt.want {
			t.Errorf("%q for %s: got %s, want %s", tt.file, user, got, tt.want)
		}
	}
}

// Nobody, with whatever list, locks the owner out or leaves the administrators
// out, and no identifier makes a second line.
func TestEncodeACL(t *testing.T) {
	data, err := EncodeACL(ACL{{"user=bob", false, RightLookup}, {IDOwner, true, AllRights}})
	if want := "user=bob l\n-owner ceiprstwx\nowner al\nadministrators aceilrstwx\n"; err != nil || string(data) != want {
		t.Errorf("got %q, %v; want %q", data, err, want)
	}
	for _, id := range []string{"", "user=", "a\nowner", "a b", "-bob", "a\xff", "a\x00", "a\u0085b", "group=administrators", strings.Repeat("x", MaxIdentifier+1)} {
		if _, err := EncodeACL(ACL{{id, false, RightLookup}}); !errors.Is(err, ErrIdentifier) {
			t.Errorf("identifier %q: %v", id, err)
		}
	}
	var many ACL
	for range MaxACL / 100 {
		many = append(many, Grant{ID: IDUser + strings.Repeat("x", 100)})
	}
	if _, err := EncodeACL(many); err == nil {
		t.Error("a list that could not be read again is written")
	}
}

// What a file says is what it says once written again.
func FuzzACL(f *testing.F) {
	for _, s := range []string{"owner lr\n", "-user=x 0z\nanonymous c\n", "user=a\x00 l\n\n-\n", "administrators\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, file string) {
		if len(file) > MaxACL {
			t.Skip()
		}
		oracle.Cost(t, len(file), func() { ParseACL([]byte(file)) })
		acl := ParseACL([]byte(file))
		data, err := EncodeACL(acl)
		if err != nil {
			if len(file) < MaxACL/2 {
				t.Fatal(err)
			}
			return
		}
		again := ParseACL(data)
		for _, user := range []string{"x", "a", ""} {
			for _, owner := range []bool{false, true} {
				if was, is := acl.Rights(user, owner), again.Rights(user, owner); was != is {
					t.Errorf("%q: %q (owner %v) has %s, then %s", file, user, owner, was, is)
				}
			}
		}
	})
}

package maildir

import (
	"maps"
	"slices"
	"testing"
)

// TestWithLetters changes Dovecot's letters and nothing else.
func TestWithLetters(t *testing.T) {
	for _, c := range []struct{ suffix, letters, want string }{
		{"", "", ""}, {"", "ab", ":2,ab"}, {":2,", "", ":2,"}, {":2,FSb", "b", ":2,FSb"},
		{":2,FSPxb", "ac", ":2,FSPac"}, {":2,Sab,more:ab", "", ":2,S,more:ab"}, {":foo", "", ":foo"}, {":foo", "a", ":2,a"}, {":2,S\xff", "a", ":2,S\xffa"},
	} {
		if got := WithLetters(c.suffix, c.letters); got != c.want {
			t.Errorf("%q with %q is %q, want %q", c.suffix, c.letters, got, c.want)
		}
	}
}

// TestEncodeDovecot writes what is then read.
func TestEncodeDovecot(t *testing.T) {
	old := "3 V1 N2 Gfeed X1\n1 P7 W9 :one\n2 :two:2,S\nspoilt\n"
	sizes := map[UIDDBMessage]int64{{3, "one"}: 20}
	list := EncodeDovecotUIDList(5, 9, maps.All(sizes), []byte(old))
	if want := "3 V5 N9 Gfeed X1\n3 P7 W9 :one\n"; string(list) != want {
		t.Errorf("%q", list)
	}
	for base, want := range map[string]string{"two": "3 W20 :two\n", "two,S=1,W=2": "3 :two,S=1,W=2\n", "a :b": "3 W20 :a :b\n"} {
		m := UIDDBMessage{3, base}
		list := EncodeDovecotUIDList(5, 9, maps.All(map[UIDDBMessage]int64{m: 20}), []byte("1 5 9\n1 P7\n"))
		db, err := ParseDovecotUIDList(list)
		if string(list) != "3 V5 N9\n"+want || err != nil || db.Validity != 5 || db.Next != 9 || !slices.Equal(db.Messages, []UIDDBMessage{m}) {
			t.Errorf("%q, %+v, %v", list, db, err)
		}
	}
	var s Subscriptions
	for _, name := range []string{Inbox, "Entwürfe.R&D", "a b"} {
		s.Set(name, true)
	}
	s.SetOther("#bob.Team", true)
	data, err := EncodeDovecotSubscriptions(s)
	if again, dropped := ParseDovecotSubscriptions(data); err != nil || dropped > 0 || !slices.Equal(again.Names(), s.Names()) {
		t.Errorf("%q, %v", data, err)
	}
	acl := ParseACL([]byte("owner aceilrstwx\nuser=bob ilr\n-user=carol w\ngroup=none \nadministrators a\n"))
	if data := EncodeDovecotACL(acl); string(data) != "owner lrwstipekxa\nuser=bob lri\n-user=carol w\n" {
		t.Errorf("%q", data)
	}
	if data := EncodeDovecotACL(ParseACL([]byte("owner al\n"))); string(data) != "owner la\n" {
		t.Errorf("%q", data)
	}
	// A tree that is in modified UTF-7 may have lines of before.
	if subs := ParseSubscriptions([]byte("INBOX.Entwürfe\nINBOX.R&-D\nINBOX.R&D 2\n"), ModifiedUTF7); !slices.Equal(subs.Names(), []string{"Entwürfe", "R&D", "R&D 2"}) {
		t.Errorf("%q", subs.Names())
	}
}

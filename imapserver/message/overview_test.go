package message

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBaseSubject(t *testing.T) {
	for _, c := range []struct {
		subject, want string
		reply         bool
	}{
		{"", "", false},
		{"lunch", "lunch", false},
		{"  lunch \t at\r\n noon ", "lunch at noon", false},
		{"Re: lunch", "lunch", true},
		{"RE:lunch", "lunch", true},
		{"re : re: FW:Fwd: lunch", "lunch", true},
		{"Re[2]: lunch", "lunch", true},
		{"Re [list] : lunch", "lunch", true},
		{"Re: [list] Fwd: lunch", "lunch", true},
		{"[list] lunch", "lunch", false},
		{"[list] [more] Re: lunch", "lunch", true},
		{"[list]", "[list]", false},
		{"[a] [b]", "[b]", false},
		{"Re: [a][b] ", "[b]", true},
		{"[a[b] c", "[a[b] c", false},
		{"lunch (fwd)", "lunch", true},
		{"lunch (FWD) (fwd)", "lunch", true},
		{"(fwd)", "", true},
		{"Re:", "", true},
		{"Re: Re: (fwd)", "", true},
		{"[Fwd: lunch]", "lunch", true},
		{"[fwd: Re: [list] lunch (fwd)] (fwd)", "lunch", true},
		{"[fwd: [fwd: x]]", "x", true},
		{"[fwd: lunch] tomorrow", "tomorrow", false},
		{"[fwd:]", "", true},
		{"Reply: lunch", "Reply: lunch", false},
		{"Re lunch", "Re lunch", false},
		{"fw[a]b: x", "fw[a]b: x", false},
		{"[Größe] x", "x", false},
		{"Re: \U0001F600", "\U0001F600", true},
	} {
		base, reply := baseSubject(c.subject)
		if base != c.want || reply != c.reply {
			t.Errorf("%q: have %q, %v, want %q, %v", c.subject, base, reply, c.want, c.reply)
		}
	}
}

func TestMessageIDs(t *testing.T) {
	for _, c := range []struct {
		value string
		want  []string
	}{
		{"<a@b>", []string{"a@b"}},
		{"<a@b><c@d>\r\n\t<E@f>", []string{"a@b", "c@d", "E@f"}},
		{`<"a b"@c> junk <"x"@y>`, []string{"a b@c", "x@y"}},
		{"<a (comment) @ b>", []string{"a@b"}},
		{"<a\r\n @b>", []string{"a@b"}},
		{"<a> <@b> <c@> <>", nil},
		{"<a <b@c>", []string{"b@c"}},
		{"<a(b@c> <d@e>", []string{"d@e"}},
		{"<a@b (open> <c@d>", []string{"a@b", "c@d"}},
		{"<a@b", nil},
		{"a@b", nil},
	} {
		var want []MessageID
		for _, s := range c.want {
			want = append(want, newMessageID([]byte(s)))
		}
		if have := messageIDs([]byte(c.value), 100); !cmp.Equal(have, want) {
			t.Errorf("%q: have %x, want %x", c.value, have, want)
		}
	}
	many := "<first@x>" + strings.Repeat("<mid@x>", 10) + "<last@x>"
	want := []MessageID{newMessageID([]byte("first@x")), newMessageID([]byte("mid@x")), newMessageID([]byte("last@x"))}
	if have := messageIDs([]byte(many), 3); !cmp.Equal(have, want) {
		t.Errorf("of many: have %x, want %x", have, want)
	}
}

var overviews = []Overview{
	{},
	{Subject: "caf\u00e9", Reply: true, Sent: time.Unix(-1, 0).UTC()},
	{
		Sent: time.Date(2024, 2, 29, 23, 59, 58, 0, time.UTC), Subject: "lunch", From: "ann", FromName: "Ann", To: "list", ToName: "list@x.org",
		Cc: "bob", ID: 1<<64 - 1, Refs: []MessageID{1, 2, 1},
	},
}

func TestOverview(t *testing.T) {
	id := func(s string) MessageID { return newMessageID([]byte(s)) }
	for _, c := range []struct {
		header string
		want   Overview
	}{
		{"", Overview{}},
		{
			"Date: Thu, 29 Feb 2024 23:59:58 -0100\nSubject: Re: =?utf-8?q?caf=C3=A9?=\nFrom: =?utf-8?q?J=C3=BCrgen?= =?utf-8?q?_X?= <jx@a.org>, b@c\n" +
				"To:\nTo: Friends: d@e;\nCc: <f@g>\nMessage-ID: <1@x>\nIn-Reply-To: <no@x>\nReferences: <2@x>\n <3@x>\nSubject: second\n",
			Overview{
				Sent: time.Date(2024, 3, 1, 0, 59, 58, 0, time.UTC), Subject: "caf\u00e9", Reply: true, From: "jx", FromName: "J\u00fcrgen X",
				To: "Friends", ToName: "Friends", Cc: "f", ID: id("1@x"), Refs: []MessageID{id("2@x"), id("3@x")},
			},
		},
		{"In-Reply-To: yours of <1@x> and <2@x>\nReferences: none\nFrom: a@b", Overview{From: "a", FromName: "a@b", Refs: []MessageID{id("1@x")}}},
		{"From: root\nTo: (Ann) a@b\nDate: never", Overview{From: "root", FromName: "root", To: "a", ToName: "Ann"}},
		{"Subject: " + strings.Repeat("x", maxSortText-1) + "\u00fc", Overview{Subject: strings.Repeat("x", maxSortText-1)}},
		{"From: <\xff\xfe@x>", Overview{From: "\uFFFD", FromName: "\uFFFD@x"}},
	} {
		m := Parse([]byte(c.header + "\n\nbody"))
		if have := m.Overview(); !cmp.Equal(have, c.want) {
			t.Errorf("%q: %s", c.header, cmp.Diff(c.want, have))
		}
		checkOverview(t, m)
	}
}

// Octets that have been damaged are refused or are an Overview, but never more
// than they are.
func TestParseOverview(t *testing.T) {
	for _, o := range overviews {
		b := o.Append(nil)
		back, err := ParseOverview(b)
		if err != nil || !cmp.Equal(back, o) {
			t.Errorf("%+v became %+v, %v", o, back, err)
		}
		for n := range b {
			if _, err := ParseOverview(b[:n]); err == nil {
				t.Errorf("%q cut to %d octets is taken", b, n)
			}
		}
	}
	for _, b := range []string{
		"\x08\x00\x00\x00\x00\x00\x00\x00",                                               // a bit without a meaning
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00",                                           // something behind it
		"\x00\x80\x00\x00\x00\x00\x00\x00\x00",                                           // a length longer than need be
		"\x00\x01\xff\x00\x00\x00\x00\x00\x00",                                           // no UTF-8
		"\x00\x00\x00\x00\x00\x00\x00\x02" + "abcdefgh",                                  // an ancestor is missing
		"\x00\x00\x00\x00\x00\x00\x00\x01" + "\x00\x00\x00\x00\x00\x00\x00\x00",          // an ancestor that is none
		"\x00\x81\x08" + strings.Repeat("x", maxSortText+1) + "\x00\x00\x00\x00\x00\x00", // too long
	} {
		if o, err := ParseOverview([]byte(b)); err == nil {
			t.Errorf("%q is taken for %+v", b, o)
		}
	}
}

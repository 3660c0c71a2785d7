package message

import (
	"testing"

	"mailstead/imapserver/oracle"
)

// TestAddresses holds lists as ENVELOPE shows them.
func TestAddresses(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{"", ""},
		{" , ,", ""},
		{"a@example.org", `((NIL NIL "a" "example.org"))`},
		{"Ann <a@example.org>, b@example.org", `(("Ann" NIL "a" "example.org")(NIL NIL "b" "example.org"))`},
		{`"Ann, \"the\" A." <a@example.org>`, `(("Ann, \"the\" A." NIL "a" "example.org"))`},
		{"Ann  M.\r\n\tSmith <a@example.org>", `(("Ann M. Smith" NIL "a" "example.org"))`},
		{"=?utf-8?q?J=C3=BCrgen?= <j@example.org>", `(("=?utf-8?q?J=C3=BCrgen?=" NIL "j" "example.org"))`},
		{`"a b"@example.org`, `((NIL NIL "a b" "example.org"))`},
		{`<"a b"."c"@example.org>`, `((NIL NIL "a b.c" "example.org"))`},
		{"a . b @ example . org", `((NIL NIL "a.b" "example.org"))`},
		{"a@[192.0.2.1]", `((NIL NIL "a" "[192.0.2.1]"))`},
		{"a@[IPv6:2001:db8::1], b@example.org", `((NIL NIL "a" "[IPv6:2001:db8::1]")(NIL NIL "b" "example.org"))`},
		{"Ann <@one.example,@two.example:a@example.org>", `(("Ann" NIL "a" "example.org"))`},
		{"a@example.org (Ann (the) \\(A)", `(("Ann (the) (A" NIL "a" "example.org"))`},
		{"(first) a@example.org", `(("first" NIL "a" "example.org"))`},
		{"Ann (not this) <a@example.org>", `(("Ann" NIL "a" "example.org"))`},
		{"a@example.org (open", `(("open" NIL "a" "example.org"))`},
		{"a@example.org (slash\\", `(("slash" NIL "a" "example.org"))`},
		{"one (c), a@example.org", `(("c" NIL "one" "")(NIL NIL "a" "example.org"))`},
		{"Friends: a@example.org, Bob <b@example.org>;", `((NIL NIL "Friends" NIL)(NIL NIL "a" "example.org")("Bob" NIL "b" "example.org")(NIL NIL NIL NIL))`},
		{"undisclosed-recipients:;", `((NIL NIL "undisclosed-recipients" NIL)(NIL NIL NIL NIL))`},
		{"A: a@x;, B: b@y;c@z", `((NIL NIL "A" NIL)(NIL NIL "a" "x")(NIL NIL NIL NIL)(NIL NIL "B" NIL)(NIL NIL "b" "y")(NIL NIL NIL NIL)(NIL NIL "c" "z"))`},
		{"A: B: b@y", `((NIL NIL "A" NIL)(NIL NIL "b" "y")(NIL NIL NIL NIL))`},
		{":", `((NIL NIL "" NIL)(NIL NIL NIL NIL))`},
		{"<>", `((NIL NIL "" ""))`},
		{"MAILER-DAEMON", `((NIL NIL "MAILER-DAEMON" ""))`},
		{"John Smith", `((NIL NIL "John Smith" ""))`},
		{"John Smith j@example.org", `((NIL NIL "j" "example.org"))`},
		{"@example.org", `((NIL NIL "" "example.org"))`},
		{"a@b@c", `((NIL NIL "a" "c"))`},
		{"Ann <a@example.org, b@example.org", `(("Ann" NIL "a" "example.org")(NIL NIL "b" "example.org"))`},
		{"Ann <a@example.org> junk, b@example.org", `(("Ann" NIL "a" "example.org")(NIL NIL "b" "example.org"))`},
		// Commas that were forgotten, and addresses for names.
		{"a@b.com c@d.com", `((NIL NIL "a" "b.com")(NIL NIL "c" "d.com"))`},
		{"a@b.com\r\n c@d.com", `((NIL NIL "a" "b.com")(NIL NIL "c" "d.com"))`},
		{"alice@bank.example bob", `((NIL NIL "alice" "bank.example"))`},
		{"a@b (x) y@z", `(("x" NIL "a" "b")(NIL NIL "y" "z"))`},
		{"a@b (x) y", `(("x" NIL "a" "b"))`},
		{`a@b "x" <c@d>`, `((NIL NIL "a" "b")("x" NIL "c" "d"))`},
		{"<a@b> <c@d>", `((NIL NIL "a" "b")(NIL NIL "c" "d"))`},
		{"Ann <a@b> Bob <c@d> e@f", `(("Ann" NIL "a" "b")("Bob" NIL "c" "d")(NIL NIL "e" "f"))`},
		{"a@b.com [mailto:a@b.com]", `((NIL NIL "a" "b.com")(NIL NIL "a" "b.com"))`},
		{"Ann <a@b> to: c@d", `(("Ann" NIL "a" "b")(NIL NIL "c" "d"))`},
		{"a@b: c@d;", `((NIL NIL "a" "b")(NIL NIL "c" "d"))`},
		{"G: a@b c@d;", `((NIL NIL "G" NIL)(NIL NIL "a" "b")(NIL NIL "c" "d")(NIL NIL NIL NIL))`},
		{"joe@x.com <joe@x.com>", `(("joe@x.com" NIL "joe" "x.com"))`},
		{"Joe j.d@x.com<joe@x.com>", `(("Joe j.d@x.com" NIL "joe" "x.com"))`},
		{"Sales @ Work <s@x.com>, a@b", `(("Sales @ Work" NIL "s" "x.com")(NIL NIL "a" "b"))`},
		{`"open`, `((NIL NIL "open" ""))`},
		{`a@[open`, `((NIL NIL "a" "[open"))`},
		{`)>]\@;`, `((NIL NIL "" ""))`},
	} {
		t.Run(c.value, func(t *testing.T) {
			left := maxAddresses
			have := string(appendList(nil, [][]byte{[]byte(c.value)}, &left))
			want := c.want
			if want == "" {
				want = "NIL"
			}
			if have != want {
				t.Errorf("have %s\nwant %s", have, want)
			}
			if err := oracle.Addresses(have); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAddressLimit(t *testing.T) {
	for _, c := range []struct {
		left        int
		value, want string
	}{
		{0, "a@x", "NIL"},
		{1, "a@x, b@x", `((NIL NIL "a" "x"))`},
		{1, "G: b@x;", `((NIL NIL "G" NIL)(NIL NIL NIL NIL))`},
		{1, "a@x, G: b@x;", `((NIL NIL "a" "x"))`},
	} {
		if have := string(appendList(nil, [][]byte{[]byte(c.value)}, &c.left)); have != c.want {
			t.Errorf("%s: have %s, want %s", c.value, have, c.want)
		}
	}
}

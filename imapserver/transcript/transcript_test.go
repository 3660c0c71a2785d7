package transcript

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/oracle"
)

// dialogue feeds lines that begin with C: or S: to a transcript, in pieces of so many
// octets, and gives what it tells. "~" ends a piece that has no line end.
func dialogue(bodies bool, pieces int, said ...string) []string {
	var got []string
	t := New(bodies, func(l Line) {
		who := "C: "
		if l.Server {
			who = "S: "
		}
		got = append(got, who+l.Text)
	})
	for _, one := range said {
		text := strings.ReplaceAll(one[3:], "|", "\r\n") + "\r\n"
		if open, ok := strings.CutSuffix(one[3:], "~"); ok {
			text = strings.ReplaceAll(open, "|", "\r\n")
		}
		for len(text) > 0 {
			n := min(pieces, len(text))
			if one[0] == 'C' {
				t.Client([]byte(text[:n]))
			} else {
				t.Server([]byte(text[:n]))
			}
			text = text[n:]
		}
	}
	return got
}

func TestTranscript(t *testing.T) {
	for name, test := range map[string]struct{ said, want []string }{
		"login":               {[]string{"C: a LOGIN alice secret", "S: a OK in"}, []string{"C: a LOGIN (masked)", "S: a OK in"}},
		"capitals and spaces": {[]string{"C: a  login \"alice\" \"secret\""}, []string{"C: a login (masked)"}},
		"without a tag":       {[]string{"C: LOGIN alice secret", "C: \tlogin alice secret"}, []string{"C: LOGIN (masked)", "C: login (masked)"}},
		"literals": {
			[]string{"C: a LOGIN {5}", "S: + go", "C: alice {6}", "S: + go", "C: secret", "S: a NO", "C: b NOOP"},
			[]string{"C: a LOGIN (masked) {5}", "S: + go", "C: (masked)", "C: (masked){6}", "S: + go", "C: (masked)", "S: a NO", "C: b NOOP"},
		},
		"literals that do not wait": {
			[]string{"C: a LOGIN {5+}|alice {6+}|secret", "C: b NOOP"},
			[]string{"C: a LOGIN (masked) {5+}", "C: (masked)", "C: (masked){6+}", "C: (masked)", "C: b NOOP"},
		},
		"a literal that is refused": {
			[]string{"C: a SELECT {9999}", "S: a BAD too long", "C: b LOGIN alice secret"},
			[]string{"C: a SELECT {9999}", "S: a BAD too long", "C: b LOGIN (masked)"},
		},
		"a tag that is used again before it is answered": {
			[]string{"C: a NOOP|b NOOP|a LOGIN {5}", "S: a OK", "S: b OK", "S: + go", "C: alice {6}", "S: + go", "C: secret", "S: a OK", "C: a NOOP", "S: a OK", "C: a NOOP"},
			[]string{"C: a NOOP", "C: b NOOP", "C: a LOGIN (masked) {5}", "S: a OK", "S: b OK", "S: + go", "C: (masked)", "C: (masked){6}", "S: + go", "C: (masked)", "S: a OK", "C: a NOOP", "S: a OK", "C: a NOOP"},
		},
		"an exchange": {
			[]string{"C: a AUTHENTICATE PLAIN", "S: +", "C: c2VjcmV0", "S: a OK", "C: b AUTHENTICATE SCRAM-SHA-256 c2VjcmV0", "S: + c2VjcmV0", "C: c2VjcmV0", "S: + c2VjcmV0", "C: ", "S: b NO", "C: c NOOP"},
			[]string{"C: a AUTHENTICATE PLAIN", "S: + (masked)", "C: (masked)", "S: a OK", "C: b AUTHENTICATE SCRAM-SHA-256 (masked)", "S: + (masked)", "C: (masked)", "S: + (masked)", "C: (masked)", "S: b NO", "C: c NOOP"},
		},
		"what is sent ahead in an exchange": {
			[]string{"C: a AUTHENTICATE PLAIN|c2VjcmV0|b NOOP", "S: a OK", "C: c NOOP"},
			[]string{"C: a AUTHENTICATE PLAIN", "C: (masked)", "C: (masked)", "S: a OK", "C: c NOOP"},
		},
		"literals that should wait": {
			[]string{"C: a LOGIN {5}|alice {6}|secret|b NOOP", "S: + go", "S: + go", "S: a OK", "S: b OK", "C: c NOOP"},
			[]string{"C: a LOGIN (masked) {5}", "C: (masked)", "C: (masked)", "C: (masked)", "S: + (masked)", "S: + (masked)", "S: a OK", "S: b OK", "C: c NOOP"},
		},
		"a message that should wait": {
			[]string{"C: a APPEND x {15}|secret|message|", "S: + go", "S: a OK", "C: c NOOP"},
			[]string{"C: a APPEND x {15}", "C: (masked)", "C: (masked)", "C: (masked)", "S: + (masked)", "S: a OK", "C: c NOOP"},
		},
		"an exchange in a literal": {
			[]string{"C: a AUTHENTICATE PLAIN {8+}|c2VjcmV0", "S: a BAD", "C: b NOOP"},
			[]string{"C: a AUTHENTICATE PLAIN (masked)", "C: (masked)", "C: (masked)", "S: a BAD", "C: b NOOP"},
		},
		"an exchange that is refused": {
			[]string{"C: a AUTHENTICATE PLAIN", "S: a NO", "C: c2VjcmV0+x", "S: c2VjcmV0 BAD", "C: b NOOP", "S: b OK"},
			[]string{"C: a AUTHENTICATE PLAIN", "S: a NO", "C: (masked)", "S: (masked) BAD", "C: b NOOP", "S: b OK"},
		},
		"a tag that does not end": {
			[]string{"C: " + strings.Repeat("a", 3000) + " LOGIN alice secret"},
			[]string{"C: " + strings.Repeat("a", maxLine) + "... (1020 octets more) ..."},
		},
		"no literal":  {[]string{"C: a NOOP {+9}", "C: b LOGIN alice secret"}, []string{"C: a NOOP {+9}", "C: b LOGIN (masked)"}},
		"an argument": {[]string{"C: a SELECT Login"}, []string{"C: a SELECT Login"}},
		"messages": {
			[]string{"C: a APPEND INBOX {12+}|secret|more", "S: * 1 FETCH (UID 7 BODY[] {6}|secret PREVIEW \"sec\\\"ret\")", "S: * LIST () \".\" {3}|a b", "S: * 7 UIDFETCH (BODY[] {6}|secret)", "S: * 1 FETCH (BODY[1] \"secret" + strings.Repeat("x", 3000) + "secret\")", "S: a OK"},
			[]string{"C: a APPEND INBOX {12+}", "C: (12 octets)", "S: * 1 FETCH (UID 7 BODY[] {6}", "S: (6 octets)", "S:  PREVIEW \"...\")", "S: * LIST () \".\" {3}", "S: a b",
				"S: * 7 UIDFETCH (BODY[] {6}", "S: (6 octets)", "S: )", "S: * 1 FETCH (BODY[1] \"...\"", "S: a OK"},
		},
		"an unasked response between": {
			[]string{"C: a APPEND INBOX {6}", "S: * 3 EXISTS", "S: + go", "C: secret", "S: a OK"},
			[]string{"C: a APPEND INBOX {6}", "S: * 3 EXISTS", "S: + go", "C: (6 octets)", "S: a OK"},
		},
	} {
		for _, pieces := range []int{1, 7, 1000} {
			if diff := cmp.Diff(test.want, dialogue(false, pieces, test.said...)); diff != "" {
				t.Errorf("%s, %d octets at a time:\n%s", name, pieces, diff)
			}
		}
	}
	if got := strings.Join(dialogue(true, 9, "S: * 1 FETCH (BODY[] {6}|secret PREVIEW \"b\")"), "|"); !strings.Contains(got, "secret|S:  PREVIEW \"b\")") {
		t.Errorf("with bodies: %q", got)
	}
}

// A line without an end, and a literal of any size, cost no more than so much.
func TestBounds(t *testing.T) {
	got := dialogue(true, 1000, "C: a SEARCH "+strings.Repeat("x", 1<<20)+" {3000000+}", "C: "+strings.Repeat("y", 3000000)+"~", "C: ", "C: b NOOP")
	if len(got) != 3 && len(got) != 4 || !strings.HasSuffix(got[0], "{3000000+}") || len(got[0]) > 2*maxLine || len(got[1]) > 2*maxLiteral || got[len(got)-1] != "C: b NOOP" {
		t.Errorf("%d lines, %.80q", len(got), got)
	}
}

// FuzzTranscript: whatever is said before, and in whatever pieces, a password behind
// LOGIN at the beginning of a command is not told.
func FuzzTranscript(f *testing.F) {
	f.Add("a NOOP", "a OK", 3)
	f.Add("a SELECT {3}", "a BAD", 1)
	f.Add("a APPEND x {3+}\r\nabc", "* 1 FETCH (BODY[] {3}\r\nabc)", 1)
	f.Fuzz(func(t *testing.T, client, server string, pieces int) {
		var got strings.Builder
		var tr *Transcript
		oracle.Cost(t, len(client)+len(server), func() {
			got.Reset()
			tr = New(true, func(l Line) { got.WriteString(l.Text + "\n") })
			tr.Client([]byte(client))
			tr.Server([]byte(server))
		})
		if tr.client.literal > 0 || tr.client.goesOn || tr.client.size > 0 || tr.hidden {
			return // it is no beginning
		}
		for _, c := range []byte("x LOGIN alice pass-W0RD\r\n") {
			tr.Client([]byte{c})
		}
		if strings.Contains(got.String(), "pass-W0RD") {
			t.Errorf("%q", got.String())
		}
	})
}

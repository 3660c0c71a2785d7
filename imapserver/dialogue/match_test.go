package dialogue

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMatch holds which responses a pattern stands for.
func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, response string
		want              bool
	}{
		{`a OK`, `a OK `, true},
		{`a OK ...`, `a OK done`, true},
		{`a OK ...`, `a OK [X 1] done`, true},
		{`a OK [X 1] ...`, `a OK [X 1] done`, true},
		{`a OK [X 1] ...`, `a OK done`, false},
		{`a OK [X 1] ...`, `a OK [X 2] done`, false},
		{`a OK done`, `a OK [X 1] done`, false},
		{`a OK ...`, `b OK done`, false},
		{`a OK ...`, `a NO done`, false},
		{`+ ...`, `+ `, true},
		{`+ VXNlcg==`, `+ VXNlcg==`, true},
		{`+ VXNlcg==`, `+ other`, false},
		{`* 1 EXISTS`, `* 1 EXISTS`, true},
		{`* 1 EXISTS`, `* 2 EXISTS`, false},
		{`* 1 EXISTS`, `* 1 EXISTS more`, false},
		{`* ... EXPUNGE`, `* 7 EXPUNGE`, true},
		{`* ... EXPUNGE`, `* 7 EXISTS`, false},
		{`* $n EXPUNGE`, `* 7 EXPUNGE`, true},

		{`* FLAGS (\Seen \Draft)`, `* FLAGS (\Draft \Seen)`, true},
		{`* FLAGS (\Seen)`, `* FLAGS (\Draft \Seen)`, false},
		{`* FLAGS (\Seen \Draft)`, `* FLAGS (\Seen)`, false},
		{`* FLAGS (\Seen ...)`, `* FLAGS (\Draft \Seen)`, true},
		{`* FLAGS ($$Work)`, `* FLAGS ($Work)`, true},
		{`* OK [PERMANENTFLAGS (\* \Seen)] ...`, `* OK [PERMANENTFLAGS (\Seen \*)] kept`, true},
		{`* LIST (\A \B) "." a`, `* LIST (\B \A) "." "a"`, true},
		{`* LIST () "." NIL`, `* LIST () "." "NIL"`, false},
		{`* LIST () NIL a`, `* LIST () NIL a`, true},
		{`* LIST () "." "a b"`, "* LIST () \".\" {3}\r\na b", true},
		{`* STATUS a (MESSAGES 1 UNSEEN 2)`, `* STATUS "a" (UNSEEN 2 MESSAGES 1)`, true},
		{`* STATUS a (MESSAGES 1 UNSEEN 2)`, `* STATUS a (UNSEEN 1 MESSAGES 2)`, false},
		{`* STATUS a (MESSAGES 1)`, `* STATUS a (UNSEEN 2 MESSAGES 1)`, false},
		{`* CAPABILITY A B ...`, `* CAPABILITY C B A`, true},
		{`* CAPABILITY A B`, `* CAPABILITY C B A`, false},
		{`* SEARCH`, `* SEARCH`, true},
		{`* SEARCH`, `* SEARCH 1`, false},
		{`* SEARCH 1 2`, `* SEARCH 2 1`, true},
		{`* ESEARCH (TAG "a") MIN 1 MAX 2`, `* ESEARCH (TAG "a") MAX 2 MIN 1`, true},
		{`* ESEARCH (TAG "a") UID MIN 1`, `* ESEARCH (TAG "a") MIN 1`, false},
		{`* ESEARCH (TAG "a") UID`, `* ESEARCH (TAG "a") UID`, true},
		{`* ID ("name" $x ...)`, `* ID ("version" "1" "name" "x")`, true},
		{`* ID NIL`, `* ID NIL`, true},

		{`* 1 FETCH (UID 2 FLAGS (\Seen \Draft))`, `* 1 FETCH (FLAGS (\Draft \Seen) UID 2)`, true},
		{`* 1 FETCH (UID 2)`, `* 1 FETCH (FLAGS () UID 2)`, false},
		{`* 1 FETCH (UID 2 ...)`, `* 1 FETCH (FLAGS () UID 2)`, true},
		{`* 1 FETCH (BODY[] {{m}})`, "* 1 FETCH (BODY[] {3}\r\nx\r\n)", true},
		{`* 1 FETCH (BODY[] "x\r\n")`, "* 1 FETCH (BODY[] {3}\r\nx\r\n)", true},
		{`* 1 FETCH (BODY[TEXT]<2> "a\"b")`, `* 1 FETCH (BODY[TEXT]<2> "a\"b")`, true},
		{`* 1 FETCH (BODY[] NIL)`, `* 1 FETCH (BODY[] "NIL")`, false},
		{`* 1 FETCH (BODY[HEADER.FIELDS (TO)] "")`, `* 1 FETCH (BODY[HEADER.FIELDS (TO)] "")`, true},
		{`* 1 FETCH (BODY[HEADER.FIELDS (...)] "")`, `* 1 FETCH (BODY[HEADER.FIELDS (CC TO)] "")`, true},
		{`* 1 FETCH (ENVELOPE (NIL "a" ...))`, `* 1 FETCH (ENVELOPE (NIL "a" ("b") "c"))`, true},
		{`* 1 FETCH (BODY (("a")("b") "c"))`, `* 1 FETCH (BODY (("a") ("b") "c"))`, true},
		{`* 1 FETCH (BODY (("b")("a") "c"))`, `* 1 FETCH (BODY (("a")("b") "c"))`, false},
		{`* 1 FETCH (INTERNALDATE "...-May-2024 ...")`, `* 1 FETCH (INTERNALDATE " 6-May-2024 07:08:09 +0000")`, true},
	} {
		pattern, err := parseResponse(c.pattern, map[string]string{"m": "x\r\n"})
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		response, err := parseResponse(c.response, nil)
		if err != nil {
			t.Errorf("%s: %v", c.response, err)
			continue
		}
		if have := new(matcher).match(pattern, response); have != c.want {
			t.Errorf("pattern %s, response %q: %v", c.pattern, c.response, have)
		}
	}
}

// TestCapture holds what stays known after a match, and after none.
func TestCapture(t *testing.T) {
	m := matcher{vars: map[string]string{"known": "7"}}
	for _, c := range []struct {
		pattern, response string
		want              bool
		vars              string
	}{
		{`a OK [COPYUID $v 1:2 $d] ...`, `a OK [COPYUID 9 1:2 5:6] done`, true, "d=5:6 known=7 v=9"},
		{`a OK [COPYUID $v 1 $new] ...`, `a OK [COPYUID 8 1 5] done`, false, "d=5:6 known=7 v=9"},
		{`* 1 FETCH (UID $new MODSEQ ($known))`, `* 1 FETCH (UID 3 MODSEQ (8))`, false, "d=5:6 known=7 v=9"},
		{`* 1 FETCH (UID $new MODSEQ ($known))`, `* 1 FETCH (MODSEQ (7) UID 3)`, true, "d=5:6 known=7 new=3 v=9"},
		{`* LIST (\$x \A) "." a`, `* LIST (\A \B) "." a`, true, "d=5:6 known=7 new=3 v=9 x=B"},
	} {
		pattern, err := parseResponse(c.pattern, map[string]string{})
		if err != nil {
			t.Fatal(err)
		}
		response, err := parseResponse(c.response, nil)
		if err != nil {
			t.Fatal(err)
		}
		have := m.match(pattern, response)
		if vars := show(m.vars); have != c.want || vars != c.vars {
			t.Errorf("%s: %v, %s; want %v, %s", c.pattern, have, vars, c.want, c.vars)
		}
	}
}

func show(vars map[string]string) string {
	var list []string
	for _, name := range sorted(maps.Keys(vars)) {
		list = append(list, name+"="+vars[name])
	}
	return strings.Join(list, " ")
}

func TestResponseErrors(t *testing.T) {
	for _, line := range []string{`* LIST (`, `* LIST "`, `* LIST )`, `* 1 FETCH (BODY[ "x")`, "* LIST {5}\r\nabc", `* LIST "\x"`, `* OK [X`, `* {{none}}`} {
		if n, err := parseResponse(line, map[string]string{}); err == nil {
			t.Errorf("%q: %v", line, n)
		}
	}
}

func TestPieces(t *testing.T) {
	s := &Script{messages: map[string]string{"hello": "text\r\n"}}
	vars := map[string]string{"user": "demo"}
	for _, c := range []struct {
		text string
		want []piece
	}{
		{`a NOOP`, []piece{{"a NOOP\r\n", false}}},
		{`a LOGIN $user $$x {5} {`, []piece{{"a LOGIN demo $x {5} {\r\n", false}}},
		{`a APPEND x {{hello}}`, []piece{{"a APPEND x {6}\r\n", true}, {"text\r\n\r\n", false}}},
		{`a APPEND x {{hello+}}`, []piece{{"a APPEND x {6+}\r\ntext\r\n\r\n", false}}},
		{`a LOGIN {{"d\n"}} {{"p"+}}`, []piece{{"a LOGIN {2}\r\n", true}, {"d\n {1+}\r\np\r\n", false}}},
	} {
		have, err := s.pieces(c.text, func(n string) (string, bool) { v, ok := vars[n]; return v, ok })
		if diff := cmp.Diff(c.want, have, cmp.AllowUnexported(piece{})); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", c.text, err, diff)
		}
	}
	for _, text := range []string{`a $none`, `a {{none}}`, `a {{hello`} {
		if p, err := s.pieces(text, func(n string) (string, bool) { return "", false }); err == nil {
			t.Errorf("%s: %v", text, p)
		}
	}
}

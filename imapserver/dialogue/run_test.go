package dialogue

import (
	"iter"
	"net"
	"slices"
	"strings"
	"testing"
)

func sorted(keys iter.Seq[string]) []string { return slices.Sorted(keys) }

// says makes an account whose server says lines, whatever it is told, and
// waits for the client to send something before each that does not start with "<".
func says(t *testing.T, lines ...string) *Account {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		server, err := l.Accept()
		if err != nil {
			return
		}
		defer server.Close()
		buf := make([]byte, 4096)
		for _, line := range lines {
			now, ok := strings.CutPrefix(line, "<")
			if !ok {
				if _, err := server.Read(buf); err != nil {
					return
				}
			}
			if _, err := server.Write([]byte(now + "\r\n")); err != nil {
				return
			}
		}
	}()
	return &Account{Server: "mailstead", User: "demo", Password: "secret", Dial: func(string) (net.Conn, error) {
		return net.Dial("tcp", l.Addr().String())
	}}
}

const loggedIn = "login OK done"

// TestRun holds that a script passes where the server says what it wants, and
// fails, at the right line, where the server says anything else.
func TestRun(t *testing.T) {
	for _, c := range []struct {
		name, script string
		lines        []string
		want         string // of the error
	}{
		{"right", "C: a NOOP\nS: a OK ...", []string{"<* OK hi", loggedIn, "a OK done", "* BYE bye", "<logout OK"}, ""},
		{"wrong answer", "C: a NOOP\nS: a OK ...", []string{"<* OK hi", loggedIn, "a NO"}, "script:2: have"},
		{"untagged too many", "C: a NOOP\nS: a OK ...", []string{"<* OK hi", loggedIn, "* 1 EXISTS", "<a OK"}, "script:2: have"},
		{"closed", "C: a NOOP\nS: a OK ...", []string{"<* OK hi", loggedIn}, "script:2: want \"a OK ...\": no response: "},
		{"greeting", "C: a NOOP", []string{"<* BYE hi"}, "script:1: greeted with"},
		{"login", "C: a NOOP", []string{"<* OK hi", "login NO"}, "script:1: have \"login NO\""},
		{"left over", "C: a NOOP\nS: a OK ...", []string{"<* OK hi", loggedIn, "a OK", "<* 1 EXISTS", "logout OK"}, "at the end of connection 1: have \"* 1 EXISTS\""},

		{"block in any order", "C: a X\nU: * 1 EXISTS\nU: * 2 RECENT\nS: a OK", []string{"<* OK hi", loggedIn, "* 2 RECENT", "<* 1 EXISTS", "<a OK ", "* BYE bye", "<logout OK"}, ""},
		{"block too short", "C: a X\nU: * 1 EXISTS\nS: a OK", []string{"<* OK hi", loggedIn, "a OK "}, "script:2: have \"a OK \": want \"* 1 EXISTS\", the response after the block"},
		{"block with more", "C: a X\nU: * 1 EXISTS\nS: a OK", []string{"<* OK hi", loggedIn, "* 1 EXISTS", "<* 1 RECENT", "<a OK "}, "script:2: have \"* 1 RECENT\""},
		{"block that allows more", "C: a X\nU: * 1 EXISTS\nU: ...\nS: a OK", []string{"<* OK hi", loggedIn, "* 1 EXISTS", "<* 1 RECENT", "<a OK ", "* BYE bye", "<logout OK"}, ""},
		{"block with what is ruled out", "C: a X\nN: * ... EXPUNGE\nU: ...\nS: a OK", []string{"<* OK hi", loggedIn, "* 1 EXPUNGE", "<a OK "}, "which line 2 rules out"},
		{"block ends by itself", "C: a IDLE\nU: * 1 EXISTS\nU: * 1 RECENT\nC: DONE\nS: a OK", []string{"<* OK hi", loggedIn, "* 1 RECENT", "<* 1 EXISTS", "a OK ", "* BYE bye", "<logout OK"}, ""},
		{"tag that is not wanted", "C: a X\nU: ...\nS: a OK", []string{"<* OK hi", loggedIn, "b OK ", "<a OK "}, "script:2: have \"b OK \""},

		{"literal", "C: a X {{\"abc\"}}\nS: a OK", []string{"<* OK hi", loggedIn, "+ go on", "a OK ", "* BYE bye", "<logout OK"}, ""},
		{"literal refused", "C: a X {{\"abc\"}}\nS: a OK", []string{"<* OK hi", loggedIn, "a NO"}, "want + before the literal"},
		{"other server", "@dovecot C: a X\nC: b X\nS: b OK", []string{"<* OK hi", loggedIn, "b OK ", "* BYE bye", "<logout OK"}, ""},
		{"eof", "connect 1\nS: * OK ...\neof 1", []string{"<* OK hi", "<more"}, "script:3: more came before the end"},
		{"differ", "connect 1\nS: * OK $a\nS: * OK $b\ndiffer a b", []string{"<* OK x", "<* OK x"}, "script:4: both $a and $b are \"x\""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Parse("script", c.script)
			if err != nil {
				t.Fatal(err)
			}
			err = newRunner(s, says(t, c.lines...)).run()
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("have %v, want %q", err, c.want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"# only a comment", "nothing is said"},
		{"X: a", `s:1: cannot read "X: a"`},
		{"C: a\nmkdir", `s:2: cannot read "mkdir"`},
		{"connect 10", `s:1: no connection "10"`},
		{"@courier C: a", `s:1: no server "courier"`},
		{"S: * LIST (", `s:1: offset`},
		{"R: abc", `s:1: "abc" is no string`},
		{"C: a {{none}}", `s:1: no message "none"`},
		{"deliver INBOX none", `s:1: no message "none"`},
		{"| stray", `s:1: cannot read "| stray"`},
	} {
		if _, err := Parse("s", c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %s", c.text, err, c.want)
		}
	}
}

func TestParse(t *testing.T) {
	s, err := Parse("s", `# Says: something, without meaning.
# covers: A B=C
# covers: D
# requires: MOVE
# only: mailstead, for a reason
# namespace: INBOX.
message m
| one
|
|  two
C2: a uid fetch 1 x
R: "b noop\r\n"*2
@dovecot S: a OK ...`)
	if err != nil {
		t.Fatal(err)
	}
	if have := strings.Join(s.Covers, " ") + "/" + strings.Join(s.Requires, " ") + "/" + s.Only + "/" + s.Namespace; have != "A B=C D/MOVE/mailstead/INBOX." {
		t.Error(have)
	}
	if have := s.messages["m"]; have != "one\r\n\r\n two\r\n" {
		t.Errorf("%q", have)
	}
	if have := strings.Join(s.Commands(), "/"); have != "UID FETCH/NOOP" {
		t.Error(have)
	}
	if last := s.Steps[2]; last.Server != "dovecot" || last.Verb != "S" || last.Conn != 1 || last.Line != 13 {
		t.Errorf("%+v", last)
	}
}

package proxy

import (
	"strings"
	"testing"
)

func TestLiteral(t *testing.T) {
	for line, want := range map[string]int64{
		"a LOGIN {5}\r\n": 5, "a APPEND x {0+}\r\n": 0, "x ~{12}\n": 12, "{999999999999999999}\r\n": 999999999999999999,
		"a {5} \r\n": -1, "a {}\r\n": -1, "a {+}\r\n": -1, "a {-5}\r\n": -1, "a {9999999999999999999}\r\n": -1, "5}\r\n": -1, "a {5++}\r\n": -1, "": -1, "{x}\r\n": -1,
	} {
		n, waits, ok := literal([]byte(line))
		if !ok {
			n = -1
		}
		if n != want || ok && waits == strings.Contains(line, "+") {
			t.Errorf("%q: %d %t %t", line, n, waits, ok)
		}
	}
}

func TestRewrite(t *testing.T) {
	off := []string{"IDLE"}
	for line, want := range map[string]string{
		"* CAPABILITY IMAP4rev1 STARTTLS IDLE AUTH=PLAIN UIDPLUS\r\n":   "* CAPABILITY IMAP4rev1 UIDPLUS\r\n",
		"* capability imap4rev1 auth=plain\r\n":                         "* capability imap4rev1\r\n",
		"a OK [CAPABILITY IMAP4rev1 UNAUTHENTICATE] [CAPABILITY x]\r\n": "a OK [CAPABILITY IMAP4rev1] [CAPABILITY x]\r\n",
		"* OK [CAPABILITY IMAP4rev1 STARTTLS\r\n":                       "* OK [CAPABILITY IMAP4rev1 STARTTLS\r\n",
		"* LIST () \".\" CAPABILITY STARTTLS\r\n":                       "* LIST () \".\" CAPABILITY STARTTLS\r\n",
		"* 1 FETCH (X [CAPABILITY STARTTLS])\r\n":                       "* 1 FETCH (X [CAPABILITY STARTTLS])\r\n",
		"* OK [ALERT] CAPABILITY STARTTLS\r\n":                          "* OK [ALERT] CAPABILITY STARTTLS\r\n",
		"\r\n":                                                          "\r\n", "+ CAPABILITY STARTTLS\r\n": "+ CAPABILITY \r\n",
	} {
		if got := string(rewrite([]byte(line), off)); got != want {
			t.Errorf("%q became %q", line, got)
		}
	}
}

func TestParseCommand(t *testing.T) {
	for line, want := range map[string]effect{
		"a select x\r\n": selects, "a UID FETCH 1 x\r\n": none, "a LOGOUT\r\n": leaves, "a1 logout\r\n": leaves, "a1 logout ": leaves, "a ENABLE X\r\n": spoils, "a FROB\r\n": spoils,
	} {
		if _, _, e, ok := parseCommand([]byte(line)); e != want || !ok {
			t.Errorf("%q: %d %t", line, e, ok)
		}
	}
	for _, line := range []string{"", "\r\n", "a\r\n", " a b\r\n", "* LOGOUT\r\n", "+ x\r\n", "a  LOGOUT\r\n", "DONE\r\n", "a1 logout", "a LOGIN\x00\r\n", "a \u017fTARTTLS\r\n"} {
		if _, _, _, ok := parseCommand([]byte(line)); ok {
			t.Errorf("%q is a command", line)
		}
	}
}

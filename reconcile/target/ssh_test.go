package target

import (
	"slices"
	"strings"
	"testing"
)

// What reaches ssh's command line is a name, or nothing does.
func TestSSHCheck(t *testing.T) {
	good := SSH{Address: "mx1.example.org", User: "root", Port: 2222, Program: "/usr/local/bin/mailstead"}
	for _, address := range []string{"mx1", "mx1.example.org", "192.0.2.1", "2001:db8::1", "fe80::1%eth0", "my_alias"} {
		s := good
		if s.Address = address; s.Check() != nil {
			t.Errorf("%q is refused: %v", address, s.Check())
		}
	}
	for _, bad := range []string{"", "-oProxyCommand=id", "-", "a b", "a;id", "$(id)", "`id`", "a\nb", "root@mx1", "mx1:22", "ssh://mx1", "a'b", "%h", "::1%$(id)", strings.Repeat("a", 300)} {
		s := good
		if s.Address = bad; s.Check() == nil {
			t.Errorf("the address %q is let through", bad)
		}
		s = good
		if s.User = bad; bad != "" && s.Check() == nil {
			t.Errorf("the user %q is let through", bad)
		}
		s = good
		if s.Program = "/opt/" + bad; s.Check() == nil && !slices.Contains([]string{"-", "root@mx1", strings.Repeat("a", 300)}, bad) {
			t.Errorf("the program %q is let through", s.Program)
		}
		if _, err := (SSH{Address: bad, Program: "/x"}).Open(t.Context()); err == nil {
			t.Errorf("connected to %q", bad)
		}
	}
	args := good.args()
	if i := slices.Index(args, "--"); i < 0 || !slices.Equal(args[i+1:], []string{"mx1.example.org", "/usr/local/bin/mailstead remote"}) {
		t.Errorf("%q", args)
	}
}

func TestTail(t *testing.T) {
	var w tail
	w.Write([]byte(strings.Repeat("noise\n", 10_000)))
	w.Write([]byte("\r\nthe\xff end\r\n"))
	if s := w.String(); len(s) > 2*maxTail || !strings.HasSuffix(s, "noise; the? end") {
		t.Errorf("%q", s[max(0, len(s)-40):])
	}
}

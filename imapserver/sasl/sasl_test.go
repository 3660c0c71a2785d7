package sasl

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"mailstead/imapserver/oracle"
)

// run presents responses until the exchange is over; nil is no initial response.
func run(t *testing.T, name string, responses ...[]byte) (Mechanism, []string, error) {
	t.Helper()
	m, ok := New(name)
	if !ok {
		t.Fatalf("no mechanism %s", name)
	}
	var challenges []string
	for i, r := range responses {
		c, done, err := m.Next(r)
		if err != nil {
			return m, challenges, err
		}
		if done != (i == len(responses)-1) {
			t.Fatalf("response %d: done %v", i, done)
		}
		if !done {
			challenges = append(challenges, string(c))
		}
	}
	return m, challenges, nil
}

func TestPlain(t *testing.T) {
	long := strings.Repeat("a", MaxPassword+1)
	for _, tt := range []struct {
		response string
		err      error
	}{
		{"\x00tim\x00tanstaaftanstaaf", nil},
		{"tim\x00tim\x00x", nil},
		{"\x00Grüße\x00päss wörd", nil},
		{"Ursel\x00Kurt\x00xipj3plmq", nil},
		{"TIM\x00tim\x00x", nil},
		{"a\xff\x00tim\x00x", ErrText},
		{long + "\x00tim\x00x", ErrTooLong},
		{"\x00tim\x00x\x00", ErrSyntax},
		{"\x00tim\x00x\x00root", ErrSyntax},
		{"\x00tim\x00", ErrEmpty},
		{"\x00\x00x", ErrEmpty},
		{"tim\x00\x00x", ErrEmpty},
		{"\x00tim", ErrSyntax},
		{"tim", ErrSyntax},
		{"", ErrSyntax},
		{"\x00tim\x00\xff\xfe", ErrText},
		{"\x00\xc3\x28\x00x", ErrText},
		{"\x00" + long[:MaxUser] + "\x00x", nil},
		{"\x00" + long[:MaxUser+1] + "\x00x", ErrTooLong},
		{"\x00tim\x00" + long[:MaxPassword], nil},
		{"\x00tim\x00" + long, ErrTooLong},
	} {
		m, _, err := run(t, "PLAIN", []byte(tt.response))
		if !errors.Is(err, tt.err) {
			t.Errorf("%.40q: %v, not %v", tt.response, err, tt.err)
		}
		if got := m.Credentials(); (got != Credentials{}) != (tt.err == nil) {
			t.Errorf("%.40q: credentials %v after %v", tt.response, got, err)
		}
	}
}

// Whom somebody acts for is passed on where it is not themselves.
func TestPlainFor(t *testing.T) {
	for response, want := range map[string]string{"\x00tim\x00x": "", "tim\x00tim\x00x": "", "TIM\x00tim\x00x": "TIM", "Ursel\x00Kurt\x00x": "Ursel"} {
		if m, _, err := run(t, "PLAIN", []byte(response)); err != nil || m.Credentials().For != want {
			t.Errorf("%q: for %q, %v", response, m.Credentials().For, err)
		}
	}
}

func TestPlainAsks(t *testing.T) {
	m, challenges, err := run(t, "PLAIN", nil, []byte("\x00u\x00p"))
	if err != nil || len(challenges) != 1 || challenges[0] != "" {
		t.Fatalf("%q %v", challenges, err)
	}
	if got := m.Credentials(); got != (Credentials{User: "u", Password: "p"}) {
		t.Errorf("%+v", got)
	}
	if _, _, err := m.Next([]byte("\x00u\x00q")); !errors.Is(err, ErrEnded) {
		t.Errorf("second response: %v", err)
	}
	if got := m.Credentials(); got != (Credentials{User: "u", Password: "p"}) {
		t.Errorf("after a second response: %+v", got)
	}
	// No response where one was asked for is not a second initial response.
	if _, _, err := run(t, "PLAIN", nil, nil); !errors.Is(err, ErrSyntax) {
		t.Errorf("empty response: %v", err)
	}
}

func TestLogin(t *testing.T) {
	for _, responses := range [][][]byte{
		{nil, []byte("u"), []byte("p")},
		{[]byte("u"), []byte("p")},
	} {
		m, challenges, err := run(t, "LOGIN", responses...)
		if err != nil {
			t.Fatal(err)
		}
		if last := challenges[len(challenges)-1]; last != "Password:" {
			t.Errorf("last challenge %q", last)
		}
		if got := m.Credentials(); got != (Credentials{User: "u", Password: "p"}) {
			t.Errorf("%+v", got)
		}
		if _, _, err := m.Next([]byte("q")); !errors.Is(err, ErrEnded) {
			t.Errorf("after the end: %v", err)
		}
	}
	for _, tt := range []struct {
		user, password string
		err            error
	}{
		{"", "p", ErrEmpty},
		{"u", "", ErrEmpty},
		{"u\x00", "p", ErrText},
		{"u", "p\x00", ErrText},
		{strings.Repeat("u", MaxUser+1), "p", ErrTooLong},
	} {
		if _, _, err := run(t, "LOGIN", nil, []byte(tt.user), []byte(tt.password)); !errors.Is(err, tt.err) {
			t.Errorf("%.20q %.20q: %v, not %v", tt.user, tt.password, err, tt.err)
		}
	}
}

func TestNew(t *testing.T) {
	for _, name := range Names() {
		if _, ok := New(name); !ok {
			t.Errorf("%s is named but cannot be used", name)
		}
	}
	for _, name := range []string{"", "plain", "CRAM-MD5", "ANONYMOUS", "EXTERNAL"} {
		if _, ok := New(name); ok {
			t.Errorf("%q is not refused", name)
		}
	}
}

func TestCredentialsHidePassword(t *testing.T) {
	c := Credentials{User: "u", Password: "swordfish"}
	for _, format := range []string{"%v", "%+v", "%s", "%#v"} {
		if s := fmt.Sprintf(format, c); strings.Contains(s, "swordfish") {
			t.Errorf("%s: %s", format, s)
		}
	}
}

// FuzzMechanism holds every exchange to the rules of Check, whatever a client
// sends: it ends, and never with credentials that break them.
func FuzzMechanism(f *testing.F) {
	f.Add(0, []byte("\x00u\x00p"), []byte(nil), []byte(nil), true)
	f.Add(0, []byte("u\x00u\x00p"), []byte(nil), []byte(nil), false)
	f.Add(0, []byte("root\x00u\x00p"), []byte(nil), []byte(nil), true)
	f.Add(1, []byte("u"), []byte("p"), []byte("q"), true)
	f.Fuzz(func(t *testing.T, which int, a, b, c []byte, initial bool) {
		names := Names()
		m, _ := New(names[uint(which)%uint(len(names))])
		responses := [][]byte{a, b, c}
		if !initial {
			responses = append([][]byte{nil}, responses...)
		}
		for i, r := range responses {
			var done bool
			var err error
			if oracle.OnceCost(t, (len(a)+len(b)+len(c))>>16, func() { _, done, err = m.Next(r) }); err != nil {
				if got := m.Credentials(); got != (Credentials{}) && got.Password != "" {
					t.Fatalf("%v with %q", err, got)
				}
				return
			}
			if done {
				got := m.Credentials()
				if err := Check(got); err != nil {
					t.Fatalf("%q: %v", got, err)
				}
				if which := string(r); !strings.Contains(which, got.Password) {
					t.Fatalf("password %q is not of response %q", got.Password, which)
				}
				return
			}
			if i == len(responses)-1 {
				t.Fatal("the exchange does not end")
			}
		}
	})
}

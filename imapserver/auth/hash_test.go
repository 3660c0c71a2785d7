package auth

import (
	"errors"
	"strings"
	"testing"

	"mailstead/imapserver/oracle"
)

// hashes are of "Hello wörld!" but for the first; libxcrypt and the argon2
// reference implementation made them.
var hashes = map[string]string{
	"argon2id":         "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"sha512":           "$6$saltstring$GNZE85C1mdLF8M.QeDj089KPSPC3Sj6W8ZKKjwz1LKLZ6l2SaycfQyrMgYz44S6ZljOouKaunc59TESn/LAWw/",
	"sha512 rounds":    "$6$rounds=10000$abcdefgh$ieRzWGkU6iXYwhVw//VMdQGbwy4Y36.jrqzF083nxYaqdEjFWAKLmGxnyTgpX6gBqLIntGbaAbnrz6TXgJAxk1",
	"sha512 long salt": "$6$rounds=5000$toolongsaltstrin$vX.ucLNTuqk1nQJdvHZqvwHYbhLK485WItjsYJ3KoJgGJsbjVFVsl2WQqhfXOtgmLERaRKLsm7uwm27z5vbnR.",
	"yescrypt":         "$y$j9T$abcdefghijklmnopqrst..$WPR7G8j.AHE1JDTieN10eeCrnn2DvDBK9y0dEZ5NPDC",
	"yescrypt small":   "$y$j75$Jd9nSnSoMqB4wfCLzb6Ee.$Meb2mHzz6PTsr.mXgp0CaUGhI7FivniOBzSR5oRs6S2",
	"bcrypt b":         "$2b$05$abcdefghijklmnopqrstuu/MyhU2GuaLdcd6yLe3NHchPnY1ug8R.",
	"bcrypt y":         "$2y$05$abcdefghijklmnopqrstuu/MyhU2GuaLdcd6yLe3NHchPnY1ug8R.",
}

func TestHashes(t *testing.T) {
	for name, s := range hashes {
		t.Run(name, func(t *testing.T) {
			password := "Hello wörld!"
			if name == "argon2id" {
				password = "password"
			}
			h, err := ParseHash(s)
			if err != nil {
				t.Fatal(err)
			}
			if !h.Verify(password) {
				t.Error("the right password is refused")
			}
			for _, wrong := range []string{"", password + "x"} {
				if h.Verify(wrong) {
					t.Errorf("%q is accepted", wrong)
				}
			}
		})
	}
}

// TestHashFrugal: what a hash takes does not grow with its rounds.
func TestHashFrugal(t *testing.T) {
	h, err := ParseHash(hashes["sha512 rounds"])
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1, func() { h.Verify("Hello wörld!") }); n > 100 {
		t.Errorf("%v allocations", n)
	}
}

func TestParseHashRefuses(t *testing.T) {
	for _, s := range []string{
		"", "!", "*", "x", "password", "{PLAIN}password", "{SSHA}AAAA",
		"$1$saltsalt$Ku3.RSCEjqxLnNe683.sy0",
		"$5$saltsalt$WEpaH6edHg0D8n3ZVQGZ5Kh358gsnqIe5D62lATBu5C",
		"$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"!" + hashes["sha512"],
	} {
		if _, err := ParseHash(s); !errors.Is(err, ErrWeak) {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{
		"$argon2id$v=16$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=9999999,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=1048576,t=64,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=65536,t=0,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=4,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=65536,t=2,p=1$AA$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$AA",
		"$2b$04$abcdefghijklmnopqrstuu/MyhU2GuaLdcd6yLe3NHchPnY1ug8R.",
		"$2b$31$abcdefghijklmnopqrstuu/MyhU2GuaLdcd6yLe3NHchPnY1ug8R.",
		"$2b$05$short",
		"$6$rounds=999$abcdefgh$ieRzWGkU6iXYwhVw//VMdQGbwy4Y36.jrqzF083nxYaqdEjFWAKLmGxnyTgpX6gBqLIntGbaAbnrz6TXgJAxk1",
		"$6$rounds=999999999$abcdefgh$ieRzWGkU6iXYwhVw//VMdQGbwy4Y36.jrqzF083nxYaqdEjFWAKLmGxnyTgpX6gBqLIntGbaAbnrz6TXgJAxk1",
		"$6$$GNZE85C1mdLF8M.QeDj089KPSPC3Sj6W8ZKKjwz1LKLZ6l2SaycfQyrMgYz44S6ZljOouKaunc59TESn/LAWw/",
		"$6$saltstring$short",
		"$y$jzT$abcdefghijklmnopqrst..$WPR7G8j.AHE1JDTieN10eeCrnn2DvDBK9y0dEZ5NPDC",
		"$y$jTz$abcdefghijklmnopqrst..$WPR7G8j.AHE1JDTieN10eeCrnn2DvDBK9y0dEZ5NPDC",
		"$y$j9T$a$WPR7G8j.AHE1JDTieN10eeCrnn2DvDBK9y0dEZ5NPDC",
		"$y$j9T$abcdefghijklmnopqrst..$short",
	} {
		_, err := ParseHash(s)
		if err == nil || errors.Is(err, ErrWeak) {
			t.Errorf("%q: %v", s, err)
		}
		if err != nil && len(s) > 40 && strings.Contains(err.Error(), s[len(s)-20:]) {
			t.Errorf("the error repeats the hash: %v", err)
		}
	}
}

// FuzzParseHash looks for a hash whose check panics or takes longer than its
// bounds allow.
func FuzzParseHash(f *testing.F) {
	for _, s := range hashes {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		oracle.Cost(t, len(s), func() { ParseHash(s) })
		h, err := ParseHash(s)
		if (err == nil) != (h.verify != nil) {
			t.Fatalf("%q: %v", s, err)
		}
		if err == nil && cheap(h) && h.Verify("x") && !strings.Contains(s, "x") {
			t.Logf("%q is the hash of x", s)
		}
	})
}

// cheap says whether a fuzzer can afford the check.
func cheap(h Hash) bool {
	return h.cost == "bcrypt 05" || h.cost == "sha512 1000" || h.cost == "sha512 5000" || h.cost == "yescrypt j75"
}

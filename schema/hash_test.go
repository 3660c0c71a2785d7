package schema

import (
	"strings"
	"testing"
)

// The hashes are of the password "demo", as hash-password and passwd(1) make them.
func TestCheckHash(t *testing.T) {
	const (
		salt = "c29tZXNhbHRzb21lc2FsdA"
		sum  = "aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
	)
	for hash, want := range map[string]string{
		"$argon2id$v=19$m=19456,t=2,p=1$N3hKIGORB451CWPPKZwRMw$IfTEqLf8Ud/MG9JJRJLVq+NBs7shwRCMYLhpGxRSL7M":                        "",
		"$argon2id$v=19$m=7168,t=5,p=1$" + salt + "$" + sum:                                                                        "",
		"$2b$10$P4qSoAFnGsIilAIv0FFr0eDUAIOG6WYWwRM4n4q/zVkdQwYEU4I3m":                                                             "",
		"$2y$15$P4qSoAFnGsIilAIv0FFr0eDUAIOG6WYWwRM4n4q/zVkdQwYEU4I3m":                                                             "",
		"$6$rounds=100000$ewfCSfUkJlmXE9yt$G.pIElBMMLcdJI/xyYBPSorMcbJFDB3MfSbhXyTsj0lLW9R3uT.dMVVVI46UMJC3fqamhV.KckIBsFjvh1s5e0": "",
		"$6$ewfCSfUkJlmXE9yt$G.pIElBMMLcdJI/xyYBPSorMcbJFDB3MfSbhXyTsj0lLW9R3uT.dMVVVI46UMJC3fqamhV.KckIBsFjvh1s5e0":               "",
		"$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7":                                                "",

		"$argon2id$v=16$m=19456,t=2,p=1$" + salt + "$" + sum:                                                                          "is argon2id, but its form is wrong",
		"$argon2id$v=19$m=19456,t=2,p=0$" + salt + "$" + sum:                                                                          "is argon2id, but its form is wrong",
		"$argon2id$v=19$m=19456,t=0,p=1$" + salt + "$" + sum:                                                                          "is argon2id, but its form is wrong",
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + sum + "!":                                                                    "is argon2id, but its form is wrong",
		"$argon2id$v=19$m=7168,t=4,p=1$" + salt + "$" + sum:                                                                           "is argon2id, but m=7168,t=4 is too weak",
		"$argon2id$v=19$m=19456,t=17,p=1$" + salt + "$" + sum:                                                                         "is argon2id, but m=19456,t=17,p=1 would take too much",
		"$argon2id$v=19$m=999999999,t=999999999,p=1$" + salt + "$" + sum:                                                              "is argon2id, but m=999999999,t=999999999,p=1 would take too much",
		"$2b$09$P4qSoAFnGsIilAIv0FFr0eDUAIOG6WYWwRM4n4q/zVkdQwYEU4I3m":                                                                "is bcrypt, but its cost of 9 is too weak",
		"$2b$16$P4qSoAFnGsIilAIv0FFr0eDUAIOG6WYWwRM4n4q/zVkdQwYEU4I3m":                                                                "is bcrypt, but its cost of 16 would take too much",
		"$2b$10$P4qSoAFnGsIilAIv0FFr0eDUAIOG6WYWwRM4n4q/zVkdQwYEU4I3":                                                                 "is bcrypt, but its form is wrong",
		"$2x$10$P4qSoAFnGsIilAIv0FFr0eDUAIOG6WYWwRM4n4q/zVkdQwYEU4I3m":                                                                "is bcrypt with a known fault, which is not accepted",
		"$6$rounds=4999$ewfCSfUkJlmXE9yt$G.pIElBMMLcdJI/xyYBPSorMcbJFDB3MfSbhXyTsj0lLW9R3uT.dMVVVI46UMJC3fqamhV.KckIBsFjvh1s5e0":      "is SHA-512-crypt, but its 4999 rounds are too weak",
		"$6$rounds=999999999$ewfCSfUkJlmXE9yt$G.pIElBMMLcdJI/xyYBPSorMcbJFDB3MfSbhXyTsj0lLW9R3uT.dMVVVI46UMJC3fqamhV.KckIBsFjvh1s5e0": "is SHA-512-crypt, but its 999999999 rounds would take too much",
		"$6$short$abc": "is SHA-512-crypt, but its form is wrong",
		"$y$j9T$salt":  "is yescrypt, but its form is wrong",
		"$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7\n": "is yescrypt, but its form is wrong",
		"$1$abcdefgh$G5XkZCm9LlRrs2eRXJpDf.":                                          "is MD5-crypt, which is not accepted",
		"$apr1$abcdefgh$G5XkZCm9LlRrs2eRXJ":                                           "is Apache's MD5-crypt, which is not accepted",
		"$7$C6..../....SodiumChloride$abc":                                            "is scrypt, which is not accepted",
		"_J9..CCCCXBrJUJV154M":                                                        "is extended DES-crypt, which is not accepted",
		"rqXexS6ZhobKA":                                                               "is no password hash",
		"correct horse battery staple":                                                "is no password hash",
		"{PLAIN}secret":                                                               "is of a scheme that is not accepted",
		"{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + sum:                "",
		"!$6$abc": "is locked, as passwd writes it",
		"*":       "is locked, as passwd writes it",
		"":        "is empty",
	} {
		got, hint := checkHash(hash, nil)
		if want == "" && got != "" || want != "" && !strings.HasPrefix(got, want) {
			t.Errorf("checkHash(%q)\ngot  %q\nwant %q", hash, got, want)
		}
		for part := range strings.SplitSeq(hash, "$") {
			if len(part) > 12 && !strings.HasPrefix(part, "m=") && !strings.HasPrefix(part, "rounds=") && strings.Contains(got+hint, part) {
				t.Errorf("the message for %q shows a part of it: %q", hash, got)
			}
		}
	}
}

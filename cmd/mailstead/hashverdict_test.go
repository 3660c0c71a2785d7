package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mailstead/imapserver/auth"
	"mailstead/schema"
)

// TestHashVerdict: a description whose hashes are valid is one that the daemon takes, be
// they damaged in whatever place; and what is refused for its form is nothing that the
// daemon would serve. Only costs and salts may be less, or more, here than there.
func TestHashVerdict(t *testing.T) {
	hashes := hashesToJudge()
	wrong := wrongHashes(t, hashes)
	for i, hash := range hashes {
		_, err := auth.ParseHash(hash)
		stricter := policy.MatchString(wrong[i]) || zeros.MatchString(hash)
		if (err == nil) != (wrong[i] == "") && !(err == nil && stricter) {
			t.Errorf("%s\nvalidate: %s\ndaemon: %v", hash, wrong[i], err)
		}
	}
}

var (
	policy = regexp.MustCompile(`too weak|would (take too much|keep clients busy)`)
	zeros  = regexp.MustCompile(`[=$:]0[0-9]*[$,:]`) // before a number, which no program writes
)

// hashesToJudge gives hashes of every kind, good ones first, with each of their places
// damaged, and of costs at the bounds.
func hashesToJudge() (list []string) {
	const (
		argon = "$argon2id$v=19$m=%d,t=%d,p=%d$N3hKIGORB451CWPPKZwRMw$IfTEqLf8Ud/MG9JJRJLVq+NBs7shwRCMYLhpGxRSL7M"
		sha   = "$6$rounds=%d$ewfCSfUkJlmXE9yt$G.pIElBMMLcdJI/xyYBPSorMcbJFDB3MfSbhXyTsj0lLW9R3uT.dMVVVI46UMJC3fqamhV.KckIBsFjvh1s5e0"
		scram = "SCRAM-SHA-256$%d:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
		yes   = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"
	)
	for _, good := range []string{
		fmt.Sprintf(argon, 19456, 2, 1), "$2b$10$P4qSoAFnGsIilAIv0FFr0eDUAIOG6WYWwRM4n4q/zVkdQwYEU4I3m", yes,
		fmt.Sprintf(sha, 100000), strings.Replace(fmt.Sprintf(sha, 0), "rounds=0$", "", 1), fmt.Sprintf(scram, 4096),
	} {
		list = append(list, good)
		for i := range good {
			list = append(list, good[:i], good[:i]+good[i+1:], good[:i]+good[i:i+1]+good[i:])
			for _, c := range "019Az./+=$,: ~" {
				list = append(list, good[:i]+string(c)+good[i+1:])
			}
		}
	}
	for _, m := range []int{1, 7, 7168, 19456, 1 << 19, 1 << 20, 1<<20 + 1, 99999999} {
		for _, passes := range []int{0, 1, 5, 8, 9, 16, 17, 64, 65, 100} {
			list = append(list, fmt.Sprintf(argon, m, passes, 1), fmt.Sprintf(argon, m, passes, 16), fmt.Sprintf(argon, m, passes, 65))
		}
	}
	for _, n := range []int{0, 1, 999, 1000, 4095, 4096, 5000, 1_000_000, 1_000_001, 5_000_000, 5_000_001, 999_999_999} {
		list = append(list, fmt.Sprintf(sha, n), fmt.Sprintf(scram, n))
	}
	const crypt64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	for i := range crypt64 {
		for j := range crypt64 {
			list = append(list, "$y$j"+crypt64[i:i+1]+crypt64[j:j+1]+yes[len("$y$j9T"):])
		}
	}
	for n := range 120 { // the length of the salt
		for _, last := range "./1DEz" {
			salt := strings.Repeat("x", n) + string(last)
			for _, of := range []string{fmt.Sprintf(argon, 19456, 2, 1), fmt.Sprintf(sha, 5000), yes} {
				parts := strings.Split(of, "$")
				parts[len(parts)-2] = salt
				list = append(list, strings.Join(parts, "$"))
			}
		}
	}
	return append(list, "$y$zzzzzzzz$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7")
}

// wrongHashes gives for each hash what validate says of it; "" for nothing.
func wrongHashes(t *testing.T, hashes []string) []string {
	t.Helper()
	users := map[string]any{}
	for i, hash := range hashes {
		users[fmt.Sprintf("u%d", i)] = map[string]any{"password": map[string]string{"hash": hash}}
	}
	text, err := json.Marshal(map[string]any{"hosts": map[string]any{"mail.example.org": map[string]any{
		"listeners": map[string]any{"imap": map[string]any{}},
		"tls":       map[string]any{"certificates": map[string]any{"mail.example.org": map[string]any{"selfSigned": map[string]any{}}}},
		"users":     users,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "host.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = schema.Load(schema.Options{Inputs: []string{file}})
	var faults schema.Diagnostics
	if !errors.As(err, &faults) {
		t.Fatal(err)
	}
	wrong := make([]string, len(hashes))
	for _, f := range faults {
		var i int
		if _, err := fmt.Sscanf(f.Path, `hosts."mail.example.org".users.u%d.password.hash`, &i); err != nil {
			t.Fatalf("%s: %v", f.Message, err)
		}
		wrong[i] = f.Message
	}
	return wrong
}

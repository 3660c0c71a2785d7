package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/control"
)

// What /etc/shadow says of an account ends no login that others let in.
func TestAccountJudged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shadow")
	const text = "good:$y$x:20000:0:99999:7:::\nlocked:!$y$x:20000:0:99999:7:::\nnever:*:20000:0:99999:7:::\nempty::20000:0:99999:7:::\n" +
		"gone:!:20000:0:99999:7::1:\nold:$y$x:0:0:99999:7:::\nlate:$y$x:100:0:90:7:::\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	kerberos := []string{"pam_krb5.so (/etc/pam.d/common-auth:1)"}
	const ok, ends, untold = control.StepOK, control.StepEnds, control.StepUntold
	for user, want := range map[string][3]string{ // by pam_unix, with Kerberos beside it, and let in
		"good": {ok, ok, ok}, "locked": {ends, untold, ok}, "never": {ends, untold, ok}, "empty": {ends, untold, ok},
		"gone": {ends, ends, ok}, "old": {ends, ends, ok}, "late": {ends, ends, ok},
	} {
		line, err := shadowLine(path, user)
		if err != nil {
			t.Fatal(err)
		}
		for i, provers := range [][]string{nil, kerberos, kerberos} {
			came, seen, remedy := line.judge(user, time.Now(), i == 2, provers)
			if came != want[i] || (remedy != "") != (came == ends) || (came == untold) != strings.Contains(seen, kerberos[0]) {
				t.Errorf("%s: %s: %s %q, want %s", user, came, seen, remedy, want[i])
			}
		}
	}
}

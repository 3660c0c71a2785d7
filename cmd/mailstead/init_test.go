package main

import (
	"io"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// TestWholeName: what a description calls its host, clients can connect to.
func TestWholeName(t *testing.T) {
	for name, test := range map[string]struct{ hostname, mailname, own, want string }{
		"bare":                          {"vm\n", "", "vm", ""},
		"with its domain":               {"", "", "mail.example.org", "mail.example.org"},
		"in a file":                     {"mail\n", "mail.example.org\n", "mail", "mail.example.org"},
		"that of the mail":              {"mail\n", "example.org\n", "mail", ""},
		"that of the mail, and its own": {"mail\n", "example.org\n", "mail.example.org", "mail.example.org"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := fstest.MapFS{"etc/hostname": {Data: []byte(test.hostname)}, "etc/mailname": {Data: []byte(test.mailname)}}
			got, err := wholeName(fsys, func() (string, error) { return test.own, nil })
			if (err == nil) != (test.want != "") || err == nil && got != test.want {
				t.Errorf("%q, %v", got, err)
			}
			if err != nil && !strings.Contains(strings.Join(hints(err), ""), "--host mail.example.org") {
				t.Errorf("hints: %q", hints(err))
			}
		})
	}
	_, here := wholeName(os.DirFS("/"), os.Hostname)
	if err := runInit(initOptions{dir: t.TempDir()}, io.Discard); (err == nil) != (here == nil) {
		t.Errorf("on this machine: %v, want %v", err, here)
	}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPolicy is what libpam would make of a service: each facility without a rule
// of its own goes by those of "other".
func TestPolicy(t *testing.T) {
	dir := t.TempDir()
	places := policyPlaces
	policyPlaces = []string{filepath.Join(dir, "etc"), filepath.Join(dir, "usr")}
	defer func() { policyPlaces = places }()
	for name, rules := range map[string]string{
		"etc/common-auth":    "auth\t[success=1 default=ignore]\tpam_unix.so nullok\nauth requisite pam_deny.so\n",
		"etc/common-account": "account required pam_unix.so\n",
		"etc/common-session": "-session optional pam_systemd.so\n",
		"etc/other":          "auth required pam_permit.so\naccount required pam_permit.so\n",
		"etc/debian":         "# ours\n@include common-auth\n@include common-account\n",
		"etc/sessions":       "@include common-auth\n@include common-account\n@include common-session\n",
		"etc/fedora":         "AUTH substack all\naccount include all\n",
		"etc/all":            "auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_unix.so\n",
		"usr/vendor":         "auth include all\naccount include all\nsession include all\n",
		"etc/noaccount":      "@include common-auth\n#account required pam_unix.so\n",
		"etc/noauth":         "@include common-account\nauth include common-account\n",
		"etc/loop":           "@include loop\n",
		"etc/gone":           "@include common-gone\n",
		"etc/empty":          "",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(rules), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for service, want := range map[string]policy{
		"debian":   {auth: true, account: true},
		"sessions": {auth: true, account: true, session: true},
		"fedora":   {auth: true, account: true},
		"vendor":   {auth: true, account: true, session: true},
	} {
		if p, err := readPolicy(service); err != nil || p != want {
			t.Errorf("%s: %+v, %v", service, p, err)
		}
	}
	for service, want := range map[string]string{
		"missing":   `there is no ` + dir + `/etc/missing, and PAM would go by the rules of the service "other"`,
		"noaccount": "no rules for account",
		"noauth":    "no rules for auth",
		"empty":     "no rules for",
		"loop":      "include each other",
		"gone":      "common-gone",
	} {
		if p, err := readPolicy(service); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v", service, p, err)
		}
	}
}

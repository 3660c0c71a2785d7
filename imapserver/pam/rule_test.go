package pam

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestService is what libpam would make of a service: each facility without a rule
// of its own goes by those of "other".
func TestService(t *testing.T) {
	dir := t.TempDir()
	places := Places{filepath.Join(dir, "etc"), filepath.Join(dir, "usr")}
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
		"etc/odd":            "auth [success=1 default=ignore] \\\n pam_exec.so [a b] quiet\naccount\trequired\t[/opt/my module.so]\nauth\n",
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
	for service, want := range map[string]string{
		"debian":   "auth pam_unix.so auth pam_deny.so account pam_unix.so",
		"sessions": "auth pam_unix.so auth pam_deny.so account pam_unix.so session pam_systemd.so",
		"fedora":   "auth pam_unix.so account pam_unix.so",
		"vendor":   "auth pam_unix.so account pam_unix.so session pam_unix.so",
		"odd":      "auth pam_exec.so account /opt/my module.so",
	} {
		var have []string
		rules, err := places.Service(service)
		for _, r := range rules {
			have = append(have, r.Facility, r.Module)
		}
		if got := strings.Join(have, " "); err != nil || got != want {
			t.Errorf("%s: %s, %v", service, got, err)
		}
	}
	rules, err := places.Rules(os.DirFS("/"), "new", strings.NewReader("#\n@include common-auth\nsession include common-session\n@include common-gone\n"))
	if want := (Rule{"auth", "pam_deny.so", filepath.Join(dir, "etc/common-auth"), 2}); err == nil || len(rules) != 3 || rules[1] != want {
		t.Errorf("a file that is yet to be written: %+v, %v", rules, err)
	}
	for service, want := range map[string]string{
		"missing":   `there is no ` + dir + `/etc/missing, and PAM would go by the rules of the service "other"`,
		"noaccount": "no rules for account",
		"noauth":    "no rules for auth",
		"empty":     "no rules for",
		"loop":      "include each other",
		"gone":      "common-gone",
	} {
		if rules, err := places.Service(service); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v", service, rules, err)
		}
	}
}

package target

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailstead/imapserver/pam"
)

// What asks servers is found wherever it stands in the rules, and nslcd's pam_ldap is
// told from the other one.
func TestPAMAskers(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("common-auth", "# Kerberos\nauth [success=2 default=ignore] pam_krb5.so minimum_uid=1000\n@include inner\nauth required pam_ldap.so\n")
	write("inner", "auth sufficient /opt/pam_radius_auth.so\nauth sufficient pam_unix.so\n#auth required pam_duo.so\nauth required pam_yubico.so\n")
	write("common-account", "account required pam_sss.so\naccount required pam_krb5.so\n")
	write("sessions", "auth required pam_mysql.so\nsession optional pam_mkhomedir.so\nsession required pam_slurm.so\n")
	module := write("pam_ldap.so", "\x7fELF nslcd")
	names := write("nsswitch.conf", "passwd: files nis # no\nshadow:\tfiles [NOTFOUND=return] sss\nhosts: files nis\n#group: nis\n")
	h := pamHost{root: os.DirFS("/"), rules: pam.Places{dir}, modules: dir, nsswitch: names}

	want := "pam_krb5.so (" + dir + "/common-auth:2), pam_radius_auth.so (" + dir + "/inner:1), pam_yubico.so (" + dir + "/inner:4), " +
		"pam_krb5.so (" + dir + "/common-account:2), pam_slurm.so (" + dir + "/sessions:3), nis (" + names + ":1)"
	service := []byte("@include common-auth\n@include common-account\nsession include sessions\n")
	if got := strings.Join(h.askers("", service), ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if err := os.WriteFile(module, []byte("\x7fELF libldap-2.5.so.0"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(h.askers("", service), ", "); !strings.Contains(got, "pam_ldap.so ("+dir+"/common-auth:4)") {
		t.Errorf("linked with libldap: %s", got)
	}
	if got := h.askers("", nil); got != nil {
		t.Errorf("nobody logs in through PAM: %s", got)
	}
}

// What may prove a password beside pam_unix: by its auth rules alone.
func TestPAMProvers(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"debian":         "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\nauth optional pam_cap.so\n",
		"kerberos":       "auth [success=2 default=ignore] pam_krb5.so minimum_uid=1000\n@include debian\n",
		"common-account": "account required pam_krb5.so\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h := pamHost{root: os.DirFS("/"), rules: pam.Places{dir}}
	for service, want := range map[string]string{"debian": "", "kerberos": "pam_krb5.so (" + dir + "/kerberos:1)"} {
		if got := strings.Join(h.provers("", []byte("@include "+service+"\n@include common-account\n")), ", "); got != want {
			t.Errorf("%s: %q, want %q", service, got, want)
		}
	}
}

package target

import (
	"os"
	"path/filepath"
	"testing"

	"mailstead/reconcile/kind"
)

func TestGather(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "mailstead-imapd"), []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	req := Request{
		Accounts: []string{"root", "no-such-account"},
		Certificates: []kind.CertificateSpec{
			{Name: "a", Names: []string{"a.example"}, Source: kind.Files, Certificate: bin + "/none.pem", Key: bin + "/none.key", Bundle: bin + "/a.pem"},
			{Name: "b", Names: []string{"b.example"}, Source: kind.SelfSigned, Days: 9, Bundle: bin + "/b.pem"},
		},
		Bin: bin,
	}
	f, err := Gather(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if root, ok := f.Accounts["root"]; !ok || root.UID != 0 || root.Home == "" || root.Group != "root" {
		t.Errorf("root: %+v", root)
	}
	if _, ok := f.Accounts["no-such-account"]; ok {
		t.Error("an account that does not exist was found")
	}
	if f.UID != os.Geteuid() || f.Root != (os.Geteuid() == 0) || f.Hostname == "" || len(f.FreeIDs) != 2 {
		t.Errorf("%+v", f)
	}
	if f.PAMHelper || f.Program == "" {
		t.Errorf("programs: %v %q", f.PAMHelper, f.Program)
	}
	if f.Certificates["a"].Missing == "" || f.Certificates["b"].Missing != "" {
		t.Errorf("certificates: %+v", f.Certificates)
	}
	for script, want := range map[string]bool{"exit 1": false, `test "$1" = --check`: true} {
		if err := os.WriteFile(filepath.Join(bin, "mailstead-pam"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if f, err = Gather(t.Context(), req); err != nil || f.PAMHelper != want {
			t.Errorf("%s: PAM helper %v, want %v (%v)", script, f.PAMHelper, want, err)
		}
	}
}

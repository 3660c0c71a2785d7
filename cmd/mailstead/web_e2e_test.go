package main_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mailstead/reconcile/web"
)

// webbed is a host with the page, under TLS as on the internet.
const webbed = `hosts: "mail.example.org": {
	listeners: imap: {}
	tls: certificates: "mail.example.org": selfSigned: {}
	users: vera: password: hash: %[1]q
	folders: {Sent: use: "sent", Trash: use: "trash"}
	logins: {}
	web: {
		address:     "127.0.0.1"
		port:        8443
		certificate: "mail.example.org"
		admins: helpdesk: {hash: %[1]q, totpFile: "/etc/mailstead.helpdesk.totp"}
	}
}
`

const webSecret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

// adminCode is a code of helpdesk's that was not used yet: each is good once.
type adminCode struct {
	t    *testing.T
	last int64
}

func (a *adminCode) next() string {
	a.t.Helper()
	secret, err := web.ParseTOTP(webSecret)
	if err != nil {
		a.t.Fatal(err)
	}
	step := max(time.Now().Unix()/30-1, a.last+1)
	for step > time.Now().Unix()/30+1 {
		time.Sleep(time.Second)
	}
	a.last = step
	return secret.Code(step)
}

// TestWeb has the page served by systemd, and looked at with a real Chromium whose
// scripts are switched off.
func TestWeb(t *testing.T) {
	b := newBoxOf(t, "clients", "web")
	hash := strings.TrimSpace(b.try("wonder land 1\n", "mailstead", "hash-password").stdout)
	b.write("/etc/mailstead/host.cue", fmt.Sprintf(webbed, hash))
	b.write("/etc/mailstead.helpdesk.totp", webSecret+"\n")
	b.sh("chmod 600 /etc/mailstead.helpdesk.totp")
	b.run("mailstead", "apply", "--yes")
	b.writesNothing()

	w := newBrowser(t, b)
	codes := &adminCode{t: t}
	const page = "https://127.0.0.1:8443"
	w.open(page + "/")
	contains(t, w.text(), "Password of your mail")
	w.send("/login", map[string]string{"name": "vera", "password": "wrong"})
	contains(t, w.text(), "Authentication failed.")
	w.send("/login", map[string]string{"name": "vera", "password": "wonder land 1"})
	contains(t, w.text(), "Your account")
	contains(t, w.text(), "this page")
	w.send("/logout", nil)
	w.open(page + "/account")
	contains(t, w.text(), "Password of your mail")

	w.open(page + "/admin")
	code := codes.next()
	w.send("/admin/login", map[string]string{"name": "helpdesk", "password": "wonder land 1", "code": code})
	contains(t, w.text(), "Certificates as served")
	contains(t, w.text(), "364")
	w.send("/logout", nil)
	w.open(page + "/admin")
	w.send("/admin/login", map[string]string{"name": "helpdesk", "password": "wonder land 1", "code": code})
	contains(t, w.text(), "wrong") // a code is good once
	if len(w.refused) > 0 {
		t.Errorf("against the policy of the page: %q", w.refused)
	}
}

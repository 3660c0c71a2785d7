package desired

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/reconcile/kind"
	"mailstead/render"
	"mailstead/schema"
)

func TestRequest(t *testing.T) {
	h := goodHost()
	certificates := []kind.CertificateSpec{{
		Name: "mail.example.org", Names: []string{"mail.example.org"}, Source: kind.Certbot,
		Certificate: "/etc/letsencrypt/live/mail.example.org/fullchain.pem", Key: "/etc/letsencrypt/live/mail.example.org/privkey.pem",
		Bundle: "/var/lib/mailstead/bundles/mail.example.org.pem",
	}}
	only := func(i int) *schema.Host {
		h := goodHost()
		h.Users = h.Users[i : i+1]
		return h
	}
	for _, row := range []struct {
		name     string
		host     *schema.Host
		opts     Options
		accounts []string
	}{
		{"both sorts of users", h, Options{}, []string{"alice", "mailstead", "mailstead-login", "vmail"}},
		{"system users", only(0), Options{}, []string{"alice", "mailstead", "mailstead-login"}},
		{"virtual users", only(1), Options{}, []string{"mailstead", "mailstead-login", "vmail"}},
		{"rootless", only(1), Options{Rootless: true}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			want := Lookup{Accounts: row.accounts, Certificates: certificates, Bin: "/usr/local/bin"}
			if slices.Contains(row.accounts, "alice") {
				want.PAM = render.PAMService("")
			}
			if diff := cmp.Diff(want, Request(row.host, row.opts)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What Build looks for in the facts is what Request has asked for: with every
// answer there is no fault, and without any one of the accounts there is one.
func TestRequestIsEnough(t *testing.T) {
	h := goodHost()
	facts := goodFacts(h, true)
	if _, err := Build(h, facts, Options{}); err != nil {
		t.Fatal(err)
	}
	for name := range facts.Accounts {
		without := goodFacts(h, true)
		delete(without.Accounts, name)
		if _, err := Build(h, without, Options{}); err == nil {
			t.Errorf("built without knowing the account %s", name)
		}
	}
}

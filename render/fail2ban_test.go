package render

import (
	"strings"
	"testing"

	"mailstead/schema"
)

// The filter goes by the units of the listeners, and the jail by their ports, but
// for those that only this host reaches.
func TestFail2ban(t *testing.T) {
	f := Fail2ban{
		Listeners: []schema.Listener{
			{Name: "imap", Port: 143, TLS: schema.STARTTLS}, {Name: "imaps", Port: 993, TLS: schema.Implicit},
			{Name: "also", Port: 993, TLS: schema.Implicit}, {Name: "webmail", Port: 1143, TLS: schema.Plain},
		},
		Web:  &schema.Web{Port: 8443, Certificate: "mail.example.org"},
		Jail: schema.Fail2ban{MaxRetry: 5, FindTime: 600, BanTime: 3600},
	}
	filter, err := f.Filter()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{" _SYSTEMD_UNIT=mailstead-auth.service +", " _SYSTEMD_UNIT=mailstead-login@imaps.service +", " _SYSTEMD_UNIT=mailstead-web.service\n"} {
		if !strings.Contains(string(filter), want) {
			t.Errorf("no %q in\n%s", want, filter)
		}
	}
	want := fail2banHead + `
[mailstead]
enabled = true
backend = systemd
filter = mailstead
port = 143,993,8443
maxretry = 5
findtime = 600
bantime = 3600
`
	if got := string(f.Settings()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	f.Web.Certificate = "" // on a loopback address then, as webmail is
	if got := string(f.Settings()); !strings.Contains(got, "\nport = 143,993\n") {
		t.Errorf("without TLS:\n%s", got)
	}
	plain := Fail2ban{Listeners: f.Listeners[3:], Jail: f.Jail}
	if got := string(plain.Settings()); strings.Contains(got, "port") || !strings.Contains(got, "filter = mailstead\nmaxretry = 5\n") {
		t.Errorf("without a port to keep anybody from:\n%s", got)
	}
	f.Listeners[0].Name = "imap + _UID=1000"
	if _, err := f.Filter(); err == nil {
		t.Error("a listener's name adds a match of its own")
	}
}

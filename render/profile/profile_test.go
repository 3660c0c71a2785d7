package profile

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/schema"
)

// exampleHost has a listener of each kind, and one user of each kind.
func exampleHost() *schema.Host {
	return &schema.Host{
		Name: "mail.example.org",
		Listeners: []schema.Listener{
			{Name: "imap", Port: 143, TLS: schema.STARTTLS},
			{Name: "imaps", Port: 993, TLS: schema.Implicit},
			{Name: "local", Address: "::1", Port: 10993, TLS: schema.Implicit},
			{Name: "webmail", Address: "127.0.0.1", Port: 1143, TLS: schema.Plain},
			{Name: "other", Port: 1993, TLS: schema.Implicit, Proxy: &schema.Proxy{}},
		},
		Users: []schema.User{
			{Name: "alice", Folders: []schema.Folder{{Name: "Papierkorb", Use: "trash"}, {Name: "Sent", Use: "sent"}, {Name: "Team"}}},
			{Name: "carol@example.com"},
			{Name: "frank", Elsewhere: "imap://frank;AUTH=*@other.example.org/"},
		},
		Profiles: &schema.Profiles{
			Name: "Example Mail", Server: "imap.example.org",
			Submission: &schema.Submission{Server: "smtp.example.org", Port: 587, TLS: schema.STARTTLS, Login: "address"},
		},
	}
}

func TestFor(t *testing.T) {
	got, err := For(exampleHost(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	want := &Settings{
		Host: "mail.example.org", Name: "Example Mail", Domain: "example.org", Address: "alice@example.org",
		Incoming: []Server{{Host: "imap.example.org", Port: 993, TLS: schema.Implicit, User: "alice"}, {Host: "imap.example.org", Port: 143, TLS: schema.STARTTLS, User: "alice"}},
		Outgoing: &Server{Host: "smtp.example.org", Port: 587, TLS: schema.STARTTLS, User: "alice@example.org"},
		Folders:  []Folder{{"sent", "Sent"}, {"trash", "Papierkorb"}},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(Settings{}, Server{})); d != "" {
		t.Error(d)
	}
	var elsewhere *ElsewhereError
	if _, err := For(exampleHost(), "frank"); !errors.As(err, &elsewhere) {
		t.Errorf("frank, whose mail is elsewhere: %v", err)
	}
	if _, err := For(exampleHost(), "mallory"); err == nil {
		t.Error("mallory has settings")
	}
	h := exampleHost()
	h.Listeners = h.Listeners[2:]
	if _, err := For(h, "alice"); err == nil {
		t.Error("listeners on loopback alone are told of")
	}
}

// TestDomain: what is said of a domain is what is said of each user there.
func TestDomain(t *testing.T) {
	h := exampleHost()
	for user, domain := range map[string]string{"alice": "example.org", "carol@example.com": "example.com"} {
		own, err := For(h, user)
		if err != nil {
			t.Fatal(err)
		}
		all, err := ForDomain(h, domain)
		if err != nil {
			t.Fatal(err)
		}
		as, err := all.As(own.Address)
		if err != nil {
			t.Fatal(err)
		}
		for name, file := range map[string]func(*Settings) ([]byte, error){"autoconfig": (*Settings).Autoconfig, "autodiscover": (*Settings).Autodiscover, "mobileconfig": (*Settings).MobileConfig} {
			a, errA := file(own)
			b, errB := file(as)
			if errA != nil || errB != nil || !bytes.Equal(a, b) {
				t.Errorf("%s of %s: %v, %v\n%s", name, user, errA, errB, cmp.Diff(string(a), string(b)))
			}
		}
	}
	all, err := ForDomain(h, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all.As("carol@example.com"); err == nil {
		t.Error("an address of another domain has settings")
	}
	h.Users = append(h.Users, schema.User{Name: "dan@example.org"})
	all, err = ForDomain(h, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all.Autoconfig(); err == nil {
		t.Error("one file says two forms of login")
	}
	if _, err := all.As("dan@example.org"); err == nil {
		t.Error("the login is guessed")
	}
}

// hostile is what no description that was checked has, but directories may.
var hostile = []string{
	`a]]>"'&<x>`, "</string><key>PayloadRemovalDisallowed</key><true/>", "--><!--", "<!ENTITY x SYSTEM \"file:///etc/passwd\">&x;", "\u202e\u200f", "%EMAILADDRESS%", "${x}", "{{.}}",
}

// TestHostileNames: a name is text in each of the files, and makes no element.
func TestHostileNames(t *testing.T) {
	h := exampleHost()
	h.Directories = []schema.Directory{{Name: "people"}}
	plain := elementsOf(t, h, "zoe")
	for _, name := range []string{"", "a\x00b", "a\x1b[0mb", "a\nb", "\xff\xfe"} {
		if _, err := For(h, name); err == nil {
			t.Errorf("%q has settings", name)
		}
	}
	for _, name := range hostile {
		if d := cmp.Diff(plain, elementsOf(t, h, name)); d != "" {
			t.Errorf("%q: %s", name, d)
		}
	}
}

// elementsOf gives the names of the elements of each file, in order.
func elementsOf(t *testing.T, h *schema.Host, user string) map[string][]string {
	t.Helper()
	s, err := For(h, user)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for name, file := range map[string]func() ([]byte, error){"autoconfig": s.Autoconfig, "autodiscover": s.Autodiscover, "mobileconfig": s.MobileConfig, "page": s.Page} {
		text, err := file()
		if err != nil {
			t.Fatalf("%s of %q: %v", name, user, err)
		}
		d := xml.NewDecoder(bytes.NewReader(text))
		if name == "page" {
			d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
		}
		for {
			token, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("%s of %q: %v\n%s", name, user, err, text)
			}
			switch e := token.(type) {
			case xml.StartElement:
				out[name] = append(out[name], e.Name.Local)
			case xml.Comment:
				out[name] = append(out[name], "!--")
			}
		}
	}
	return out
}

func TestNoOutgoing(t *testing.T) {
	h := exampleHost()
	h.Profiles = nil
	s, err := For(h, "alice")
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]func() ([]byte, error){"autoconfig": s.Autoconfig, "mobileconfig": s.MobileConfig} {
		if _, err := file(); !errors.Is(err, ErrNoOutgoing) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, file := range map[string]func() ([]byte, error){"autodiscover": s.Autodiscover, "page": s.Page} {
		if text, err := file(); err != nil || strings.Contains(string(text), "SMTP</Type>") {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}

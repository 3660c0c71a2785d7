package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/schema"
)

func TestDemoHost(t *testing.T) {
	own := []schema.Folder{{Name: "Own"}}
	all := []schema.Folder{{Name: "Sent", Use: "sent"}}
	demo := func(folders []schema.Folder) schema.User {
		return schema.User{Name: "demo", Virtual: &schema.VirtualUser{PasswordHash: demoHash}, Folders: folders, Maildir: "/tmp/x/mail/demo/Maildir"}
	}
	bob := schema.User{Name: "bob", Virtual: &schema.VirtualUser{PasswordHash: "x"}, Maildir: "/var/vmail/bob/Maildir"}
	zoe := schema.User{Name: "zoe", Virtual: &schema.VirtualUser{PasswordHash: "y"}, Maildir: "/var/vmail/zoe/Maildir"}
	moved := func(u schema.User) schema.User {
		u.Maildir = "/tmp/x/mail/" + u.Name + "/Maildir"
		return u
	}
	alice := schema.User{Name: "alice", System: &schema.SystemUser{}}
	for name, test := range map[string]struct {
		users, want []schema.User
		left        []string
	}{
		"added":            {[]schema.User{alice, bob, zoe}, []schema.User{moved(bob), demo(all), moved(zoe)}, []string{"alice"}},
		"keeps folders":    {[]schema.User{{Name: "demo", System: &schema.SystemUser{}, Folders: own}}, []schema.User{demo(own)}, nil},
		"own password":     {[]schema.User{{Name: "demo", Virtual: &schema.VirtualUser{PasswordHash: "z"}, Folders: own}}, []schema.User{demo(own)}, nil},
		"nobody described": {nil, []schema.User{demo(all)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			described := &schema.Host{
				Name:      "mail.example.org",
				Listeners: []schema.Listener{{Name: "imap", Port: 143, TLS: schema.STARTTLS}},
				TLS: schema.TLS{Default: "b", Certificates: []schema.Certificate{
					{Name: "b", Names: []string{"b.example.org", "mail.example.org"}, Certbot: &schema.Certbot{Lineage: "b"}, Stitched: "/etc/courier/imapd.pem"},
				}},
				Users: test.users, Folders: all, Mail: schema.Mail{User: "vmail", Root: "/var/vmail"},
				Outbox: &schema.Outbox{}, Deliver: &schema.Deliver{}, Directories: []schema.Directory{{Name: "people"}},
			}
			described.TLS.DHParams = &schema.DHParams{File: "/etc/ssl/dh.pem"}
			before := slices.Clone(test.users)
			listeners, err := movePorts(described.Listeners, 1000)
			if err != nil {
				t.Fatal(err)
			}
			got, left := demoHost(described, listeners, nil, "/tmp/x", "/opt/bin")
			want := *described
			want.Outbox, want.Deliver, want.Directories = nil, nil, nil
			want.TLS = schema.TLS{Default: "mail.example.org", Certificates: []schema.Certificate{
				{Name: "mail.example.org", Names: []string{"b.example.org", "localhost", "mail.example.org"}, SelfSigned: &schema.SelfSigned{Days: 365}},
			}}
			want.Users = test.want
			want.Listeners = []schema.Listener{{Name: "imap", Address: "127.0.0.1", Port: 1143, TLS: schema.STARTTLS}}
			want.Mail.Root = "/tmp/x/mail"
			want.Paths = schema.Paths{State: "/tmp/x", Run: "/tmp/x/run", Letsencrypt: "/tmp/x/letsencrypt", Units: "/tmp/x/units", Bin: "/opt/bin"}
			if d := cmp.Diff(&want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if d := cmp.Diff(test.left, left); d != "" {
				t.Errorf("left out (-want +got):\n%s", d)
			}
			if d := cmp.Diff(before, described.Users); d != "" {
				t.Errorf("the description itself was changed:\n%s", d)
			}
		})
	}
}

func TestMovePorts(t *testing.T) {
	for name, test := range map[string]struct {
		listeners []schema.Listener
		base      int
		want      string
	}{
		"too high":  {[]schema.Listener{{Name: "imaps", Port: 993}}, 65000, "listener imaps: 65993 is no port"},
		"too low":   {[]schema.Listener{{Name: "imaps", Port: 993}}, -993, "listener imaps: 0 is no port"},
		"same port": {[]schema.Listener{{Name: "a", Address: "::1", Port: 143}, {Name: "b", Address: "127.0.0.1", Port: 143}}, 0, "listeners a and b have the same port"},
	} {
		_, err := movePorts(test.listeners, test.base)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if h := hints(err); test.base != 0 && (len(h) != 1 || h[0] != "--port-base can be from -992 to 64542") {
			t.Errorf("%s: hints %q", name, h)
		}
	}
}

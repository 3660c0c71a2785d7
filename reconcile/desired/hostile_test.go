package desired

import (
	"path"
	"strings"
	"testing"

	"mailstead/imapserver/oracle"
	"mailstead/reconcile"
	"mailstead/schema"
)

// hostileHost is a host with every string in the hands of an attacker, as no
// description that schema.Load takes can be.
func hostileHost(h *schema.Host, set string, value string) {
	switch set {
	case "host":
		h.Name = value
	case "listener":
		h.Listeners[0].Name = value
	case "address":
		h.Listeners[0].Address = value
	case "certificate":
		h.TLS.Certificates[0].Name = value
	case "lineage":
		h.TLS.Certificates[0].Certbot.Lineage = value
	case "names":
		h.TLS.Certificates[0].Names = []string{value}
	case "default":
		h.TLS.Default = value
	case "user":
		h.Users[0].Name = value
	case "virtual user":
		h.Users[1].Name, h.Users[1].Maildir = value, path.Join("/var/vmail", value, "Maildir")
	case "home":
		h.Users[0].System.Home = value
	case "maildir":
		h.Users[0].Maildir = value
	case "virtual maildir":
		h.Users[1].Maildir = value
	case "hash":
		h.Users[1].Virtual.PasswordHash = schema.Secret(value)
	case "mail user":
		h.Mail.User = value
	case "mail root":
		h.Mail.Root, h.Users[1].Maildir = value, path.Join(value, "bob", "Maildir")
	case "state":
		h.Paths.State = value
	case "run":
		h.Paths.Run = value
	case "letsencrypt":
		h.Paths.Letsencrypt = value
	case "units":
		h.Paths.Units = value
	case "bin":
		h.Paths.Bin = value
	case "namespace":
		h.Namespace = value
	case "profiles":
		h.Profiles.Dir = value
	case "domain":
		h.Profiles.Domain = value
	case "domain of a user":
		h.Users[1].Name, h.Users[1].Maildir = "bob@"+value, "/var/vmail/bob@"+value+"/Maildir"
	case "server":
		h.Profiles.Server = value
	case "submission":
		h.Profiles.Submission.Server = value
	}
}

var hostileFields = []string{
	"host", "listener", "address", "certificate", "lineage", "names", "default", "user", "virtual user", "home", "maildir",
	"virtual maildir", "hash", "mail user", "mail root", "state", "run", "letsencrypt", "units", "bin", "namespace",
	"profiles", "domain", "domain of a user", "server", "submission",
}

func goodHost() *schema.Host {
	return &schema.Host{
		Name:      "mail.example.org",
		Listeners: []schema.Listener{{Name: "imap", Port: 143, TLS: schema.STARTTLS}},
		TLS: schema.TLS{Policy: "intermediate", Default: "mail.example.org", Certificates: []schema.Certificate{
			{Name: "mail.example.org", Names: []string{"mail.example.org"}, Certbot: &schema.Certbot{Lineage: "mail.example.org"}},
		}},
		Users: []schema.User{
			{Name: "alice", System: &schema.SystemUser{}, Maildir: "Maildir"},
			{Name: "bob", Virtual: &schema.VirtualUser{PasswordHash: "$y$j9T$c2FsdA$aGFzaA"}, Maildir: "/var/vmail/bob/Maildir"},
		},
		Profiles: &schema.Profiles{Dir: "/srv/www/profiles", Submission: &schema.Submission{Server: "smtp.example.org", Port: 465, TLS: schema.Implicit, Login: "name"}},
		Mail:     schema.Mail{User: "vmail", Root: "/var/vmail"},
		Paths: schema.Paths{
			State: "/var/lib/mailstead", Run: "/run/mailstead", Letsencrypt: "/etc/letsencrypt", Units: "/etc/systemd/system", Bin: "/usr/local/bin",
		},
	}
}

// goodFacts know every account, whatever it is called.
func goodFacts(h *schema.Host, usable bool) reconcile.Facts {
	f := reconcile.Facts{
		Systemd: 252, Root: true, PAMHelper: true, FreeIDs: []int{999, 998, 994, 993},
		Accounts:     map[string]reconcile.Account{h.Users[0].Name: {UID: 1000, GID: 1000, Home: "/home/alice", Group: "alice"}},
		Certificates: map[string]reconcile.Certificate{h.TLS.Certificates[0].Name: {Missing: "there is none"}},
	}
	if usable {
		f.Certificates[h.TLS.Certificates[0].Name] = reconcile.Certificate{Fingerprint: "aa"}
	}
	return f
}

var hostileValues = []string{
	"", ".", "..", "/", "//", "../x", "a/../../b", "/etc/../x", "/a/", "/a//b", "x/y", "-x", "a b", "a\nb", "a\r\n[Service]\nExecStart=/bin/sh",
	"/a\nExecStartPre=/bin/sh", "a\x00b", "/a\x00", "%n", "/%n", "$(id)", "/$(id)", ";", "/a;b", `"`, `/a"b`, `'`, `\`, `/a\b`, "*", "\xff", "/\xff", "\u2028", "é", "/é",
	strings.Repeat("a", 300), "/" + strings.Repeat("a", 5000), "root", "0", "127.0.0.1\n", "::1%lo", "*.example.org", "A.EXAMPLE", "INBOX.",
}

// The schema refuses nearly all of this; Build does not rely on it. It gives no
// list, or one in which every path stays where it belongs and every file that
// someone else parses has the lines that it should have.
func TestBuildHostile(t *testing.T) {
	for _, field := range hostileFields {
		for _, value := range hostileValues {
			for _, usable := range []bool{true, false} {
				h := goodHost()
				hostileHost(h, field, value)
				if list, err := Build(h, goodFacts(h, usable), Options{}); err == nil {
					checkList(t, h, list, field+" "+value)
				}
			}
		}
	}
}

func FuzzBuildHostile(f *testing.F) {
	for i := range hostileFields {
		f.Add(uint8(i), hostileValues[i%len(hostileValues)], true)
	}
	f.Fuzz(func(t *testing.T, field uint8, value string, usable bool) {
		h := goodHost()
		hostileHost(h, hostileFields[int(field)%len(hostileFields)], value)
		var list []reconcile.Resource
		var err error
		oracle.Cost(t, len(value), func() { list, err = Build(h, goodFacts(h, usable), Options{}) })
		if err == nil {
			checkList(t, h, list, value)
		}
	})
}

func checkList(t *testing.T, h *schema.Host, list []reconcile.Resource, what string) {
	t.Helper()
	for _, r := range list {
		below := func(p string, roots ...string) {
			for _, root := range roots {
				if path.Clean(p) == p && path.Clean(root) == root && root != "/" && path.IsAbs(root) && (p == root || strings.HasPrefix(p, root+"/")) {
					return
				}
			}
			t.Errorf("%q: %s is at %q, which is not in %q", what, r.Ref, p, roots)
		}
		switch r.Ref.Kind {
		case "directory":
			below(r.Ref.Name, h.Paths.State, h.Paths.Letsencrypt+"/renewal-hooks", h.Profiles.Dir)
		case "file":
			below(r.Ref.Name, h.Profiles.Dir)
			checkProfile(t, r, what)
		case "mail-directory":
			below(r.Ref.Name, h.Mail.Root)
		case "password-file", "daemon-config":
			below(r.Ref.Name, h.Paths.State)
		case "deploy-hook":
			below(r.Ref.Name, h.Paths.Letsencrypt+"/renewal-hooks/deploy")
		case "pam-service":
			below(r.Ref.Name, "/etc/pam.d")
		case "certificate":
			below(r.Get("bundle"), h.Paths.State+"/bundles")
			below(r.Get("key"), h.Paths.Letsencrypt+"/live")
		case "unit":
			below(r.Get("path"), h.Paths.Units)
			if path.Dir(r.Get("path")) != h.Paths.Units {
				t.Errorf("%q: unit in %q", what, r.Get("path"))
			}
			checkLines(t, r, what)
		case "maildir":
			if p := r.Get("path"); path.Clean(p) != p || !path.IsAbs(p) || p == "/" || strings.ContainsAny(p, "\n\x00") {
				t.Errorf("%q: %s at %q", what, r.Ref, p)
			}
			if r.Ref.Name == h.Users[1].Name {
				below(r.Get("path"), h.Mail.Root)
			}
		}
	}
}

// checkProfile counts the records of a zone, and the servers of the others.
func checkProfile(t *testing.T, r reconcile.Resource, what string) {
	t.Helper()
	want := map[string]map[string]int{
		"srv.zone":         {"\n": 11, "\n_": 6, "\n$": 1, "\n;": 3},
		"config-v1.1.xml":  {"<hostname>": 2, "<port>": 2, "<!": 1},
		"autodiscover.xml": {"<Server>": 2, "<Port>": 2, "<!": 1},
		"settings.html":    {"<table>": 2, "<!": 2, "<script": 0},
	}[path.Base(r.Ref.Name)]
	if want == nil {
		t.Errorf("%q: nobody knows what %s is for", what, r.Ref)
	}
	for part, n := range want {
		if got := strings.Count(r.Get("content"), part); got != n {
			t.Errorf("%q: %s has %d times %q, want %d:\n%s", what, r.Ref, got, part, n, r.Get("content"))
		}
	}
}

// checkLines counts the commands of a unit.
func checkLines(t *testing.T, r reconcile.Resource, what string) {
	t.Helper()
	want := map[string]int{"ExecStart=": 1, "Exec": 2, "ExecReload=": 1, "[": 3, "User=": 1}
	switch name := r.Ref.Name; {
	case strings.HasSuffix(name, ".socket"):
		want = map[string]int{"Listen": 1, "Exec": 0, "[": 3}
	case strings.HasPrefix(name, "mailstead-login@"):
		want = map[string]int{"ExecStart=": 1, "Exec": 1, "[": 3, "User=": 1}
	case name == "mailstead-spawn.service":
		want = map[string]int{"ExecStart=": 1, "Exec": 1, "[": 3, "User=": 0}
	case name == "mailstead-pam@.service":
		want = map[string]int{"ExecStart=": 1, "Exec": 1, "[": 2, "User=": 0}
	case strings.HasSuffix(name, ".timer"):
		want = map[string]int{"OnCalendar=": 1, "Exec": 0, "[": 3}
	case name == "mailstead-apply.service":
		want = map[string]int{"ExecStart=": 1, "Exec": 1, "[": 3}
	case name == "mailstead-cert-check.service":
		want = map[string]int{"ExecStart=": 1, "Exec": 1, "[": 2}
	}
	content := "\n" + strings.ReplaceAll(r.Get("content"), "\nExecPaths=", "\n") // no command
	for prefix, n := range want {
		if got := strings.Count(content, "\n"+prefix); got != n {
			t.Errorf("%q: %s has %d lines of %s:\n%s", what, r.Ref, got, prefix, r.Get("content"))
		}
	}
}

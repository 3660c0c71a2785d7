package auth

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailstead/imapserver/config"
)

const people = `dn: dc=example
objectClass: dcObject
objectClass: organization
o: example
dc: example

dn: cn=reader,dc=example
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: reader-pw

dn: ou=people,dc=example
objectClass: organizationalUnit
ou: people

`

// entry is a user for slapd.
func entry(name, password string, uid int, home string, more ...string) string {
	return fmt.Sprintf(`dn: cn=%[1]s,ou=people,dc=example
objectClass: inetOrgPerson
objectClass: posixAccount
cn: %[1]s
sn: %[1]s
uid: %[1]s
mail: %[1]s@example.org
uidNumber: %[3]d
gidNumber: %[3]d
homeDirectory: %[4]s
userPassword: %[2]s
%[5]s

`, name, password, uid, home, strings.Join(more, "\n"))
}

// slapd is a real slapd with the people of a test.
type slapd struct {
	t              *testing.T
	root, ca       string
	ldap, ldaps    string // URLs
	ldapi, address string
	cmd            *exec.Cmd
	end            func()
}

const slapdConf = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile /etc/ldap/server.pem
TLSCertificateKeyFile /etc/ldap/server.pem
database mdb
suffix "dc=example"
rootdn "cn=admin,dc=example"
directory /srv/ldap
access to attrs=userPassword by self read by anonymous auth by * none
access to * by dn.exact="cn=reader,dc=example" read by self read by * none
`

func newSlapd(t *testing.T) *slapd {
	root := lab(t)
	s := &slapd{t: t, root: root, ca: filepath.Join(root, "etc/ldap/server.pem")}
	certificate(t, s.ca, "localhost")
	ldif := people + entry("alice", "alice-pw", 2001, "/home/alice", "roomNumber: 5000000S,100C") +
		entry("bob", "bob-pw", 2002, "/home/bob", "roomNumber: many") +
		entry("carol", "carol-pw", 2003, "/home/carol", "carLicense: other.example.org") +
		entry("root", "root-pw", 0, "/root") + entry("daemon", "daemon-pw", 2, "/usr/sbin") +
		entry("thief", "thief-pw", 2004, "/home/../etc") + entry("link", "link-pw", 2005, "/home") +
		entry("twin", "twin-pw", 2006, "/home/twin", "uid: other-twin") + entry("twin2", "twin-pw", 2007, "/home/twin2", "uid: twin") +
		"dn: cn=away,ou=people,dc=example\nobjectClass: referral\nobjectClass: extensibleObject\ncn: away\nuid: away\nref: ldap://127.0.0.1:1/cn=away\n"
	for name, text := range map[string]string{"etc/ldap/test.conf": slapdConf, "etc/ldap/people.ldif": ldif} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sh(t, root, "mkdir -p /srv/ldap /run/slapd; slapadd -f /etc/ldap/test.conf -l /etc/ldap/people.ldif")
	plain, tls := free(t), free(t)
	s.address = fmt.Sprintf("127.0.0.1:%d", plain)
	s.ldap, s.ldaps = fmt.Sprintf("ldap://localhost:%d", plain), fmt.Sprintf("ldaps://localhost:%d", tls)
	s.ldapi = "ldapi://" + filepath.Join(root, "run/slapd/ldapi")
	s.start()
	return s
}

func (s *slapd) start() {
	s.t.Helper()
	s.cmd, s.end = start(s.t, "tcp", s.address, s.root, "/usr/sbin/slapd", "-d", "0", "-f", "/etc/ldap/test.conf",
		"-h", strings.Join([]string{s.ldap, s.ldaps, "ldapi://%2frun%2fslapd%2fldapi"}, " "))
}

// directory is a configuration that searches at a server.
func (s *slapd) directory(server string) config.Directory {
	secret := filepath.Join(s.t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("reader-pw\nand a note\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return config.Directory{
		Name: "people",
		LDAP: &config.LDAP{
			Servers: []string{server}, STARTTLS: strings.HasPrefix(server, "ldap:"), CA: s.ca,
			Account: "cn=reader,dc=example", PasswordFile: secret, Base: "ou=people,dc=example", Filter: "(&(objectClass=posixAccount)(uid={user}))",
			Attributes: config.Attributes{Name: "uid", UID: "uidNumber", GID: "gidNumber", Home: "homeDirectory", Quota: "roomNumber", Elsewhere: "carLicense"},
			Bounds:     config.Bounds{Connections: 4, Timeout: 5},
		},
		May: config.May{MinUID: 1000, MaxUID: 60000, MinGID: 100, Roots: []string{"/home"}, Host: "mail.example.org"},
	}
}

// byName binds under the DN that the name makes.
func byName(d config.Directory) config.Directory {
	l := *d.LDAP
	l.User, l.Base, l.Account, l.PasswordFile = "cn={user},ou=people,dc=example", "", "", ""
	d.LDAP = &l
	return d
}

func newDirectoryAuth(t *testing.T, d ...config.Directory) (*Auth, *journal) {
	t.Helper()
	a, log := newAuth(t, pamLimits(), nil, virtual(t, "vera", "vera-pw"))
	if err := a.Update([]config.User{virtual(t, "vera", "vera-pw")}, d...); err != nil {
		t.Fatal(err)
	}
	return a, log
}

// hostile are names that mean something to somebody (T19).
var hostile = []string{
	"*", "al*", "*)(uid=*", "alice)(|(uid=*", "alice)(cn=alice", "*)(objectClass=*))(|(uid=alice", "alice\\2a", "alice,ou=people", "alice,cn=reader",
	"alice+uid=bob", "%{user}", "%u", "{user}", "../alice", "alice/../bob", "/etc/passwd", "alice\r\nbob", "alice\n", "alice\t", " alice", "alice ",
	"#alice", "-alice", ".alice", "..", "\u202ealice", "ａlice", "al\u00adice", "alice\u0000", "<alice>", "alice;bob", "\"alice\"", "=", "!alice", "&alice",
	strings.Repeat("a", 200) + "*", strings.Repeat("é", 127), strings.Repeat("a", 64<<10),
}

// TestSlapd logs in at a real slapd, each way.
func TestSlapd(t *testing.T) {
	s := newSlapd(t)
	for name, d := range map[string]config.Directory{
		"ldaps": s.directory(s.ldaps), "starttls": s.directory(s.ldap), "ldapi": s.directory(s.ldapi),
		"ldaps by name": byName(s.directory(s.ldaps)), "starttls by name": byName(s.directory(s.ldap)),
	} {
		t.Run(name, func(t *testing.T) {
			a, log := newDirectoryAuth(t, d)
			for _, tt := range []struct{ user, password, name, code string }{
				{"alice", "alice-pw", "alice", ""},
				{"ALICE", "alice-pw", "alice", ""},
				{"alice", "wrong", "", "AUTHENTICATIONFAILED"},
				{"nobody", "alice-pw", "", "AUTHENTICATIONFAILED"},
				{"alice", "", "", "AUTHENTICATIONFAILED"},
				{"bob", "bob-pw", "", "UNAVAILABLE"}, // a quota that is none
				{"root", "root-pw", "", "UNAVAILABLE"},
				{"daemon", "daemon-pw", "", "UNAVAILABLE"},
				{"thief", "thief-pw", "", "UNAVAILABLE"},
				{"link", "link-pw", "link", ""}, // in /home/Maildir, which is the description's to allow
				{"away", "x", "", "AUTHENTICATIONFAILED"},
				{"vera", "vera-pw", "vera", ""},
			} {
				v, _ := try(a, "192.0.2.1", tt.user, tt.password)
				if v.User != tt.name || v.Code != tt.code {
					t.Errorf("%s with %q: %+v\n%s", tt.user, tt.password, v, log)
				}
			}
			want := config.User{Name: "alice", UID: 2001, GID: 2001, Home: "/home/alice", Maildir: "/home/alice/Maildir", Directory: "people"}
			got, _ := a.User("alice")
			if got.Quota == nil || *got.Quota != (config.Quota{Storage: 5000000, Messages: 100}) {
				t.Errorf("quota: %+v", got.Quota)
			}
			if got.Quota = nil; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%+v", got)
			}
			if v, _ := try(a, "192.0.2.1", "carol", "carol-pw"); v.Elsewhere != "imap://carol;AUTH=*@other.example.org/" {
				t.Errorf("carol: %+v", v)
			}
			for i, user := range hostile {
				for _, password := range []string{"alice-pw", "bob-pw", ""} {
					if v, _ := try(a, fmt.Sprintf("198.51.100.%d", i), user, password); v.User != "" || v.Code != "AUTHENTICATIONFAILED" {
						t.Errorf("%.30q: %+v", user, v)
					}
				}
			}
			if strings.Contains(log.String(), "-pw") || strings.Count(log.String(), "\n") < 3*len(hostile) {
				t.Errorf("a password is in the log, or a refusal is not:\n%s", log)
			}
		})
	}
}

// TestSlapdTwins refuses whoever has the name of two.
func TestSlapdTwins(t *testing.T) {
	s := newSlapd(t)
	a, log := newDirectoryAuth(t, s.directory(s.ldaps))
	if v, _ := try(a, "192.0.2.1", "twin", "twin-pw"); v.Code != "UNAVAILABLE" || !strings.Contains(log.String(), "several entries") {
		t.Errorf("%+v\n%s", v, log)
	}
}

// TestSlapdUntrusted tells no password to a server that it cannot be sure of.
func TestSlapdUntrusted(t *testing.T) {
	s := newSlapd(t)
	other := filepath.Join(t.TempDir(), "ca.pem")
	certificate(t, other, "localhost")
	for _, server := range []string{s.ldaps, s.ldap} {
		foreign, system, misnamed := s.directory(server), s.directory(server), s.directory(strings.Replace(server, "localhost", "127.0.0.1", 1))
		foreign.LDAP.CA, system.LDAP.CA = other, ""
		for what, d := range map[string]config.Directory{"another CA": foreign, "no CA": system, "another name": misnamed} {
			a, log := newDirectoryAuth(t, d)
			if v, _ := try(a, "192.0.2.1", "alice", "alice-pw"); v.Code != "UNAVAILABLE" || !strings.Contains(log.String(), "x509: ") {
				t.Errorf("%s, %s: %+v\n%s", server, what, v, log)
			}
		}
	}
}

// TestSlapdFaults has every fault that is not the user's be told apart from a wrong
// password.
func TestSlapdFaults(t *testing.T) {
	s := newSlapd(t)
	for what, change := range map[string]func(l *config.LDAP){
		"a wrong password of our own": func(l *config.LDAP) {
			l.PasswordFile = filepath.Join(t.TempDir(), "wrong")
			os.WriteFile(l.PasswordFile, []byte("x\n"), 0o600)
		},
		"no file with it":      func(l *config.LDAP) { l.PasswordFile = "/nowhere" },
		"no such base":         func(l *config.LDAP) { l.Base = "ou=none,dc=example" },
		"a broken filter":      func(l *config.LDAP) { l.Filter = "(uid={user}" },
		"nobody at the port":   func(l *config.LDAP) { l.Servers = []string{"ldaps://localhost:1"} },
		"a server without TLS": func(l *config.LDAP) { l.Servers = []string{strings.Replace(s.ldap, "ldap:", "ldaps:", 1)} },
	} {
		d := s.directory(s.ldaps)
		change(d.LDAP)
		a, log := newDirectoryAuth(t, d)
		for _, password := range []string{"alice-pw", "wrong"} {
			if v, _ := try(a, "192.0.2.1", "alice", password); v.Code != "UNAVAILABLE" {
				t.Errorf("%s: %+v\n%s", what, v, log)
			}
		}
		if v, _ := try(a, "192.0.2.1", "vera", "vera-pw"); v.User != "vera" {
			t.Errorf("%s keeps others out: %+v", what, v)
		}
	}
	second := s.directory(s.ldaps)
	second.LDAP.Servers = []string{"ldaps://localhost:1", s.ldaps}
	a, log := newDirectoryAuth(t, second)
	for range 3 {
		if v, _ := try(a, "192.0.2.1", "alice", "alice-pw"); v.User != "alice" {
			t.Errorf("with the first of two servers down: %+v\n%s", v, log)
		}
	}
}

// TestSlapdComesAndGoes kills slapd with connections open, stops it and starts it
// again.
func TestSlapdComesAndGoes(t *testing.T) {
	s := newSlapd(t)
	for name, d := range map[string]config.Directory{"search": s.directory(s.ldaps), "by name": byName(s.directory(s.ldap))} {
		a, log := newDirectoryAuth(t, d)
		login := func() string {
			v, _ := try(a, "192.0.2.1", "alice", "alice-pw")
			return v.Code
		}
		// A server that could not be reached is left alone for a second.
		recovers := func(when string) {
			t.Helper()
			for i := 0; login() != ""; i++ {
				if i == 1000 {
					t.Fatalf("%s: not reached %s\n%s", name, when, log)
				}
				time.Sleep(20 * time.Millisecond)
			}
		}
		if code := login(); code != "" {
			t.Errorf("%s: %s\n%s", name, code, log)
		}
		s.end()
		if code := login(); code != "UNAVAILABLE" {
			t.Errorf("%s: %q after it was killed\n%s", name, code, log)
		}
		s.start()
		recovers("after it was started again")
		// Restarted between two logins: the connection that was kept is of no use.
		s.end()
		s.start()
		if code := login(); code != "" {
			t.Errorf("%s: %q with a connection that has died\n%s", name, code, log)
		}
		d.LDAP.Timeout = 1
		if err := a.Update([]config.User{virtual(t, "vera", "vera-pw")}, d); err != nil {
			t.Fatal(err)
		}
		s.cmd.Process.Signal(syscall.SIGSTOP)
		stopped(t, s.cmd.Process.Pid)
		if code := login(); code != "UNAVAILABLE" {
			t.Errorf("%s: %q while it hangs\n%s", name, code, log)
		}
		if v, _ := try(a, "192.0.2.1", "vera", "vera-pw"); v.User != "vera" {
			t.Errorf("vera while it hangs: %+v", v)
		}
		s.cmd.Process.Signal(syscall.SIGCONT)
		recovers("after it went on")
	}
}

// stopped waits until all threads of a process have stopped.
func stopped(t *testing.T, pid int) {
	t.Helper()
	for range 1000 {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil || len(threads) == 0 {
			t.Fatalf("process %d: %v", pid, err)
		}
		runs := slices.ContainsFunc(threads, func(path string) bool {
			stat, err := os.ReadFile(path)
			_, state, _ := strings.Cut(string(stat), ") ")
			return err != nil || !strings.HasPrefix(state, "T")
		})
		if !runs {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("process %d does not stop", pid)
}

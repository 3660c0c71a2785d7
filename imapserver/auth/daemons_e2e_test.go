package auth

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailstead/imapserver/config"
)

// courier is a real authdaemond with userdb.
const userdb = `#!/bin/sh
set -e
sed -i 's/^authmodulelist=.*/authmodulelist="authuserdb"/' /etc/courier/authdaemonrc
mkdir -p /run/courier/authdaemon /etc/courier
chown courier:courier /run/courier/authdaemon
line() { printf '%s\t%s|systempw=%s|imappw=%s\n' "$1" "$3" "$(openssl passwd -6 "$2")" "$(openssl passwd -6 "$2")"; }
{
	line alice alice-pw 'uid=2001|gid=2001|home=/home/alice|mail=/home/alice/Mail|quota=5000000S,100C'
	line bob bob-pw 'uid=2002|gid=2002|home=/home/bob|options=disableimap=1'
	line carol carol-pw 'uid=2003|gid=2003|home=/home/carol|options=mailhost=other.example.org,sharedgroup=x'
	line dave dave-pw 'uid=2004|gid=2004|home=/home/dave|options=disableinsecureimap=1'
	line zero zero-pw 'uid=0|gid=0|home=/home/zero'
	line out out-pw 'uid=2005|gid=2005|home=/home/out|mail=/var/spool/out'
	line alice@example.org domain-pw 'uid=2006|gid=2006|home=/home/alice.example'
} >/etc/courier/userdb
chmod 700 /etc/courier/userdb
makeuserdb
`

func newCourier(t *testing.T) (root, socket string) {
	root = lab(t)
	// The daemon logs to syslog, and authdaemond wants to hear of /dev/null.
	if out, err := exec.Command("sh", "-ec", `mknod -m 666 "$0/dev/null" c 1 3 2>/dev/null || :; mknod -m 666 "$0/dev/urandom" c 1 9 2>/dev/null || :`, root).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	sh(t, root, userdb)
	socket = filepath.Join(root, "run/courier/authdaemon/socket")
	start(t, "unix", socket, root, "/usr/lib/courier/courier-authlib/authdaemond")
	return root, socket
}

// own is what a directory may say where each user has a uid of their own.
var own = config.May{MinUID: 1000, MaxUID: 60000, MinGID: 100, Roots: []string{"/home"}, Host: "mail.example.org"}

// TestAuthdaemond logs in at a real authdaemond.
func TestAuthdaemond(t *testing.T) {
	_, socket := newCourier(t)
	d := config.Directory{Name: "courier", May: own, Authdaemon: &config.Authdaemon{Socket: socket, Service: "imap", Bounds: config.Bounds{Connections: 5, Timeout: 5}}}
	a, log := newDirectoryAuth(t, d)
	for _, tt := range []struct{ user, password, name, code string }{
		{"alice", "alice-pw", "alice", ""},
		{"alice@example.org", "domain-pw", "alice@example.org", ""},
		{"alice", "domain-pw", "", "AUTHENTICATIONFAILED"},
		{"alice", "alice-pw\nx", "", "AUTHENTICATIONFAILED"},
		{"alice", "alice-pw\n", "", "AUTHENTICATIONFAILED"},
		{"nobody", "alice-pw", "", "AUTHENTICATIONFAILED"},
		{"bob", "bob-pw", "", "AUTHORIZATIONFAILED"},
		{"bob", "wrong", "", "AUTHENTICATIONFAILED"},
		{"dave", "dave-pw", "dave", ""},
		{"zero", "zero-pw", "", "UNAVAILABLE"},
		{"out", "out-pw", "", "UNAVAILABLE"},
		{"vera", "vera-pw", "vera", ""},
	} {
		if v, _ := try(a, "192.0.2.1", tt.user, tt.password); v.User != tt.name || v.Code != tt.code {
			t.Errorf("%s with %q: %+v\n%s", tt.user, tt.password, v, log)
		}
	}
	got, _ := a.User("alice")
	if got.Maildir != "/home/alice/Mail" || got.Home != "/home/alice" || got.UID != 2001 || got.GID != 2001 || got.Quota == nil || *got.Quota != (config.Quota{Storage: 5000000, Messages: 100}) {
		t.Errorf("%+v %+v", got, got.Quota)
	}
	if v, _ := try(a, "192.0.2.1", "carol", "carol-pw"); v.Elsewhere != "imap://carol;AUTH=*@other.example.org/" {
		t.Errorf("carol: %+v", v)
	}
	for i, user := range hostile {
		if v, _ := try(a, fmt.Sprintf("198.51.100.%d", i), user, "alice-pw"); v.User != "" || v.Code != "AUTHENTICATIONFAILED" {
			t.Errorf("%.30q: %+v", user, v)
		}
	}
	if strings.Contains(log.String(), "-pw") || strings.Contains(log.String(), "$6$") {
		t.Errorf("a password or a hash is in the log:\n%s", log)
	}
}

// TestSaslauthd logs in at a real saslauthd, which asks a real slapd: the lab has
// no accounts of the host to ask PAM about without a host that is booted.
func TestSaslauthd(t *testing.T) {
	s := newSlapd(t)
	conf := fmt.Sprintf("ldap_servers: %s\nldap_search_base: ou=people,dc=example\nldap_filter: uid=%%u\nldap_bind_dn: cn=reader,dc=example\nldap_password: reader-pw\n", "ldapi://%2frun%2fslapd%2fldapi")
	if err := os.WriteFile(filepath.Join(s.root, "etc/saslauthd.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	sh(t, s.root, "mkdir -p /run/sal")
	mux := filepath.Join(s.root, "run/sal/mux")
	start(t, "unix", mux, s.root, "/usr/sbin/saslauthd", "-d", "-a", "ldap", "-O", "/etc/saslauthd.conf", "-m", "/run/sal", "-n", "2")
	d := config.Directory{
		Name: "sasl", May: config.May{Owner: &config.Identity{UID: 500, GID: 500}, Roots: []string{"/var/vmail"}},
		Saslauthd: &config.Saslauthd{Socket: mux, Service: "imap", Bounds: config.Bounds{Connections: 5, Timeout: 5}},
	}
	a, log := newDirectoryAuth(t, d)
	for _, tt := range []struct{ user, password, name, code string }{
		{"alice", "alice-pw", "alice", ""},
		{"Alice", "alice-pw", "alice", ""},
		{"alice", "bob-pw", "", "AUTHENTICATIONFAILED"},
		{"nobody", "alice-pw", "", "AUTHENTICATIONFAILED"},
		{"alice", strings.Repeat("x", 300), "", "AUTHENTICATIONFAILED"},
		{"vera", "vera-pw", "vera", ""},
	} {
		if v, _ := try(a, "192.0.2.1", tt.user, tt.password); v.User != tt.name || v.Code != tt.code {
			t.Errorf("%s with %q: %+v\n%s", tt.user, tt.password, v, log)
		}
	}
	if got, _ := a.User("alice"); got.Maildir != "/var/vmail/alice/Maildir" || got.UID != 500 || got.Home != "/var/vmail/alice" {
		t.Errorf("%+v", got)
	}
	for i, user := range hostile {
		if v, _ := try(a, fmt.Sprintf("198.51.100.%d", i), user, "alice-pw"); v.User != "" || v.Code != "AUTHENTICATIONFAILED" {
			t.Errorf("%.30q: %+v", user, v)
		}
	}
}

// answering is a daemon at a socket that answers everybody the same.
func answering(t *testing.T, answer string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 4096))
			c.Write([]byte(answer))
			c.Close()
		}
	}()
	return path
}

// TestDaemonAnswers wants whatever is no answer to be a fault of the daemon.
func TestDaemonAnswers(t *testing.T) {
	bounds := config.Bounds{Connections: 2, Timeout: 5}
	block := "UID=2001\nGID=2001\nHOME=/home/alice\nADDRESS=alice\nPASSWD=$6$secret\nPASSWD2=alice-pw\n"
	for _, tt := range []struct {
		daemon, answer, code string
	}{
		{"authdaemon", block + ".\n", ""},
		{"authdaemon", "", "UNAVAILABLE"},
		{"authdaemon", block, "UNAVAILABLE"},
		{"authdaemon", "FAIL\n", "AUTHENTICATIONFAILED"},
		{"authdaemon", "FAIL", "UNAVAILABLE"},
		{"authdaemon", strings.Repeat("X=y\n", maxAnswer), "UNAVAILABLE"},
		{"authdaemon", strings.Replace(block, "2001", "-1", 1) + ".\n", "UNAVAILABLE"},
		{"authdaemon", strings.Replace(block, "2001", "4294967296", 1) + ".\n", "UNAVAILABLE"},
		{"authdaemon", strings.Replace(block, "ADDRESS=alice", "ADDRESS=../x", 1) + ".\n", "UNAVAILABLE"},
		{"authdaemon", strings.Replace(block, "ADDRESS=alice", "ADDRESS=vera", 1) + ".\n", "UNAVAILABLE"},
		{"saslauthd", "\x00\x02OK", ""},
		{"saslauthd", "\x00\x02NO", "AUTHENTICATIONFAILED"},
		{"saslauthd", "\x00\x02", "UNAVAILABLE"},
		{"saslauthd", "", "UNAVAILABLE"},
		{"saslauthd", "\x00\x02??", "UNAVAILABLE"},
		{"saslauthd", "\xff\xffOK", "UNAVAILABLE"},
	} {
		d := config.Directory{Name: "d", May: own}
		if tt.daemon == "authdaemon" {
			d.Authdaemon = &config.Authdaemon{Socket: answering(t, tt.answer), Service: "imap", Bounds: bounds}
		} else {
			d.May = config.May{Owner: &config.Identity{UID: 500, GID: 500}, Roots: []string{"/var/vmail"}}
			d.Saslauthd = &config.Saslauthd{Socket: answering(t, tt.answer), Service: "imap", Bounds: bounds}
		}
		a, log := newDirectoryAuth(t, d)
		if v, _ := try(a, "192.0.2.1", "alice", "alice-pw"); v.Code != tt.code {
			t.Errorf("%s %.40q: %+v\n%s", tt.daemon, tt.answer, v, log)
		}
		if strings.Contains(log.String(), "secret") || strings.Contains(log.String(), "alice-pw") {
			t.Errorf("a secret is in the log: %s", log)
		}
	}
}

// TestHangingDaemon ends a login whose daemon does not answer.
func TestHangingDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := exchange(ctx, path, []byte("x"), readCounted); err == nil {
		t.Error("an answer of nobody")
	}
}

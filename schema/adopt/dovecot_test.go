package adopt

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"mailstead/imapserver/oracle"
	"mailstead/schema"
)

// describeDovecot is describe for what doveconf says.
func describeDovecot(t *testing.T, conf string, files map[string]string) (string, string) {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	h, err := ReadDovecot(fsys, "mail.example.org", "doveconf", []byte(conf))
	if err != nil {
		t.Fatal(err)
	}
	text, err := h.Describe("Trash", func(d Description) schema.Diagnostics { return load(t, d) })
	if err != nil {
		t.Fatalf("%v\n%s", err, text.CUE)
	}
	return string(text.CUE), string(text.Users)
}

func TestDovecot(t *testing.T) {
	cue, users := describeDovecot(t, `# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf
mail_location = maildir:~/Maildir:LAYOUT=fs
auth_mechanisms = plain login
namespace inbox {
  inbox = yes
  mailbox "Sent Messages" {
    auto = subscribe
    special_use = \Sent
  }
  mailbox Trash {
    autoexpunge = 30 days
  }
  prefix = INBOX.
}
passdb {
  driver = pam
}
passdb {
  args = scheme=SHA512-CRYPT /etc/dovecot/users
  driver = passwd-file
}
passdb {
  args = /etc/dovecot/sql.conf
  driver = sql
}
plugin {
  quota_rule = *:storage=5G
}
protocols = " imap pop3"
service imap-login {
  inet_listener imap {
    address = 127.0.0.1
  }
  inet_listener imaps {
    port = 1993
  }
}
ssl = no
userdb {
  args = uid=vmail gid=vmail home=/srv/mail/%u
  driver = static
}
`, map[string]string{
		"etc/passwd":        "alice:x:1000:1000::/home/alice:/bin/sh\nvmail:x:500:500::/srv/mail:/bin/false\n",
		"etc/dovecot/users": "vera@example.org:{SHA512-CRYPT}" + hash + "::::::\nwalt@example.org:{PLAIN}secret::::::\n",
	})
	contains(t, cue, `namespace: "INBOX." // doveconf:13 prefix=INBOX.`, `quota: storage: "5GiB" // doveconf:27 quota_rule=`,
		`imap: {address: "127.0.0.1", tls: "none"} // doveconf:38 ssl=no`, "pop3 is not served", "passdb sql: who is in there", `mail: root: "/srv/mail"`,
		"mailstead flatten", "autoexpunge=30 days", "auth_mechanisms=plain login: is not taken over", "alice: {} // /etc/passwd:1", "is of a scheme that is not accepted")
	contains(t, users, `"vera@example.org": {"password": {"hash": "$6$`)
	if strings.Contains(cue+users, "secret") || strings.Contains(cue, "1993") {
		t.Errorf("a password, or a listener with TLS where there is none:\n%s%s", cue, users)
	}
}

// The names of Dovecot 2.4.
func TestDovecot24(t *testing.T) {
	cue, _ := describeDovecot(t, `dovecot_config_version = 2.4.0
mail_driver = maildir
mail_path = ~/Mail
passdb pam {
}
passdb pam {
  driver = pam
}
ssl_server_cert_file = /etc/ssl/none.pem
`, map[string]string{"etc/passwd": "alice:x:1000:1000::/home/alice:/bin/sh\n"})
	contains(t, cue, `alice: {maildir: "Mail"}`, "/etc/ssl/none.pem is not there", "selfSigned: {}")
}

// What stands in sections is taken over, or named.
func TestDovecotSections(t *testing.T) {
	own, net, com, address := issue(t, "mail.example.org", "imap.example.net"), issue(t, "*.example.net"), issue(t, "x.example.com"), issue(t, "far.example.org", "mail.example.org")
	files := map[string]string{"etc/passwd": "alice:x:1000:1000::/home/alice:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\ncarl:x:1002:1002::/home/carl:/bin/sh\nvmail:x:500:500::/srv/mail:/bin/false\n",
		"etc/dovecot/deny": "bob\ncarl:\n", "etc/dovecot/users": "dora:{SHA512-CRYPT}" + hash + "\n", "etc/dovecot/masters": "root:{SHA512-CRYPT}" + hash + "\n",
		"etc/ssl/a.pem": own, "etc/ssl/b.pem": net, "etc/ssl/c.pem": com, "etc/ssl/d.pem": address, "etc/ssl/e.pem": own}
	cue, users := describeDovecot(t, realDoveconf(t, `protocols = imap
mail_location = maildir:~/Maildir
ssl_cert = </etc/ssl/a.pem
ssl_key = </etc/ssl/a.key
local_name imap.example.net {
  ssl_cert = </etc/ssl/b.pem
  ssl_key = </etc/ssl/b.key
}
local_name "x.example.com y.example.com" {
  ssl_cert = </etc/ssl/c.pem
  ssl_key = </etc/ssl/c.key
}
local_name pop.example.net {
  ssl_cert = </etc/ssl/b.pem
  ssl_key = </etc/ssl/b.key
  ssl_min_protocol = TLSv1.3
}
local 192.0.2.1 {
  protocol imap {
    ssl_cert = </etc/ssl/d.pem
    ssl_key = </etc/ssl/d.key
  }
}
local 192.0.2.2 {
  ssl_cert = </etc/ssl/e.pem
  ssl_key = </etc/ssl/e.key
}
passdb {
  driver = passwd-file
  deny = yes
  args = /etc/dovecot/deny
}
passdb {
  driver = passwd-file
  master = yes
  args = /etc/dovecot/masters
}
passdb {
  driver = pam
  override_fields = allow_nets=192.0.2.0/24
}
passdb {
  driver = passwd-file
  args = /etc/dovecot/users
}
userdb {
  driver = static
  args = uid=vmail home=/srv/mail/%u
}
namespace {
  inbox = yes
  mailbox Trash {
    auto = create
  }
  prefix = INBOX/
  separator = /
}
namespace {
  type = public
  prefix = Public/
  separator = /
  location = maildir:/srv/public
}
service imap-login {
  process_limit = 7
}
service lmtp {
  unix_listener lmtp {
    mode = 0666
  }
}
plugin {
  sieve = ~/.dovecot.sieve
  quota_rule = *:messages=50
}
protocol imap {
  mail_max_userip_connections = 33
}
protocol lmtp {
  postmaster_address = x@example.org
}
`), files)
	contains(t, cue, `"mail.example.org": files: {certificate: "/etc/ssl/a.pem", key: "/etc/ssl/a.key"}`, `tls: default: "mail.example.org"`,
		`"imap.example.net": {files: {certificate: "/etc/ssl/b.pem", key: "/etc/ssl/b.key"}, names: ["imap.example.net", "pop.example.net"]}`,
		`"x.example.com": files: {certificate: "/etc/ssl/c.pem", key: "/etc/ssl/c.key"}`, "/etc/ssl/c.pem: the certificate is not for y.example.com, and is not served for it",
		`"far.example.org": files: {certificate: "/etc/ssl/d.pem", `, "/etc/ssl/e.pem: another certificate is served for ",
		`namespace: "INBOX."`, "separator=/: the parts of a folder's name", "namespace prefix=Public/: its folders are not served", "quota: messages: 50",
		`left out: bob: Dovecot refuses it by /etc/dovecot/deny:1`, `left out: carl: Dovecot refuses it by /etc/dovecot/deny:2`, "master users are not taken over", "alice: {}",
		"passdb: override_fields=allow_nets=192.0.2.0/24: is not taken over", "service imap-login: process_limit=7: is not taken over", "service lmtp: is not taken over",
		"plugin: sieve=~/.dovecot.sieve: is not taken over", "mail_max_userip_connections=33: is not taken over", "protocol lmtp: is not taken over", "local_name pop.example.net: ssl_min_protocol=TLSv1.3: is not taken over")
	contains(t, users, `"dora": {`)
	if strings.Contains(cue+users, `"root"`) || strings.Contains(cue, "namespace prefix=INBOX") {
		t.Errorf("a master among the users, or the INBOX among what is not served:\n%s%s", cue, users)
	}
}

// Sections of Dovecot 2.4.
func TestDovecot24Sections(t *testing.T) {
	cue, users := describeDovecot(t, `mail_driver = maildir
mail_path = ~/Mail
mailbox_list_layout = fs
passdb passwd-file {
  passwd_file_path = /etc/dovecot/users
}
quota "User quota" {
  storage_size = 5 G
  driver = count
}
quota_message_count = 700
userdb static {
  fields {
    gid = vmail
    home = /srv/mail/%{user}
    uid = vmail
  }
}
`, map[string]string{"etc/passwd": "vmail:x:500:500::/srv/mail:/bin/false\n", "etc/dovecot/users": "vera@example.org:{SHA512-CRYPT}" + hash + "\n"})
	contains(t, cue, `mail: root: "/srv/mail"`, `quota: storage: "5GiB" // doveconf:8 storage_size=5 G`, "quota: messages: 700", "mailstead flatten", `quota "User quota": is not taken over`)
	contains(t, users, `"vera@example.org": {"password": {"hash": "$6$`, `"maildir": "vera@example.org/Mail"`)
}

// A listener is served where Dovecot served it, and nowhere else.
func TestDovecotAddresses(t *testing.T) {
	const own = "service imap-login {\n  inet_listener imap {\n    %s\n  }\n}\n"
	for name, tc := range map[string]struct {
		conf string
		want []string
	}{
		"none":            {"", []string{"\t\timap: {}\n\t\timaps: {}\n"}},
		"one for all":     {"listen = 127.0.0.1\n", []string{`imap: {address: "127.0.0.1"} // doveconf:1 listen=127.0.0.1`, `imaps: {address: "127.0.0.1"} // doveconf:1 listen=`}},
		"several for all": {"listen = 192.0.2.1, [2001:db8::1]\n", []string{`imap: {address: "192.0.2.1"}`, `"imap-2": {address: "2001:db8::1", port: 143}`, `imaps: {address: "192.0.2.1"}`, `"imaps-2": {address: "2001:db8::1", port: 993, tls: "implicit"}`}},
		"every one":       {"listen = *, ::\n", []string{"\t\timap: {}\n\t\timaps: {}\n"}},
		"a list of its own": {"listen = 192.0.2.1\n" + strings.Replace(own, "%s", "address = 127.0.0.1 ::1", 1),
			[]string{`imap: {address: "127.0.0.1"}`, `"imap-2": {address: "::1", port: 143}`, `imaps: {address: "192.0.2.1"}`}},
		"every one of its own": {"listen = 192.0.2.1\n" + strings.Replace(own, "%s", "address = *", 1), []string{"imap: {} //", `imaps: {address: "192.0.2.1"}`}},
		"without TLS":          {"listen = 127.0.0.1,::1\nssl = no\n", []string{`imap: {address: "127.0.0.1", tls: "none"}`, `"imap-2": {address: "::1", port: 143, tls: "none"}`}},
		"a port of its own":    {"listen = 127.0.0.1\n" + strings.Replace(own, "%s", "port = 1143", 1), []string{`imap: {address: "127.0.0.1", port: 1143} // doveconf:4 port=1143; doveconf:1 listen=127.0.0.1`}},
	} {
		t.Run(name, func(t *testing.T) {
			cue, _ := describeDovecot(t, tc.conf+"mail_location = maildir:~/Maildir\n", nil)
			contains(t, cue, tc.want...)
			if strings.Contains(cue, "is not taken over") || strings.Contains(cue, "left out: ") {
				t.Error(cue)
			}
		})
	}
}

// The extra fields of a passwd-file count for their user.
func TestDovecotPasswdFile(t *testing.T) {
	line := func(name, extra string) string {
		return name + ":{SHA512-CRYPT}" + hash + "::::::" + extra + "\n"
	}
	cue, users := describeDovecot(t, `mail_location = maildir:~/Maildir
passdb {
  args = /etc/dovecot/users
  driver = passwd-file
}
plugin {
  quota_rule = *:storage=5G
}
userdb {
  args = uid=vmail gid=vmail home=/srv/mail/%u
  driver = static
}
`, map[string]string{
		"etc/passwd": "vmail:x:500:500::/srv/mail:/bin/false\n",
		"etc/dovecot/users": line("adam", "") + line("ben", "nologin") + line("cleo", "nologin=y reason=away") +
			line("eve", "userdb_mail=maildir:/srv/mail/old/eve/") + line("finn", "userdb_mail=maildir:~/Mail:LAYOUT=fs") + line("gus", "userdb_mail=mbox:~/mail") +
			line("hal", "userdb_quota_rule=*:storage=50G") + line("ida", "userdb_quota_rule=*:messages=0700") + line("jan", "userdb_quota_rule=Trash:storage=+10%") +
			line("kim", "allow_nets=192.0.2.0/24,2001:db8::/32 pass=secret"),
	})
	contains(t, users, `"adam": {"password": {"hash": "`+hash+`"}}`,
		`"eve": {"password": {"hash": "`+hash+`"}, "maildir": "old/eve"}`, `"finn": {"password": {"hash": "`+hash+`"}, "maildir": "finn/Mail"}`,
		`"hal": {"password": {"hash": "`+hash+`"}, "quota": {"storage": "50GiB"}}`, `"ida": {"password": {"hash": "`+hash+`"}, "quota": {"messages": 700}}`,
		`"jan": {"password": {"hash": "`+hash+`"}}`, `"kim": {`)
	contains(t, cue, `left out: "ben": it has nologin`, "(/etc/dovecot/users:2)", `left out: "cleo": it has nologin`, `left out: "gus": its mail is not kept in a Maildir`,
		"/etc/dovecot/users:5 finn: of userdb_mail the Maildir alone is taken over", "/etc/dovecot/users:9 jan: userdb_quota_rule is not taken over",
		"/etc/dovecot/users:10 kim: allow_nets is not taken over", "/etc/dovecot/users:10 kim: pass is not taken over")
	if strings.Contains(cue, "secret") || strings.Contains(users, "gus") || strings.Contains(users, "ben") {
		t.Errorf("a password, or a user who was to be left out:\n%s%s", cue, users)
	}
}

// A Maildir that is relative to nothing is no place.
func TestDovecotRelative(t *testing.T) {
	cue, _ := describeDovecot(t, "mail_location = maildir:m/%d/%n\npassdb {\n driver = passwd-file\n args = /users\n}\n", map[string]string{"users": "a:" + hash + ":::::\n"})
	contains(t, cue, "left out: \"a\": where its mail is has not been told: m/a is below nothing")
}

func TestDoveconfRefuses(t *testing.T) {
	for _, text := range []string{"}", "a {", "hello", strings.Repeat("a {\n", 30), "a = b\n}\n", "", "\n# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf\n", "passdb {\n}\n"} {
		var syntax *SyntaxError
		if _, err := readDoveconf("f", []byte(text)); !errors.As(err, &syntax) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestDovecotHostile: whatever doveconf is said to say, what comes of it loads.
func TestDovecotHostile(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 2))
	t.Logf("seed %d", seed)
	names := []string{"mail_location", "ssl", "ssl_cert", "ssl_key", "protocols", "driver", "args", "port", "address", "prefix", "quota_rule", "mail_path", "mail_driver", "mail_uid", "x\u202e"}
	values := []string{"", "maildir:~/Maildir", "maildir:/m/%d/%n:LAYOUT=fs", "mbox:~", "no", "yes", "pam", "passwd-file", "sql", "/users", "x y /users", "0", "993", "-7", "INBOX.", "\xff", "\"", "*:storage=5G", "*:storage=99999999999999999999G", "</x", "uid=1 home=/h/%u", "// }", strings.Repeat("x", 500)}
	heads := []string{"passdb", "passdb pam", "userdb", "namespace inbox", "service imap-login", "inet_listener imap", "inet_listener imaps", "inet_listener \"x y\"", "plugin", "mailbox Sent"}
	for range 60 {
		var b strings.Builder
		b.WriteString("mail_location = maildir:~/Maildir\n")
		depth := 0
		for range random.IntN(30) {
			switch random.IntN(5) {
			case 0:
				b.WriteString(heads[random.IntN(len(heads))] + " {\n")
				depth++
			case 1:
				if depth > 0 {
					b.WriteString("}\n")
					depth--
				}
			default:
				b.WriteString(names[random.IntN(len(names))] + " = " + values[random.IntN(len(values))] + "\n")
			}
		}
		b.WriteString(strings.Repeat("}\n", depth))
		describeDovecot(t, b.String(), map[string]string{
			"etc/passwd": "alice:x:1000:1000::/home/alice:/bin/sh\n\xff:x:1001:1001::/:/bin/sh\n",
			"users":      "vera@x:{X}" + hash + ":1:1::/h:\n\"\\(x):{Y}z::::::\n",
		})
	}
}

func FuzzDovecot(f *testing.F) {
	f.Add("mail_location = maildir:~/Maildir\npassdb {\n driver = pam\n}\nservice imap-login {\n inet_listener imap {\n port = 144\n}\n}\n", "alice:x:1000:1000::/home/alice:/bin/sh\n")
	f.Add("mail_location = maildir:/m/%d/%n\npassdb {\n driver = passwd-file\n args = etc/passwd\n}\nssl_cert = </x\n", "a:{X}$6$:::::\n")
	f.Fuzz(func(t *testing.T, conf, passwd string) {
		oracle.Cost(t, len(conf)+len(passwd), func() {
			if h, err := ReadDovecot(fstest.MapFS{"etc/passwd": {Data: []byte(passwd)}}, "mail.example.org", "doveconf", []byte(conf)); err == nil {
				(&draft{host: h}).build()
			}
		})
	})
}

// realDoveconf gives what doveconf makes of a configuration, or without Dovecot the
// configuration itself.
func realDoveconf(t *testing.T, text string) string {
	t.Helper()
	if os.Getenv("MAILSTEAD_E2E") != "1" {
		return text
	}
	conf := filepath.Join(t.TempDir(), "dovecot.conf")
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("doveconf", "-nP", "-c", conf).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestRealDoveconf reads what a real doveconf writes.
func TestRealDoveconf(t *testing.T) {
	if os.Getenv("MAILSTEAD_E2E") != "1" {
		t.Skip("needs Dovecot: set MAILSTEAD_E2E=1")
	}
	out := realDoveconf(t, `protocols = imap
mail_location = maildir:~/Maildir
ssl_cert = </etc/letsencrypt/live/mail.example.org/fullchain.pem
ssl_key = </etc/letsencrypt/live/mail.example.org/privkey.pem
ssl = required
passdb {
  driver = pam
}
passdb {
  driver = passwd-file
  args = /etc/dovecot/users
}
userdb {
  driver = static
  args = uid=vmail home=/var/vmail/%u
}
namespace inbox {
  inbox = yes
  prefix = INBOX.
}
service imap-login {
  inet_listener imap {
    port = 0
  }
}
`)
	cue, users := describeDovecot(t, out, map[string]string{
		"etc/passwd":        "alice:x:1000:1000::/home/alice:/bin/sh\nvmail:x:500:500::/var/vmail:/bin/false\n",
		"etc/dovecot/users": "vera@example.org:{SHA512-CRYPT}" + hash + "\n",
	})
	contains(t, cue, `namespace: "INBOX."`, "listeners: {\n\t\timaps: {}\n\t}", "alice: {}", "doveconf:25 /etc/letsencrypt/live/mail.example.org/fullchain.pem is not there")
	contains(t, users, "vera@example.org")
}

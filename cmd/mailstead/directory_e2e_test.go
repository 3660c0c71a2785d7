package main_test

import (
	"strings"
	"testing"
)

// directoried is a host that has no users of its own.
const directoried = `hosts: "mail.example.org": {
	listeners: imap: {}
	tls: certificates: "mail.example.org": selfSigned: {}
	limits: {delay: 0, longestDelay: 0}
	quota: storage: "1GB"
	folders: Sent: use: "sent"
	directories: people: ldap: {
		servers: ["ldaps://127.0.0.1"]
		ca:           "/etc/ldap/server.pem"
		base:         "ou=people,dc=example"
		account:      "cn=reader,dc=example"
		passwordFile: "/etc/mailstead.ldap"
		attributes: {quota: "roomNumber", elsewhere: "carLicense"}
	}
	directories: courier: {order: 20, authdaemon: {}}
	deliver: {domains: ["example.org"], lmtp: {}}
	keep: "3d"
}
`

// withHomes adds a directory whose users have uids of their own.
const withHomes = `hosts: "mail.example.org": directories: unix: {
	order: 15
	homes: ["/home"]
	saslauthd: {service: "mail", group: ""}
}
`

// directories sets up slapd, authdaemond and saslauthd, each with somebody whom
// nobody else knows.
const directories = `
cat >/etc/ldap/test.conf <<'X'
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile /etc/ldap/server.pem
TLSCertificateKeyFile /etc/ldap/server.key
database mdb
suffix "dc=example"
directory /srv/ldap
access to attrs=userPassword by self read by anonymous auth by * none
access to * by dn.exact="cn=reader,dc=example" read by * none
X
cat >/root/people.ldif <<'X'
dn: dc=example
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

dn: cn=alice,ou=people,dc=example
objectClass: inetOrgPerson
cn: alice
sn: alice
uid: alice
userPassword: alice-pw
roomNumber: 5000000S,77C

dn: cn=erna,ou=people,dc=example
objectClass: inetOrgPerson
cn: erna
sn: erna
uid: erna
userPassword: erna-pw

dn: cn=frida,ou=people,dc=example
objectClass: inetOrgPerson
cn: frida
sn: frida
uid: frida
userPassword: frida-pw

dn: cn=carol,ou=people,dc=example
objectClass: inetOrgPerson
cn: carol
sn: carol
uid: carol
userPassword: carol-pw
carLicense: other.example.org
X
mkdir -p /srv/ldap /run/saslauthd
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout /etc/ldap/server.key -out /etc/ldap/server.pem 2>/dev/null
slapadd -f /etc/ldap/test.conf -l /root/people.ldif
systemd-run --quiet --unit=slapd-test slapd -d 0 -f /etc/ldap/test.conf -h ldaps:///
sed -i 's/^authmodulelist=.*/authmodulelist="authuserdb"/' /etc/courier/authdaemonrc
mkdir -p /run/courier/authdaemon
chown courier:courier /run/courier/authdaemon
chmod 750 /run/courier/authdaemon
printf 'dora\tuid=%s|gid=%s|home=/var/vmail/dora|mail=/var/vmail/dora/Maildir|systempw=%s\n' "$1" "$2" "$(openssl passwd -6 dora-pw)" >/etc/courier/userdb
chmod 700 /etc/courier/userdb
makeuserdb
systemd-run --quiet --unit=authdaemon-test /usr/lib/courier/courier-authlib/authdaemond
useradd -m -s /bin/sh bob
echo bob:bob-pw | chpasswd
systemd-run --quiet --unit=saslauthd-test saslauthd -d -a pam -m /run/saslauthd -n 2
`

// directoryClient logs in and says what comes of it.
const directoryClient = `import imaplib, ssl, sys
context = ssl._create_unverified_context()
for name, password in (pair.split(":") for pair in sys.argv[1:]):
    m = imaplib.IMAP4("127.0.0.1", 143)
    m.starttls(context)
    try:
        m.login('"%s"' % name, password)
        print(name, "in", m.getquotaroot("INBOX")[1][1], m.list()[1], m.append("Sent", None, None, b"x: y\n\n")[0])
        m.logout()
    except imaplib.IMAP4.error as e:
        print(name, e)
        m.shutdown()
`

// directoryMail takes mail by LMTP, and says what is answered to each recipient and
// after the message.
const directoryMail = `import smtplib, sys
l = smtplib.LMTP("/run/mailstead-lmtp")
l.ehlo()
l.mail("s@example.net")
codes = [l.rcpt(to)[0] for to in sys.argv[1:]]
print(codes, end=" ")
if 250 in codes:
    l.docmd("DATA")
    l.send(b"Subject: by LMTP\r\n\r\nhi\r\n.\r\n")
    print([l.getreply()[0] for c in codes if c == 250])
`

// deliverToDirectories: mail goes to those whom the directories know, be it before they
// have ever logged in; so does what is brought in by hand.
func deliverToDirectories(t *testing.T, b *box) {
	t.Helper()
	b.write("/root/lmtp.py", directoryMail)
	mail := func(to ...string) string { return b.run(append([]string{"python3", "/root/lmtp.py"}, to...)...) }
	contains(t, mail("Erna+sent@example.org", "alice@example.org", "dora", "nobody@example.org", "carol@example.org", "*@example.org"),
		"[250, 250, 250, 550, 550, 550] [250, 250, 250]")
	if got := b.sh(`cd /var/vmail; stat -c '%U %a' erna/Maildir erna/Maildir/.Sent; cat erna/Maildir/.Sent/new/* | grep -c 'by LMTP'; ls alice/Maildir/new dora/Maildir/new | grep -c S=`); got != "vmail 700\nvmail 700\n1\n2\n" {
		t.Errorf("mail: %s", got)
	}
	b.sh(`mkdir -p /srv/old/cur /srv/old/new /srv/old/tmp; printf 'Subject: brought in\n\nx\n' >/srv/old/cur/1.a.b:2,S; chmod -R a+rX /srv/old`)
	contains(t, b.run("mailstead", "import", "--user", "frida", "--maildir", "/srv/old"), "1")
	if got := b.sh(`cat /var/vmail/frida/Maildir/cur/* | grep -c 'brought in'`); got != "1\n" {
		t.Errorf("brought in: %s", got)
	}
	contains(t, b.exit(1, "mailstead", "import", "--user", "nobody", "--maildir", "/srv/old").stderr, `no user "nobody" on this host`)
	b.run("python3", "-c", "import imaplib, ssl\nm = imaplib.IMAP4('127.0.0.1', 143)\nm.starttls(ssl._create_unverified_context())\nm.login('frida', 'frida-pw')\nm.select()\nprint(m.store('1', '+FLAGS', '(\\\\Deleted)'), m.expunge())\nm.logout()")
	b.run("mailstead", "undelete", "--user", "frida", "--since", "1h")
	if got := b.sh(`ls /var/vmail/frida/Maildir/cur; cat /var/vmail/frida/Maildir/cur/* | grep -c 'brought in'`); strings.Count(got, "\n") != 2 || !strings.HasSuffix(got, "\n1\n") {
		t.Errorf("brought back: %s", got)
	}
	b.run("systemctl", "kill", "-s", "KILL", "slapd-test")
	b.await(func() bool { return strings.HasPrefix(mail("alice@example.org", "nobody@example.org"), "[451, 451]") })
	b.sh("systemctl reset-failed slapd-test || :; systemd-run --quiet --unit=slapd-test slapd -d 0 -f /etc/ldap/test.conf -h ldaps:///")
	b.await(func() bool {
		return strings.HasPrefix(mail("alice@example.org", "nobody@example.org"), "[250, 550] [250]")
	})
}

// TestDirectories serves users whom nobody but a real slapd, a real authdaemond or
// a real saslauthd knows, from the first login on.
func TestDirectories(t *testing.T) {
	t.Parallel()
	b := newBoxOf(t, "directory", "directories")
	b.write("/etc/mailstead/host.cue", directoried)
	b.write("/root/client.py", directoryClient)
	// The account that the mail is to have.
	b.run("adduser", "--system", "--group", "--no-create-home", "--home", "/var/vmail", "--quiet", "vmail")
	b.run("sh", "-ec", directories, "sh", strings.TrimSpace(b.run("id", "-u", "vmail")), strings.TrimSpace(b.run("id", "-g", "vmail")))
	b.run("mailstead", "apply", "--yes")
	b.sh(`printf 'reader-pw\n' >/etc/mailstead.ldap; chmod 640 /etc/mailstead.ldap; chgrp mailstead /etc/mailstead.ldap`)
	b.writesNothing()
	contains(t, b.run("systemctl", "show", "-P", "IPAddressAllow", "mailstead-imapd.service"), "127.0.0.1")

	login := func(pairs ...string) string {
		return b.run(append([]string{"python3", "/root/client.py"}, pairs...)...)
	}
	out := login("alice:alice-pw", "ALICE:alice-pw", "dora:dora-pw", "carol:carol-pw")
	contains(t, out, "alice in [b'\"ROOT\" (STORAGE 0 4883 MESSAGE 0 77)'", `ALICE in [b'"ROOT" (STORAGE`, "MESSAGE 1 77", // the directory's quota, and one account
		`dora in [b'"ROOT" (STORAGE 0 976563)'`, `\\Sent`, "OK", "REFERRAL imap://carol;AUTH=*@other.example.org/")
	deliverToDirectories(t, b)
	out = login("alice:wrong", "nobody:x", "root:x", "*:alice-pw", "al*:alice-pw", "*)(uid=*:alice-pw", "../alice:alice-pw", "vmail:x")
	if strings.Count(out, "[AUTHENTICATIONFAILED] Authentication failed.") != 8 {
		t.Errorf("not all refused alike:\n%s", out)
	}
	b.run("systemctl", "kill", "-s", "KILL", "slapd-test")
	b.await(func() bool { return strings.Contains(login("alice:alice-pw"), "UNAVAILABLE") })
	b.sh("systemctl reset-failed slapd-test || :; systemd-run --quiet --unit=slapd-test slapd -d 0 -f /etc/ldap/test.conf -h ldaps:///")
	b.await(func() bool { return strings.Contains(login("alice:alice-pw"), "alice in") })

	// Beside them, users with accounts of the host: workers have their uids now.
	b.write("/etc/mailstead/homes.cue", withHomes)
	b.run("mailstead", "apply", "--yes")
	b.run("systemctl", "restart", "mailstead-imapd") // which forgets who has guessed
	b.writesNothing()
	contains(t, b.run("python3", "/root/lmtp.py", "bob@example.org"), "[450]") // saslauthd does not say
	contains(t, login("alice:alice-pw", "bob:bob-pw"), "alice in", `bob in [b'"ROOT" (STORAGE 0 976563)'`)
	if got := b.run("stat", "-c", "%U %a", "/var/vmail/alice/Maildir/.Sent/cur", "/var/vmail/dora/Maildir", "/home/bob/Maildir/.Sent"); got != "vmail 700\nvmail 700\nbob 700\n" {
		t.Errorf("mail: %s", got)
	}
	if got := b.sh("ls /var/vmail"); got != "alice\ndora\nerna\nfrida\n" {
		t.Errorf("mail of others: %s", got)
	}
	contains(t, b.run("python3", "/root/lmtp.py", "bob@example.org", "alice@example.org", "nobody@example.org"), "[250, 250, 450] [250, 250]")
	if got := b.sh("stat -c %U /home/bob/Maildir/new/*"); got != "bob\n" {
		t.Errorf("mail of bob: %s", got)
	}
	explainDirectories(t, b)
	b.sh(`chmod 600 /etc/mailstead.ldap; echo 'hosts: "mail.example.org": limits: sessions: 500' >/etc/mailstead/more.cue`)
	contains(t, b.exit(1, "mailstead", "apply", "--yes").stderr, "directory people: open /etc/mailstead.ldap: permission denied: let uid ")
	log := b.run("journalctl", "-u", "mailstead*", "-o", "cat", "--no-pager")
	for _, secret := range []string{"alice-pw", "dora-pw", "bob-pw", "reader-pw", "not-the-one", "$6$"} {
		if strings.Contains(log, secret) {
			t.Errorf("%s is in the journal", secret)
		}
	}
}

package main_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// proving has a system user, beside whom SCRAM is not offered, or a virtual one alone.
const proving = `hosts: "mail.example.org": {
	listeners: {imap: capabilities: off: ["AUTH=OAUTHBEARER"], imaps: clientCertificates: {ca: "/etc/ssl/clients.pem", by: "cn"}}
	tls: certificates: "mail.example.org": files: {certificate: "/etc/ssl/mail.pem", key: "/etc/ssl/mail.key"}
	logins: tokens: {issuer: "https://login.example.org", audience: "imap", keys: "/etc/ssl/jwks.json"}
	limits: {delay: 0, longestDelay: 0}
	mail: {user: "vmail", root: "/srv/vmail"}
	users: "vera@example.org": password: hash: %q
	%s
}
`

// TestMechanisms has mail clients that people use prove who they are by whatever is
// offered: SCRAM by Cyrus SASL in mbsync, certificates and tokens by curl, and the
// app password of a system user, who has one beside PAM.
func TestMechanisms(t *testing.T) {
	t.Parallel()
	b := newBoxOf(t, "clients", "mechanisms")
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: "k", Algorithm: "EdDSA", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	b.write("/etc/ssl/jwks.json", string(keys))
	b.sh(`useradd -m alice; echo alice:wonder | chpasswd; useradd -r -d /srv/vmail vmail
echo '127.0.0.1 mail.example.org' >> /etc/hosts
ca() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1.key -out $1.pem -days 30 -subj /CN=$1 -addext basicConstraints=critical,CA:TRUE 2>/dev/null; }
signed() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $2.key -out $2.csr -subj /CN=$3 2>/dev/null
	printf 'subjectAltName=DNS:mail.example.org' > ext
	openssl x509 -req -in $2.csr -CA $1.pem -CAkey $1.key -CAcreateserial -days 30 -out $2.pem -extfile ext 2>/dev/null; }
ca servers; ca people; signed servers /etc/ssl/mail mail.example.org; signed people vera vera@example.org
cp people.pem /etc/ssl/clients.pem; chmod 644 /etc/ssl/clients.pem; printf 'Subject: one\r\n\r\nbody\r\n' >one.eml`)
	hash := strings.TrimSpace(b.sh(`printf 'vulcan\n' | mailstead hash-password --scheme scram-sha-256`))
	apply := func(more string) {
		t.Helper()
		b.write("/etc/mailstead/host.cue", fmt.Sprintf(proving, hash, more))
		b.run("mailstead", "apply", "--yes")
	}
	logged := func(user, mechanism string) {
		t.Helper()
		log := b.run("journalctl", "-o", "cat", "-u", "mailstead-login@*", "--grep", "msg=login ")
		for line := range strings.Lines(log) {
			if strings.Contains(line, "user="+user) && strings.Contains(line, "mechanism="+mechanism+" ") {
				return
			}
		}
		t.Errorf("no login of %s by %s:\n%s", user, mechanism, log)
	}
	curl := []string{"curl", "-sS", "--cacert", "servers.pem", "-T", "one.eml", "imaps://mail.example.org/INBOX"}
	with := func(args ...string) []string { return append(args, curl[1:]...) }

	apply(`users: alice: {}`)
	app, _, _ := strings.Cut(b.run("mailstead", "app-password", "add", "--user", "alice", "--name", "phone"), "\n")
	b.run(with("curl", "-u", "alice:"+app)...)
	b.exit(67, with("curl", "-u", "alice:"+app+"x")...)
	contains(t, b.run("mailstead", "app-password", "list"), "alice", "phone")
	b.run("mailstead", "app-password", "revoke", "--user", "alice", "--name", "phone")
	b.exit(67, with("curl", "-u", "alice:"+app)...)

	apply("")
	b.write("/root/mbsyncrc", `IMAPAccount a
Host mail.example.org
User vera@example.org
Pass vulcan
AuthMechs SCRAM-SHA-256
SSLType IMAPS
CertificateFile /root/servers.pem

IMAPStore far
Account a

MaildirStore near
Path /root/near/
Inbox /root/near/INBOX

Channel c
Far :far:
Near :near:
Create Near
SyncState *
`)
	b.run(with("curl", "--cert", "vera.pem", "--key", "vera.key", "-u", "vera@example.org:", "--login-options", "AUTH=EXTERNAL")...)
	logged("vera@example.org", "EXTERNAL")
	b.sh("mkdir near && mbsync -c mbsyncrc c && ls near/INBOX/cur near/INBOX/new | grep -q U=1")
	logged("vera@example.org", "SCRAM-SHA-256")
	b.sh(`sed -i s/vulcan/romulan/ mbsyncrc; ! mbsync -c mbsyncrc c`)

	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: private}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "k"))
	if err != nil {
		t.Fatal(err)
	}
	token := func(audience string) string {
		signed, err := signer.Sign(fmt.Appendf(nil, `{"iss": "https://login.example.org", "aud": %q, "email": "vera@example.org", "exp": %d}`,
			audience, time.Now().Add(time.Hour).Unix()))
		if err != nil {
			t.Fatal(err)
		}
		compact, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return compact
	}
	for mechanism, url := range map[string]string{"OAUTHBEARER": "imaps://mail.example.org/INBOX", "XOAUTH2": "imap://mail.example.org/INBOX"} {
		bearer := func(token string) []string {
			return []string{"curl", "-sS", "--ssl-reqd", "--cacert", "servers.pem", "-u", "vera@example.org:", "--oauth2-bearer", token, "-T", "one.eml", url}
		}
		b.run(bearer(token("imap"))...)
		logged("vera@example.org", mechanism)
		b.exit(67, bearer(token("smtp"))...)
	}
}

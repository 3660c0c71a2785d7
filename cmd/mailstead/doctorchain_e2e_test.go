package main_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

// signer is an authority, or a certificate that has been issued, with its key.
type signer struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate under the name; of a signer without one, it is its own
// issuer.
func (s signer) issue(name string, c x509.Certificate) signer {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	c.SerialNumber, c.Subject, c.BasicConstraintsValid = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}, true
	issuer, by := s.cert, s.key
	if issuer == nil {
		issuer, by = &c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, &c, issuer, key.Public(), by)
	if err != nil {
		s.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	return signer{s.t, made, key}
}

// write puts a chain, the leaf first, and its key where /root/lay finds them.
func (b *box) writeChain(name string, leaf signer, others ...signer) {
	b.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(leaf.key)
	if err != nil {
		b.t.Fatal(err)
	}
	var chain bytes.Buffer
	for _, s := range append([]signer{leaf}, others...) {
		pem.Encode(&chain, &pem.Block{Type: "CERTIFICATE", Bytes: s.cert.Raw})
	}
	b.write("/root/chains/"+name+".pem", chain.String())
	b.write("/root/chains/"+name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

const day = 24 * time.Hour

// writeChains makes an authority that the box trusts, and what can be wrong with a
// certificate of it; /root/lay NAME has the box serve one as if it had been applied.
func (b *box) writeChains() {
	now := time.Now()
	authority := x509.Certificate{NotBefore: now.Add(-400 * day), NotAfter: now.Add(400 * day), IsCA: true, KeyUsage: x509.KeyUsageCertSign}
	root := signer{t: b.t}.issue("Test Root", authority)
	between := root.issue("Test Intermediate", authority)
	leaf := func(from, to time.Duration, change ...func(*x509.Certificate)) signer {
		c := x509.Certificate{DNSNames: []string{"mail.example.org"}, NotBefore: now.Add(from), NotAfter: now.Add(to), KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IssuingCertificateURL: []string{"http://ca.example.org/intermediate.der"}}
		for _, f := range change {
			f(&c)
		}
		return between.issue("", c)
	}
	b.writeChain("good", leaf(-30*day, 60*day), between)
	b.writeChain("expired", leaf(-90*day, -day), between)
	b.writeChain("early", leaf(day, 90*day), between)
	b.writeChain("ends", leaf(-75*day, 15*day+time.Hour), between)
	b.writeChain("name", leaf(-30*day, 60*day, func(c *x509.Certificate) { c.DNSNames = []string{"smtp.example.org"} }), between)
	b.writeChain("alone", leaf(-30*day, 60*day))
	b.writeChain("clients", leaf(-30*day, 60*day, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), between)
	good := leaf(-30*day, 60*day)
	b.writeChain("order", good, root, between)
	b.writeChain("intermediate first", signer{b.t, between.cert, good.key}, good)
	brief := func(to time.Duration) (leaf, between signer) {
		c := authority
		c.NotAfter = now.Add(to)
		between = root.issue("Brief Intermediate", c)
		return between.issue("", x509.Certificate{DNSNames: []string{"mail.example.org"}, NotBefore: now.Add(-day), NotAfter: now.Add(89 * day)}), between
	}
	old, its := brief(-day)
	b.writeChain("intermediate expired", old, its)
	old, its = brief(30 * day)
	b.writeChain("intermediate ends", old, its)
	stranger := signer{t: b.t}.issue("Nobody", authority)
	b.writeChain("stranger", stranger.issue("", x509.Certificate{DNSNames: []string{"mail.example.org"}, NotBefore: now.Add(-day), NotAfter: now.Add(90 * day)}))
	b.write("/usr/local/share/ca-certificates/test.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.cert.Raw})))
	b.write("/root/lay", lay)
	b.sh("update-ca-certificates >/dev/null 2>&1")
}

// lay puts a chain where certbot and apply would have put it.
const lay = `set -e
live=/etc/letsencrypt/live/mail.example.org
cat "/root/chains/$1.pem" > "$(readlink -f $live/fullchain.pem)"
cat "/root/chains/$1.key" > "$(readlink -f $live/privkey.pem)"
cat "/root/chains/$1.key" "/root/chains/$1.pem" > /var/lib/mailstead/bundles/mail.example.org.pem
systemctl restart mailstead-imapd.service mailstead-login@imap.service
`

// illChains are the ways in which a served chain is wrong: which one is laid, what is
// found of it, and what that says. What apply would not take, waits besides.
var illChains = []struct {
	chain string
	want  []string
	says  []string
}{
	{"expired", []string{"certificate-expired", "waiting"}, []string{"error certificate-expired listener imap at 127.0.0.1:143, mail.example.org: the certificate expired on ", "certbot renew"}},
	{"early", []string{"certificate-too-early", "waiting"}, []string{": the certificate is good from ", ", and it is ", "Set the clock"}},
	{"ends", []string{"certificate-ends"}, []string{"warning certificate-ends ", "the certificate as served expires in 15 days, on ", "certbot renew --dry-run"}},
	{"name", []string{"certificate-name", "waiting"}, []string{"mail.example.org: the certificate is for smtp.example.org", "Have a certificate issued that has the name"}},
	{"alone", []string{"chain-incomplete"}, []string{`the certificate of "CN=Test Intermediate", which has issued this one, is not served with it`, "Put the intermediate certificates behind the leaf"}},
	{"clients", []string{"certificate-usage", "waiting"}, []string{"its extended key usage says what else it is for", "serverAuth"}},
	{"intermediate expired", []string{"chain-expired", "waiting"}, []string{`error chain-expired listener imap at 127.0.0.1:143, mail.example.org: certificate 2 of the chain ("CN=Brief Intermediate") expired on `, "--force-renewal"}},
	{"intermediate ends", []string{"chain-ends"}, []string{`"CN=Brief Intermediate", by which clients trust the certificate, expires on `, ", and the certificate itself on "}},
	{"stranger", []string{"certificate-untrusted"}, []string{`issued by "CN=Nobody", who is not among the system's authorities`}},
}

// servedIll is all that of one box, which is well before and after each.
func servedIll(t *testing.T, b *box, well func(t *testing.T)) {
	b.t = t
	b.writeChains()
	for _, way := range illChains {
		t.Run(way.chain, func(t *testing.T) {
			b.t = t
			b.sh("sh /root/lay '" + way.chain + "'")
			b.finds(way.want, way.says)
			b.sh("sh /root/lay good")
			well(t)
		})
	}
	t.Run("order", func(t *testing.T) { outOfOrder(t, b, well) })
}

// outOfOrder puts certificates in an order that no daemon of ours serves: apply takes
// none such from a file, and what serves them is somebody else in front.
func outOfOrder(t *testing.T, b *box, well func(t *testing.T)) {
	b.t = t
	for chain, says := range map[string]string{
		"order":              "certificate 2 did not issue certificate 1: the chain is out of order",
		"intermediate first": "the key is not the certificate's",
	} {
		b.sh("live=/etc/letsencrypt/live/mail.example.org; cat '/root/chains/" + chain + ".pem' > \"$(readlink -f $live/fullchain.pem)\"; cat '/root/chains/" + chain + ".key' > \"$(readlink -f $live/privkey.pem)\"")
		b.finds([]string{"waiting"}, []string{says})
		b.sh("sh /root/lay good")
	}
	front := strings.NewReplacer("import socket\n", "import socket, ssl\ntls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); tls.load_cert_chain(\"/root/chains/order.pem\", \"/root/chains/order.key\")\n",
		`c.recv(1); c.sendall(b"220 hello\r\n"); break`, `tls.wrap_socket(c, server_side=True).close(); break`).Replace(garbled)
	b.sh(front)
	b.finds([]string{"port-taken", "certificate-other", "chain-order"},
		[]string{`warning chain-order listener imap at 127.0.0.1:143, mail.example.org: certificate 2 of the chain ("CN=Test Root") has not issued this one: that was "CN=Test Intermediate"`, "Write the file anew"})
	b.sh("systemctl stop squatter; mailstead apply --yes")
	well(t)
}

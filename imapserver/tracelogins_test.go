package imapserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/imapserver/sasl"
)

// TestTraceOfMechanisms: logins that fail are in the trace of whom they were to be,
// where the mechanism alone knows the name; and in nobody else's.
func TestTraceOfMechanisms(t *testing.T) {
	dir := t.TempDir()
	clients := newSigner(t)
	c := testConfig(dir)
	c.Listeners[1].Clients = &config.Clients{CA: "/nonexistent/ca.pem", By: config.ByEmail, PEM: clients.pem}
	c.Logins = &config.Logins{Keep: t.TempDir(), Issuer: &config.Issuer{Name: "https://id.example", Audience: "mail", Keys: issuerKeys(t), Claim: "sub", Methods: []string{"ES256"}}}
	var users []config.User
	for _, name := range []string{"alice", "bob"} {
		u := testUser(t, dir, name)
		v, err := sasl.MakeVerifier("pw-"+name, []byte("0123456789abcdef"), sasl.MinIterations)
		if err != nil {
			t.Fatal(err)
		}
		u.Hash = v.String()
		users = append(users, u)
	}
	cert := issue(t, time.Now().Add(time.Hour), "mail.example")
	i, addr, _ := inline(t, c, users, cert)
	socket := filepath.Join(dir, "asked")
	l, err := control.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{server: i, log: Options{}.log()}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- control.Server{Answer: r.answer, Trace: r.trace}.Serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-served })
	alice, stop := traceOf(t, socket, "alice")
	defer stop()
	bob, stopBob := traceOf(t, socket, "bob")
	defer stopBob()
	of := clients.client(t, emails("bob"))
	dial := func() *client {
		conn := dialTLS(t, addr["imaps"], &tls.Config{ServerName: "mail.example", RootCAs: pool(t, cert), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return of, nil }})
		conn.until("* OK")
		return conn
	}
	encoded := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(alice.String(), "NO") || !strings.Contains(bob.String(), "NO"); time.Sleep(10 * time.Millisecond) {
		c := dial() // until both are listened to
		c.send("x LOGIN alice Zq7\r\ny LOGIN bob Zq7\r\n")
		c.until("y NO")
		if time.Now().After(deadline) {
			t.Fatal("no trace has begun")
		}
	}

	first := dial()
	first.send("n ID (\"name\" \"Test\")\r\na AUTHENTICATE SCRAM-SHA-256 " + encoded("n,,n=alice,r=abcdef") + "\r\n")
	challenge := strings.Fields(first.until("+ "))
	server, err := base64.StdEncoding.DecodeString(challenge[len(challenge)-1])
	if err != nil {
		t.Fatal(err)
	}
	nonce, _, _ := strings.Cut(string(server), ",")
	final := encoded("c=biws," + nonce + ",p=" + encoded(strings.Repeat("Z", 32)))
	first.send(final + "\r\n")
	first.until("a NO")
	alice.has(" false n ID (\"name\" \"Test\")\n", " false a AUTHENTICATE SCRAM-SHA-256 (masked)\n", " true + (masked)\n", " false (masked)\n", " true a NO [AUTHENTICATIONFAILED]")
	first.send("o NOOP\r\n") // whoever has tried is still seen
	alice.has(" false o NOOP\n", " true o OK")
	bearer := encoded("n,a=alice,\x01auth=Bearer Zq7token\x01\x01")
	first.send("b AUTHENTICATE OAUTHBEARER " + bearer + "\r\n")
	first.until("+ ")
	first.send("AQ==\r\n")
	first.until("b NO")
	alice.has(" false b AUTHENTICATE OAUTHBEARER (masked)\n", " true b NO [AUTHENTICATIONFAILED]")
	old := encoded("user=alice\x01auth=Bearer Zq7token\x01\x01")
	first.send("c AUTHENTICATE XOAUTH2\r\n")
	first.until("+")
	first.send(old + "\r\n")
	first.until("+ ")
	first.send("\r\n")
	first.until("c NO")
	alice.has(" false c AUTHENTICATE XOAUTH2\n", " true c NO [AUTHENTICATIONFAILED]")
	first.until("* BYE")
	alice.has(" true * BYE Too many failed logins.\n")
	second := dial()
	second.send("d AUTHENTICATE EXTERNAL " + encoded("alice") + "\r\n")
	second.until("d NO")
	alice.has(" false d AUTHENTICATE EXTERNAL (masked)\n", " true d NO [AUTHENTICATIONFAILED]")

	given := dial() // given up, which is no verdict
	given.send("e AUTHENTICATE SCRAM-SHA-256 " + encoded("n,,n=alice,r=abcdef") + "\r\n")
	given.until("+ ")
	given.send("*\r\nf AUTHENTICATE OAUTHBEARER " + encoded("n,,\x01auth=Bearer Zq7token\x01\x01") + "\r\n")
	given.until("+ ")
	given.send("AQ==\r\n")
	given.until("f NO") // whose it is nobody knows
	given.send("g AUTHENTICATE EXTERNAL =\r\n")
	given.until("g OK")
	alice.has(" true e BAD")
	bob.has(" false g AUTHENTICATE EXTERNAL (masked)\n", " true g OK")
	for _, secret := range []string{"Zq7", encoded("Zq7token")[:4], encoded("alice"), bearer, old, final, nonce, " f AUTHENTICATE", " g AUTHENTICATE"} {
		if strings.Contains(alice.String(), secret) {
			t.Errorf("%q is told:\n%s", secret, alice)
		}
	}
	if strings.Contains(bob.String(), " e AUTHENTICATE") || strings.Contains(bob.String(), " a NO") {
		t.Errorf("what is alice's is told of bob:\n%s", bob)
	}
}

// issuerKeys is the file of an issuer who has made no token.
func issuerKeys(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"mailstead/schema"
)

// testCertificate makes a self-signed certificate for names.
func testCertificate(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	c, err := newCertificate(names)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newCertificate(names []string) (tls.Certificate, error) {
	return certificateUntil(names, time.Now().Add(time.Hour))
}

func certificateUntil(names []string, until time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: names[0]},
		DNSNames:     names,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// issuedCertificate makes a certificate that another one has issued, which is the second.
func issuedCertificate(t *testing.T, names ...string) (tls.Certificate, []byte) {
	t.Helper()
	from, until := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	issuer := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, NotBefore: from, NotAfter: until, BasicConstraintsValid: true, IsCA: true}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: names, NotBefore: from, NotAfter: until}
	var keys [2]*ecdsa.PrivateKey
	var ders [2][]byte
	for i, c := range []*x509.Certificate{issuer, leaf} {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
		if ders[i], err = x509.CreateCertificate(rand.Reader, c, issuer, keys[i].Public(), keys[0]); err != nil {
			t.Fatal(err)
		}
	}
	return tls.Certificate{Certificate: ders[1:], PrivateKey: keys[1]}, ders[0]
}

// serveProbe answers connections with handle until the test ends, and gives
// the listener to probe.
func serveProbe(t *testing.T, mode schema.TLSMode, handle func(net.Conn)) schema.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(10 * time.Second))
				handle(conn)
			}()
		}
	}()
	return schema.Listener{Name: "test", Address: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, TLS: mode}
}

// bySNI serves the certificate of the name that was asked for.
func bySNI(certificates map[string]tls.Certificate) *tls.Config {
	return &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		c, ok := certificates[hello.ServerName]
		if !ok {
			return nil, fmt.Errorf("no certificate for %q", hello.ServerName)
		}
		return &c, nil
	}}
}

func TestServed(t *testing.T) {
	certificates := map[string]tls.Certificate{
		"a.example.org":               testCertificate(t, "a.example.org"),
		"mailstead-probe.example.org": testCertificate(t, "*.example.org"),
	}
	handshake := func(conn net.Conn) { tls.Server(conn, bySNI(certificates)).Handshake() }
	starttls := func(conn net.Conn) {
		fmt.Fprint(conn, "* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n")
		line, _ := bufio.NewReaderSize(conn, 16).ReadString('\n')
		fmt.Fprintf(conn, "* CAPABILITY IMAP4rev1\r\n%s OK begin\r\n", strings.Fields(line)[0])
		handshake(conn)
	}
	for mode, handle := range map[schema.TLSMode]func(net.Conn){schema.Implicit: handshake, schema.STARTTLS: starttls} {
		l := serveProbe(t, mode, handle)
		for pattern, name := range map[string]string{"a.example.org": "a.example.org", "*.example.org": "mailstead-probe.example.org"} {
			got, err := served(t.Context(), dialListener, l, sniName(pattern))
			if err != nil {
				t.Fatalf("%s, SNI %s: %v", mode, pattern, err)
			}
			want := certificates[name].Certificate[0]
			if string(got.Raw) != string(want) {
				t.Errorf("%s, SNI %s: another certificate was reported than was served", mode, pattern)
			}
		}
		if _, err := served(t.Context(), dialListener, l, "unknown.example.org"); err == nil || !strings.Contains(err.Error(), "TLS handshake") {
			t.Errorf("%s: a refused handshake gives %v", mode, err)
		}
	}
}

func TestServedHostile(t *testing.T) {
	for name, test := range map[string]struct {
		say  string
		want string
	}{
		"bye":           {"* BYE too many connections\r\n", `the greeting is "* BYE too many connections"`},
		"endless line":  {"* OK " + strings.Repeat("x", 2*probeLine), "buffer full"},
		"silence":       {"", "EOF"},
		"injected data": {"* OK hi\r\nm1 OK go\r\n* PREAUTH\r\n", "data before the handshake"},
		"refused":       {"* OK hi\r\nm1 NO not today\r\n", `the answer is "m1 NO not today"`},
		"endless talk":  {"* OK hi\r\n" + strings.Repeat("* x\r\n", probeMaxBefore+1), "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			l := serveProbe(t, schema.STARTTLS, func(conn net.Conn) {
				fmt.Fprint(conn, test.say)
				conn.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, conn)
			})
			_, err := served(t.Context(), dialListener, l, "a.example.org")
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
	t.Run("hangs", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		release := make(chan struct{})
		defer close(release)
		l := serveProbe(t, schema.Implicit, func(net.Conn) { <-release })
		if _, err := served(ctx, dialListener, l, "a.example.org"); err == nil {
			t.Error("a listener that never answers was taken for one that serves")
		}
	})
	t.Run("closed", func(t *testing.T) {
		if _, err := served(t.Context(), dialListener, schema.Listener{Address: "127.0.0.1", Port: 1, TLS: schema.Implicit}, "x"); err == nil {
			t.Error("a closed port was taken for one that serves")
		}
	})
}

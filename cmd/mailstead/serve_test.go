package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/rogpeppe/go-internal/testscript"
)

// The ports of the listeners imap and imaps, without the port base.
const (
	imapPort  = 143
	imapsPort = 993
)

// freePorts sets BASE to a port base with which nobody listens, and IMAP to the port
// of the listener imap with it.
func freePorts(ts *testscript.TestScript, _ bool, _ []string) {
	base := freeBase(ts)
	ts.Setenv("BASE", strconv.Itoa(base))
	ts.Setenv("IMAP", strconv.Itoa(base+imapPort))
}

// freeBase finds a port base, below the ports that clients get (ip_local_port_range),
// which other tests take at any time.
func freeBase(ts *testscript.TestScript) int {
	for range 100 {
		if base := 10_000 + rand.IntN(21_000); portsFreeAt(base) {
			return base
		}
	}
	ts.Fatalf("no two ports are free")
	return 0
}

func portsFreeAt(base int) bool {
	for _, port := range []int{imapPort, imapPort + 1, imapPort + 2, imapsPort} { // and for metrics
		ln, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(base+port)))
		if err != nil {
			return false
		}
		ln.Close()
	}
	return true
}

// taken listens until the script ends, and sets BASE so that this is a port: taken PORT.
func taken(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: taken PORT")
	}
	port, err := strconv.Atoi(args[0])
	ts.Check(err)
	base := freeBase(ts)
	ln, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(base+port)))
	ts.Check(err)
	ts.Defer(func() { ln.Close() })
	ts.Setenv("BASE", strconv.Itoa(base))
}

// fetch prints what is served by HTTP at a port, without the base, or at a unix socket:
// fetch PORT|SOCKET PATH [REGEXP]. It waits for an answer in which that is found.
func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 && len(args) != 3 {
		ts.Fatalf("usage: fetch PORT|SOCKET PATH [REGEXP]")
	}
	network, address := "unix", ts.MkAbs(args[0])
	if port, err := strconv.Atoi(args[0]); err == nil {
		base, err := strconv.Atoi(ts.Getenv("BASE"))
		ts.Check(err)
		network, address = "tcp", net.JoinHostPort(loopback, strconv.Itoa(base+port))
	}
	want := regexp.MustCompile(strings.Join(args[2:], ""))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}}
	var body []byte
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		answer, err := client.Get("http://mail.example.org" + args[1])
		if neg {
			if err == nil {
				ts.Fatalf("somebody answers at %s", address)
			}
			return
		}
		if err == nil {
			body, err = io.ReadAll(answer.Body)
			answer.Body.Close()
		}
		if err == nil && want.Match(body) {
			break
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s: %v, no %q in\n%s", address, err, want, body)
		}
	}
	ts.Stdout().Write(body)
}

// awaitFree waits until nobody listens on a port of the host: free PORT, without the base.
func awaitFree(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: free PORT")
	}
	base, err := strconv.Atoi(ts.Getenv("BASE"))
	ts.Check(err)
	port, err := strconv.Atoi(args[0])
	ts.Check(err)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", net.JoinHostPort(loopback, strconv.Itoa(base+port)))
		if err != nil {
			return
		}
		conn.Close()
		if time.Now().After(deadline) {
			ts.Fatalf("somebody still listens on port %d", base+port)
		}
	}
}

// servesDemo logs in as demo over both listeners, verifying the certificate, and
// counts the messages: serves CERTIFICATE N. It waits for the daemon to start.
func servesDemo(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: serves CERTIFICATE N")
	}
	base, err := strconv.Atoi(ts.Getenv("BASE"))
	ts.Check(err)
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	for _, port := range []int{imapPort, imapsPort} {
		address := net.JoinHostPort("localhost", strconv.Itoa(base+port))
		ts.Check(await(address))
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(ts.ReadFile(args[0]))) {
			ts.Fatalf("%s has no certificate", args[0])
		}
		dial := imapclient.DialStartTLS
		if port == imapsPort {
			dial = imapclient.DialTLS
		}
		n, err := countDemo(address, roots, dial)
		ts.Check(err)
		if n != want {
			ts.Fatalf("%s: %d messages, want %d", address, n, want)
		}
	}
}

// awaitPort waits for somebody to listen on a port of the host: await PORT,
// without the base.
func awaitPort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await PORT")
	}
	base, err := strconv.Atoi(ts.Getenv("BASE"))
	ts.Check(err)
	port, err := strconv.Atoi(args[0])
	ts.Check(err)
	ts.Check(await(net.JoinHostPort(loopback, strconv.Itoa(base+port))))
}

// lineage puts a new certificate into a directory, as certbot does: lineage DIR NAME...
func lineage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: lineage DIR NAME...")
	}
	c, err := newCertificate(args[1:])
	ts.Check(err)
	ts.Check(writeLineage(ts.MkAbs(args[0]), c))
}

// await returns once somebody serves: who greets is asked by the host's own programs, too,
// and who waits for TLS is a moment later.
func await(address string) error {
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var conn net.Conn
		if conn, err = net.Dial("tcp", address); err == nil {
			conn.SetReadDeadline(time.Now().Add(time.Second / 2))
			conn.Read(make([]byte, 1))
			return conn.Close()
		}
	}
	return fmt.Errorf("nobody listens: %w", err)
}

func countDemo(address string, roots *x509.CertPool, dial func(string, *imapclient.Options) (*imapclient.Client, error)) (n int, err error) {
	c, err := dial(address, &imapclient.Options{TLSConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", address, err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.Login(demoUser, demoPassword).Wait(); err != nil {
		return 0, fmt.Errorf("%s: login: %w", address, err)
	}
	box, err := c.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		return 0, fmt.Errorf("%s: select: %w", address, err)
	}
	return int(box.NumMessages), c.Logout().Wait()
}

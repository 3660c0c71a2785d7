package siege_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
)

// word is in every request here, and in no answer.
const word = "canary"

// others are what clients of other protocols say first, each of at least one line.
func others(t testing.TB) map[string]string {
	login := "a LOGIN alice wonder\r\n"
	body := login + "b SELECT canary\r\n"
	return map[string]string{
		"GET":            "GET /canary HTTP/1.1\r\nHost: canary\r\nCookie: canary\r\n\r\n",
		"GET, HTTP/1.0":  "GET /canary HTTP/1.0\r\n\r\n",
		"GET, HTTP/0.9":  "GET /canary\r\n" + login,
		"get":            "get /canary http/1.1\r\n" + login,
		"POST":           fmt.Sprintf("POST /canary HTTP/1.1\r\nHost: canary\r\nContent-Length: %d\r\n\r\n%s", len(body), body),
		"POST, LF":       "POST /canary HTTP/1.1\nHost: canary\n\n" + strings.ReplaceAll(body, "\r", ""),
		"odd method":     "CANARY /canary HTTP/1.1\r\n\r\n" + body,
		"OPTIONS":        "OPTIONS * HTTP/1.1\r\nX-canary: 1\r\n\r\n" + body,
		"HTTP/2":         "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00canary",
		"header":         "Host: canary\r\n" + login,
		"EHLO":           "EHLO canary\r\nMAIL FROM:<canary@example.org>\r\n" + login,
		"ehlo":           "ehlo canary\r\n" + login,
		"HELO":           "HELO canary\r\n" + login,
		"LHLO":           "LHLO canary\r\n" + login,
		"SSH":            "SSH-2.0-canary\r\n" + login,
		"POP3":           "USER canary\r\nPASS canary\r\n",
		"FTP":            "USER canary\r\nPORT 1,2,3,4,5,6\r\n",
		"SIP":            "INVITE sip:canary@example.org SIP/2.0\r\n" + login,
		"RTSP":           "DESCRIBE rtsp://canary RTSP/1.0\r\n" + login,
		"ClientHello":    clientHello(t),
		"SSLv2 hello":    "\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10canary",
		"binary":         "\x00\x01\x02\xff\xfe\x80canary\r\n" + login,
		"Redis":          "*1\r\n$6\r\ncanary\r\n" + login,
		"PROXY protocol": "PROXY TCP4 1.2.3.4 5.6.7.8 canary 2\r\n" + login,
	}
}

// clientHello is the first octets of a TLS handshake that asks for the word by SNI.
func clientHello(t testing.TB) string {
	ours, theirs := net.Pipe()
	go func() {
		tls.Client(theirs, &tls.Config{ServerName: word + ".example"}).Handshake()
	}()
	buf := make([]byte, 4096)
	n, err := ours.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	ours.Close()
	return string(buf[:n])
}

// TestOtherProtocols speaks them on each listener (T09, ALPACA): the connection
// ends, with at most an octet for each line of the request, beyond BAD without
// anything of it, and BYE; and no IMAP in a request is executed.
func TestOtherProtocols(t *testing.T) {
	d := start(t, open())
	d.visit()
	for name, request := range others(t) {
		for _, listener := range []string{"imap", "plain", "imaps", "under STARTTLS"} {
			for _, piece := range []int{len(request), 1} {
				t.Run(fmt.Sprintf("%s %s %d", name, listener, piece), func(t *testing.T) {
					c := d.dial(t, strings.Replace(listener, "under STARTTLS", "imap", 1))
					if listener == "under STARTTLS" {
						c = d.starttls(c)
					}
					for at := 0; at < len(request); at += piece {
						if _, err := io.WriteString(c, request[at:min(at+piece, len(request))]); err != nil {
							break
						}
					}
					said, err := c.rest()
					if err != nil {
						t.Errorf("it is not closed: %v, after %q", err, said)
					}
					answered(t, request, said)
				})
			}
		}
	}
	if log := d.said(); strings.Contains(log, "msg=login addr=127.0.0.1 ") {
		t.Error("a LOGIN in a request of another protocol was executed")
	}
}

// answered looks at what was said to a request of another protocol.
func answered(t *testing.T, request, said string) {
	t.Helper()
	if strings.Contains(strings.ToLower(said), word) || strings.Contains(said, " OK ") {
		t.Errorf("%q", said)
	}
	said, _, _ = strings.Cut(said, "* BYE ")
	if lines := strings.Count(request, "\n") + 1; len(said) > lines {
		t.Errorf("%d octets to %d lines: %q", len(said), lines, said)
	}
}

// TestALPN offers each list of protocols on the two ways to TLS: one without imap
// is refused by the alert for that, and no handshake is made (T09).
func TestALPN(t *testing.T) {
	d := start(t, open())
	for _, offered := range [][]string{nil, {"imap"}, {"imap", "h2"}, {"h2", "imap"}, {"h2"}, {"http/1.1"}, {"h2", "http/1.1"}, {"smtp"}, {"pop3"}, {"ftp"}, {"IMAP"}, {"imap\x00"}, {"acme-tls/1"}} {
		for _, listener := range []string{"imaps", "imap"} {
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				raw, err := net.Dial("tcp", d.addr[listener])
				if err != nil {
					t.Fatal(err)
				}
				c := newClient(t, raw)
				if listener == "imap" {
					c.until("* OK ")
					c.send("s STARTTLS\r\n")
					c.until("s OK ")
				}
				trust := d.trust()
				trust.NextProtos, trust.MinVersion, trust.MaxVersion = offered, version, version
				up := tls.Client(raw, trust)
				err = up.Handshake()
				if err == nil { // of TLS 1.3 the client is done before the server has looked
					_, err = up.Write([]byte("a NOOP\r\n"))
				}
				if err == nil {
					_, err = up.Read(make([]byte, 1))
				}
				want := offered == nil || slices.Contains(offered, "imap")
				if (err == nil) != want || err != nil && !strings.Contains(err.Error(), "no application protocol") {
					t.Errorf("%q on %s, %s: %v", offered, listener, tls.VersionName(version), err)
				}
				if got := up.ConnectionState().NegotiatedProtocol; err == nil && offered != nil && got != "imap" {
					t.Errorf("%q on %s: %q was agreed on", offered, listener, got)
				}
				raw.Close()
			}
		}
	}
}

package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mailstead/imapserver/control"
	"mailstead/render"
	"mailstead/schema"
)

// The bounds of one probe: it meets whatever listens on the port.
const (
	probeTimeout   = 5 * time.Second
	probeLine      = 4096 // bytes of one line before TLS
	probeMaxBefore = 100  // lines before the answer to STARTTLS
)

// dialing is a way to a listener.
type dialing func(ctx context.Context, l schema.Listener) (net.Conn, error)

// served asks a listener, as a client would, which certificate it serves for
// an SNI name. The certificate is not verified: whose it is, is the answer.
func served(ctx context.Context, dial dialing, l schema.Listener, sni string) (*x509.Certificate, error) {
	chain, err := servedChain(ctx, dial, l, sni)
	if err != nil {
		return nil, err
	}
	return chain[0], nil
}

// servedChain is served with the whole chain, the leaf first.
func servedChain(ctx context.Context, dial dialing, l schema.Listener, sni string) ([]*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := dial(ctx, l)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	if l.TLS == schema.STARTTLS {
		if err := startTLS(conn); err != nil {
			return nil, fmt.Errorf("STARTTLS: %w", err)
		}
	}
	client := tls.Client(conn, &tls.Config{ServerName: sni, InsecureSkipVerify: true})
	if err := client.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	chain := client.ConnectionState().PeerCertificates
	if len(chain) == 0 {
		return nil, errors.New("TLS handshake: no certificate was served")
	}
	return chain, nil
}

// dialListener connects to a listener of this host; one that listens on every
// address is reached over the loopback.
func dialListener(ctx context.Context, l schema.Listener) (net.Conn, error) {
	var dialer net.Dialer
	var errs []error
	for _, host := range reachable(l.Address) {
		if dialer.LocalAddr = nil; host == "127.0.0.1" {
			dialer.LocalAddr = &net.TCPAddr{IP: probeSource()}
		}
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(l.Port)))
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// dial is dialListener where the process may use the network. A unit of ours that has
// none has the daemon give the listener a client: the handshake is the same, and that
// connections are accepted the login sees to itself, for its watchdog.
func (l *look) dial(ctx context.Context, listener schema.Listener) (net.Conn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
		return dialListener(ctx, listener)
	}
	if !errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, fmt.Errorf("make socket: %w", err)
	}
	return control.Visit(ctx, render.ControlSocket(l.host.Paths), listener.Name)
}

// probeSource is an address of the loopback that nobody else comes from: where
// there are hundreds of names, probes of one address would be more than the
// daemon takes from it in a minute.
func probeSource() net.IP {
	return net.IPv4(127, byte(1+rand.IntN(254)), byte(rand.IntN(256)), byte(1+rand.IntN(254)))
}

// reachable gives the addresses at which this host reaches a listening address.
func reachable(address string) []string {
	switch address {
	case "":
		return []string{"127.0.0.1", "::1"}
	case "0.0.0.0":
		return []string{"127.0.0.1"}
	case "::":
		return []string{"::1", "127.0.0.1"}
	}
	return []string{address}
}

// startTLS brings an IMAP connection to where the handshake starts
// (RFC 9051 §6.2.1).
func startTLS(conn net.Conn) error {
	r := bufio.NewReaderSize(conn, probeLine)
	greeting, err := probeReadLine(r)
	if err != nil {
		return fmt.Errorf("read greeting: %w", err)
	}
	if !strings.HasPrefix(greeting, "* OK") {
		return fmt.Errorf("the greeting is %q", greeting)
	}
	if _, err := conn.Write([]byte("m1 STARTTLS\r\n")); err != nil {
		return err
	}
	for range probeMaxBefore {
		line, err := probeReadLine(r)
		if err != nil {
			return err
		}
		if strings.HasPrefix(line, "* ") {
			continue
		}
		if !strings.HasPrefix(line, "m1 OK") {
			return fmt.Errorf("the answer is %q", line)
		}
		if r.Buffered() > 0 {
			return errors.New("the server sent data before the handshake")
		}
		return nil
	}
	return errors.New("no answer")
}

func probeReadLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	return strings.TrimRight(string(line), "\r\n"), err
}

// fingerprint is how a certificate is named everywhere: SHA-256 of its DER.
func fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// chainDigest is the SHA-256 of the DER of a whole chain.
func chainDigest(chain []*x509.Certificate) string {
	h := sha256.New()
	for _, c := range chain {
		h.Write(c.Raw)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// sniName is a name to ask for when a certificate is served for a pattern.
func sniName(pattern string) string {
	if rest, ok := strings.CutPrefix(pattern, "*."); ok {
		return "mailstead-probe." + rest
	}
	return pattern
}

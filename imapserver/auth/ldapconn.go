package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"mailstead/imapserver/config"
)

// The bounds of connections to directories.
const (
	maxIdle     = time.Minute // a connection that nobody has used for that long is closed
	downFor     = time.Second // a server that cannot be reached is not tried again before
	maxSecret   = 4096        // octets of a file with a password
	maxCAs      = 1 << 20     // octets of a file with certificates
	dialTimeout = 5 * time.Second
	maxMessage  = 256 << 10 // octets of a message of a server's, some hundred times as many in memory
)

// bound holds the library to maxMessage. It has one bound for all connections, and reads
// whatever a server sends, before TLS and unasked too.
var bound = sync.OnceFunc(func() { ber.MaxPacketLengthBytes = maxMessage })

// ldapConn is a connection. raw is below TLS: a deadline on it ends whatever the
// library waits for.
type ldapConn struct {
	*ldap.Conn
	raw  net.Conn
	used time.Time
}

// end closes the connection, and waits for nobody.
func (c *ldapConn) end() {
	c.raw.Close()
	c.Conn.Close()
}

// ldapPool keeps connections of one sort for later: at most as many as there are
// logins at once.
type ldapPool struct {
	dial func(ctx context.Context) (*ldapConn, error)
	max  int

	mu     sync.Mutex
	idle   []*ldapConn
	closed bool
}

func newLDAPPool(max int, dial func(context.Context) (*ldapConn, error)) *ldapPool {
	return &ldapPool{dial: dial, max: max}
}

// use calls f with a connection, which is kept unless f has failed. One that has
// died since it was last used is replaced, once.
func (p *ldapPool) use(ctx context.Context, f func(*ldap.Conn) error) error {
	deadline, _ := ctx.Deadline()
	for {
		c, fresh, err := p.take(ctx)
		if err != nil {
			return err
		}
		c.raw.SetDeadline(deadline)
		stop := context.AfterFunc(ctx, func() { c.raw.SetDeadline(time.Unix(1, 0)) })
		err = f(c.Conn)
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err == nil {
			c.raw.SetDeadline(time.Time{})
			p.give(c)
			return nil
		}
		c.end()
		if fresh || ctx.Err() != nil || answered(err) {
			return err
		}
	}
}

// take gives the connection that was used last, or a fresh one.
func (p *ldapPool) take(ctx context.Context) (c *ldapConn, fresh bool, err error) {
	p.mu.Lock()
	for c == nil && len(p.idle) > 0 {
		n := len(p.idle) - 1
		c, p.idle = p.idle[n], p.idle[:n]
		if c.IsClosing() {
			defer c.end()
			c = nil
		}
	}
	p.mu.Unlock()
	if c != nil {
		return c, false, nil
	}
	c, err = p.dial(ctx)
	return c, true, err
}

// give puts a connection back, and ends those that nobody has needed for long.
func (p *ldapPool) give(c *ldapConn) {
	c.used = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 && time.Since(p.idle[0].used) > maxIdle {
		go p.idle[0].end()
		p.idle = p.idle[1:]
	}
	if p.closed || len(p.idle) >= p.max {
		go c.end()
		return
	}
	p.idle = append(p.idle, c)
}

func (p *ldapPool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		go c.end()
	}
	p.idle = nil
}

// ldapDialer opens connections to the first of several servers that answers.
type ldapDialer struct {
	config config.LDAP
	log    *slog.Logger

	mu   sync.Mutex
	down map[string]downServer
}

// downServer is a server that could not be reached.
type downServer struct {
	err   error
	until time.Time
}

func newDialer(c config.LDAP, log *slog.Logger) *ldapDialer {
	bound()
	return &ldapDialer{config: c, log: log, down: map[string]downServer{}}
}

// dial opens a connection that is bound as nobody. A server that does not answer
// is left alone for a while: those who wait in line need not find it out each. One
// that is silent takes its share of the time, and leaves the others theirs.
func (d *ldapDialer) dial(ctx context.Context) (*ldapConn, error) {
	// Half of what the login may take: the rest is for what it is opened for.
	end := time.Now().Add(min(dialTimeout, time.Duration(d.config.Timeout)*time.Second/2))
	var faults []error
	for i, server := range d.config.Servers {
		d.mu.Lock()
		down, ok := d.down[server]
		d.mu.Unlock()
		if ok && time.Now().Before(down.until) {
			faults = append(faults, down.err)
			continue
		}
		c, err := d.open(ctx, server, time.Until(end)/time.Duration(len(d.config.Servers)-i))
		if err == nil {
			return c, nil
		}
		err = fmt.Errorf("%s: %w", server, err)
		if ctx.Err() != nil {
			return nil, err // whoever asked has given up, which says nothing of the server
		}
		faults = append(faults, err)
		d.mu.Lock()
		d.down[server] = downServer{err, time.Now().Add(downFor)}
		d.mu.Unlock()
		d.log.WarnContext(ctx, "LDAP server not reached", "err", err)
	}
	return nil, errors.Join(faults...)
}

// account opens a connection that is bound as the account that searches. Its
// password is read each time: whoever changes it need not tell us.
func (d *ldapDialer) account(ctx context.Context) (*ldapConn, error) {
	c, err := d.dial(ctx)
	if err != nil || d.config.Account == "" {
		return c, err
	}
	password, err := readSecret(d.config.PasswordFile)
	if err != nil {
		c.end()
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	c.raw.SetDeadline(deadline)
	if err := c.Bind(d.config.Account, password); err != nil {
		c.end()
		// Not as it is: to whoever asked it would be about the user's password.
		return nil, fmt.Errorf("bind as %q with the password in %s: %s", d.config.Account, d.config.PasswordFile, err)
	}
	return c, nil
}

// readSecret reads the first line of a file.
func readSecret(path string) (string, error) {
	data, err := readFile(path, maxSecret)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", fmt.Errorf("%s: the first line, which should be a password, is empty", path)
	}
	return line, nil
}

// CheckFiles tells what directories will want to read, once somebody logs in, and
// this process may not.
func CheckFiles(directories []config.Directory) error {
	var faults []error
	for _, d := range directories {
		if l := d.LDAP; l != nil && l.PasswordFile != "" {
			if _, err := readSecret(l.PasswordFile); err != nil {
				faults = append(faults, fmt.Errorf("directory %s: %w", d.Name, err))
			}
		}
		if l := d.LDAP; l != nil && l.CA != "" {
			if _, err := readFile(l.CA, maxCAs); err != nil {
				faults = append(faults, fmt.Errorf("directory %s: %w", d.Name, err))
			}
		}
	}
	return errors.Join(faults...)
}

// readFile reads a file whose size is bounded.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("%w: let uid %d read it", err, os.Geteuid())
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("read %s: more than %d octets", path, limit)
	}
	return data, err
}

// open connects, with TLS where the URL or the configuration says so: the name
// in the URL is the one that the certificate has to be for.
func (d *ldapDialer) open(ctx context.Context, server string, within time.Duration) (*ldapConn, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	network, address := "tcp", u.Host
	switch u.Scheme {
	case "ldapi":
		network, address = "unix", u.Path
	case "ldap", "ldaps":
		if u.Port() == "" {
			address = net.JoinHostPort(u.Hostname(), map[string]string{"ldap": "389", "ldaps": "636"}[u.Scheme])
		}
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	raw.SetDeadline(deadline)
	c := &ldapConn{raw: raw}
	if err := d.secure(ctx, c, u); err != nil {
		raw.Close()
		return nil, err
	}
	return c, nil
}

func (d *ldapDialer) secure(ctx context.Context, c *ldapConn, u *url.URL) error {
	tc, err := d.tls(u.Hostname())
	if err != nil {
		return err
	}
	over := c.raw
	if u.Scheme == "ldaps" {
		secured := tls.Client(c.raw, tc)
		if err := secured.HandshakeContext(ctx); err != nil {
			return err
		}
		over = secured
	}
	c.Conn = ldap.NewConn(over, u.Scheme == "ldaps")
	c.Conn.SetTimeout(time.Duration(d.config.Timeout) * time.Second)
	c.Conn.Start()
	if u.Scheme == "ldap" && d.config.STARTTLS {
		if err := c.Conn.StartTLS(tc); err != nil {
			c.Conn.Close()
			return err
		}
	}
	return nil
}

func (d *ldapDialer) tls(host string) (*tls.Config, error) {
	tc := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if d.config.CA != "" {
		data, err := readFile(d.config.CA, maxCAs)
		if err != nil {
			return nil, err
		}
		tc.RootCAs = x509.NewCertPool()
		if !tc.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("%s: no certificate in it", d.config.CA)
		}
	}
	return tc, nil
}

package siege_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"net"
	"strings"
	"testing"
	"time"
)

// outlaw is the client's half of a TLS 1.3 connection, which writes records that
// no library would (RFC 8446 §5.2, §7.2).
type outlaw struct {
	net.Conn
	t      testing.TB
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
	closed chan struct{} // by the daemon
}

// outlaw shakes hands as a library does, and goes on by itself.
func (d *daemon) outlaw(t testing.TB) *outlaw {
	t.Helper()
	raw, err := net.Dial("tcp", d.addr["imaps"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	raw.SetDeadline(time.Now().Add(5 * time.Minute))
	var keys bytes.Buffer
	trust := d.trust()
	trust.MinVersion, trust.KeyLogWriter = tls.VersionTLS13, &keys
	c := tls.Client(raw, trust)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if suite := c.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skipf("%s was agreed on: this client has AES-128 alone, which a processor with instructions for it prefers", tls.CipherSuiteName(suite))
	}
	o := &outlaw{Conn: raw, t: t, closed: make(chan struct{})}
	go func() {
		drain(raw)
		close(o.closed)
	}()
	for line := range strings.Lines(keys.String()) {
		if f := strings.Fields(line); f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			o.use(secret)
		}
	}
	return o
}

// expand is HKDF-Expand-Label (RFC 8446 §7.1) without a context.
func (o *outlaw) expand(secret []byte, label string, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len("tls13 "+label)))
	info = append(append(info, "tls13 "+label...), 0)
	out, err := hkdf.Expand(sha256.New, secret, string(info), n)
	if err != nil {
		o.t.Fatal(err)
	}
	return out
}

func (o *outlaw) use(secret []byte) {
	block, err := aes.NewCipher(o.expand(secret, "key", 16))
	if err == nil {
		o.aead, err = cipher.NewGCM(block)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	o.secret, o.iv, o.seq = secret, o.expand(secret, "iv", 12), 0
}

// record encrypts one.
func (o *outlaw) record(kind byte, content string) []byte {
	plain := append([]byte(content), kind)
	head := []byte{23, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(head[3:], uint16(len(plain)+o.aead.Overhead()))
	nonce := bytes.Clone(o.iv)
	for i := range 8 {
		nonce[4+i] ^= byte(o.seq >> (56 - 8*i))
	}
	o.seq++
	return o.aead.Seal(head, nonce, plain, head)
}

const (
	handshake   = 22
	application = 23
)

// update is a KeyUpdate (RFC 8446 §4.6.3), with which the client's own keys change.
func (o *outlaw) update(request byte) []byte {
	r := o.record(handshake, string([]byte{24, 0, 0, 1, request}))
	o.use(o.expand(o.secret, "traffic upd", 32))
	return r
}

// noopAlone is the same without KeyUpdates.
const noopAlone = "NOOP alone after login"

// TestKeyUpdates sends more of them than anyone needs (T12, CVE-2026-32283,
// CVE-2026-56862), before login and after, bare and each with an octet of the
// protocol: the connection ends, or costs so little that nobody notices.
func TestKeyUpdates(t *testing.T) {
	d := start(t, open())
	n := scaled(1_000_000, 50)
	visits := d.owner()
	for name, storm := range map[string]struct {
		first string // in the protocol
		then  string // with each
		ends  bool
	}{
		"bare":                  {"", "", true},
		"bare, after login":     {"a LOGIN alice wonder\r\n", "", true},
		"with an octet":         {"", "x", true}, // it is an endless line
		"with NOOP after login": {"a LOGIN alice wonder\r\n", "a NOOP\r\n", false},
		noopAlone:               {"a LOGIN alice wonder\r\n", "a NOOP\r\n", false},
	} {
		for _, request := range []byte{0, 1} {
			t.Run(name, func(t *testing.T) {
				o := d.outlaw(t)
				if storm.first != "" {
					o.Write(o.record(application, storm.first))
					time.Sleep(200 * time.Millisecond) // until the session is there
				}
				before := d.cpu()
				sent := 0
				for ; sent < n; sent++ {
					var r []byte
					if name != noopAlone {
						r = o.update(request)
					}
					if storm.then != "" {
						r = append(r, o.record(application, storm.then)...)
					}
					if _, err := o.Write(r); err != nil {
						break
					}
				}
				t.Logf("request %d: %d of %d were sent; %v of processor time, that of the user's logins included", request, sent, n, d.cpu()-before)
				if !storm.ends {
					return
				}
				// What was sent last may still lie in a buffer. By itself the
				// connection would end at loginTime, or not at all.
				select {
				case <-o.closed:
				case <-time.After(20 * time.Second):
					t.Errorf("the connection has not ended after %d KeyUpdates", n)
				}
			})
		}
	}
	visits.end(t)
}

package siege_test

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// TestRandomNames asks for certificates by names that there are not (T10,
// CVE-2017-15130): everyone gets the default one, and nothing is kept of a name.
func TestRandomNames(t *testing.T) {
	d := start(t, open())
	ask := func(name string) {
		raw, err := net.Dial("tcp", d.addr["imaps"])
		if err != nil {
			t.Error(err)
			return
		}
		defer raw.Close()
		c := tls.Client(raw, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err := c.Handshake(); err != nil {
			t.Errorf("%q: %v", name, err)
			return
		}
		if got := c.ConnectionState().PeerCertificates[0].DNSNames[0]; got != "mail.example" {
			t.Errorf("%q: the certificate of %s", name, got)
		}
	}
	random := func() string {
		return fmt.Sprintf("%x.%x.example", rand.Uint64(), rand.Uint64())
	}
	label := strings.Repeat("a", 63)
	for _, name := range []string{
		label + "." + label + "." + label + "." + label[:61], strings.Repeat("a.", 127) + "a", label + label + ".example",
		"*.example", "a..example", "-", "_", "other.example.evil", "evilother.example", "xn--", "mail_example", "OTHER.EXAMPLE.x", "a b",
	} {
		ask(name)
	}
	crowd := func(n int) {
		var all sync.WaitGroup
		for range 2 * runtime.GOMAXPROCS(0) {
			all.Go(func() {
				for range n / (2 * runtime.GOMAXPROCS(0)) {
					ask(random())
				}
			})
		}
		all.Wait()
	}
	n := scaled(100_000, 100)
	crowd(1000) // its heap has its size then
	before := d.status("VmRSS")
	crowd(n)
	grown := d.status("VmRSS") - before
	t.Logf("%d kB more after %d random names", grown, n)
	if grown > 8<<10 {
		t.Errorf("%d kB more after %d random names", grown, n)
	}
}

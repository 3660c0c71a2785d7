package main_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// proxiedFleet is the description of TestProxyFleet: a host in front, and two that have
// the mail. %s are the users of these two.
const proxiedFleet = `hosts: [Name=_]: tls: certificates: (Name): files: {certificate: "/etc/ssl/\(Name).pem", key: "/etc/ssl/\(Name).key"}
hosts: "imap.example.org": {
	listeners: [_]: proxy: {byUser: true, forwardAddress: true, ca: "/etc/ssl/fleet.pem"}
	listeners: {imap: {}, imaps: {}, refer: {port: 1143, tls: "starttls", proxy: refer: true}}
	limits: {proxyPatience: 3, delay: 0}
	metrics: {}
}
hosts: [=~"^[ab][.]"]: {
	listeners: [_]: proxies: ["10.98.1.2"]
	listeners: {imap: {}, imaps: {}}
	limits: delay: 0
}
hosts: "a.example.org": users: {%s}
hosts: "b.example.org": users: {%s}
`

// fleetCA makes an authority, a certificate of each host, and one of b's name that
// somebody else has made.
const fleetCA = `mkdir -p /root/ca; cd /root/ca
key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
openssl req -x509 $key -days 30 -subj /CN=fleet -keyout ca.key -out fleet.pem 2>/dev/null
for n in imap a b; do
	openssl req $key -subj /CN=$n.example.org -addext subjectAltName=DNS:$n.example.org -keyout $n.example.org.key -out csr 2>/dev/null
	openssl x509 -req -in csr -CA fleet.pem -CAkey ca.key -CAcreateserial -days 30 -copy_extensions copy -out $n.example.org.pem 2>/dev/null
done
openssl req -x509 $key -days 30 -subj /CN=b.example.org -addext subjectAltName=DNS:b.example.org -keyout foreign.key -out foreign.pem 2>/dev/null
`

// proxyFleet is three hosts and a client's machine, which is the network between them.
type proxyFleet struct {
	t           *testing.T
	client      *operator
	front, a, b *box
	trust       *tls.Config
	hash        string
}

func newProxyFleet(t *testing.T) *proxyFleet {
	f := &proxyFleet{t: t, client: newOperator(t), front: newBox(t, "front"), a: newBox(t, "a"), b: newBox(t, "b")}
	f.client.leader = f.client.holder.Process.Pid
	hosts := "127.0.0.1 localhost\n10.98.1.2 imap.example.org\n10.98.2.2 a.example.org\n10.98.3.2 b.example.org\n"
	f.front.sh(fleetCA)
	ca := filepath.Join(f.front.root(), "root/ca")
	for i, name := range []string{"imap", "a", "b"} {
		b := f.hosts()[i]
		f.client.link(f.client.leader, fmt.Sprintf("10.98.%d.1", i+1), b.leader, fmt.Sprintf("10.98.%d.2", i+1))
		b.write("/etc/hosts", hosts)
		b.sh(fmt.Sprintf("hostname %s.example.org; ip route add default via 10.98.%d.1", name, i+1))
		for _, file := range []string{"fleet.pem", name + ".example.org.pem", name + ".example.org.key"} {
			text, err := os.ReadFile(filepath.Join(ca, file))
			if err != nil {
				t.Fatal(err)
			}
			b.write("/etc/ssl/"+file, string(text))
		}
		b.sh("chmod 600 /etc/ssl/*.example.org.key")
	}
	f.client.inNet("echo 1 >/proc/sys/net/ipv4/ip_forward")
	roots := x509.NewCertPool()
	text, err := os.ReadFile(filepath.Join(ca, "fleet.pem"))
	if err != nil || !roots.AppendCertsFromPEM(text) {
		t.Fatal("no authority: ", err)
	}
	f.trust = &tls.Config{RootCAs: roots}
	f.hash = strings.TrimSpace(f.front.try("wonder\n", "mailstead", "hash-password").stdout)
	return f
}

func (f *proxyFleet) hosts() []*box { return []*box{f.front, f.a, f.b} }

// describe gives all hosts the description with these users on a and b.
func (f *proxyFleet) describe(a, b string) {
	f.t.Helper()
	entry := func(users string) string {
		var all []string
		for user := range strings.FieldsSeq(users) {
			all = append(all, fmt.Sprintf("%s: password: hash: %q", user, f.hash))
		}
		return strings.Join(all, ", ")
	}
	for _, h := range f.hosts() {
		h.write("/etc/mailstead/fleet.cue", fmt.Sprintf(proxiedFleet, entry(a), entry(b)))
	}
}

// inNet runs a script in the client's network, which all hosts are joined by.
func (o *operator) inNet(script string) {
	o.t.Helper()
	if out, err := exec.Command("nsenter", "-t", strconv.Itoa(o.leader), "-n", "sh", "-ec", script).CombinedOutput(); err != nil {
		o.t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// reader is a client of a host, under TLS.
type reader struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
	n int
}

// connect connects to a host from the client's machine: under TLS from the beginning, or
// by STARTTLS on a port that is not 993.
func (f *proxyFleet) connect(host, port string) *reader {
	f.t.Helper()
	config := f.trust.Clone()
	config.ServerName = host
	address := map[string]string{"imap.example.org": "10.98.1.2", "a.example.org": "10.98.2.2", "b.example.org": "10.98.3.2"}[host]
	c := &reader{t: f.t, Conn: f.client.dial(net.JoinHostPort(address, port))}
	c.SetDeadline(time.Now().Add(time.Minute))
	c.r = bufio.NewReader(c.Conn)
	if port != "993" {
		contains(f.t, c.line(), "* OK")
		contains(f.t, c.says("STARTTLS"), " OK ")
	}
	c.Conn = tls.Client(c.Conn, config)
	c.r.Reset(c.Conn)
	if port == "993" {
		contains(f.t, c.line(), "* OK")
	}
	return c
}

// line reads one; "" is the end.
func (c *reader) line() string {
	line, _ := c.r.ReadString('\n')
	return line
}

// says gives a command and reads up to its answer.
func (c *reader) says(command string) string {
	c.t.Helper()
	c.n++
	tag := fmt.Sprintf("t%d", c.n)
	fmt.Fprintf(c, "%s %s\r\n", tag, command)
	var all strings.Builder
	for {
		line := c.line()
		all.WriteString(line)
		if line == "" || strings.HasPrefix(line, tag+" ") {
			return all.String()
		}
	}
}

// visit logs in, says some commands, and leaves.
func (f *proxyFleet) visit(port, user string, commands ...string) string {
	f.t.Helper()
	c := f.connect("imap.example.org", port)
	defer c.Close()
	all := c.says("LOGIN " + user + " wonder")
	for _, command := range append(commands, "LOGOUT") {
		all += c.says(command)
	}
	return all
}

// sniffed is what has passed a host's network.
type sniffed struct {
	mu   sync.Mutex
	seen bytes.Buffer
}

// sniff looks at all packets of a host from now on.
func (b *box) sniff() *sniffed {
	b.t.Helper()
	s := &sniffed{}
	ready := make(chan error)
	go func() {
		err := b.joinNet()
		const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8
		fd, serr := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
		if err == nil {
			err = serr
		}
		if ready <- err; err != nil {
			return
		}
		b.t.Cleanup(func() { unix.Shutdown(fd, unix.SHUT_RDWR); unix.Close(fd) })
		for buf := make([]byte, 64<<10); ; {
			n, err := unix.Read(fd, buf)
			if err != nil && err != unix.EINTR {
				return
			}
			s.mu.Lock()
			s.seen.Write(buf[:max(n, 0)])
			s.mu.Unlock()
		}
	}()
	if err := <-ready; err != nil {
		b.t.Fatal(err)
	}
	return s
}

// has tells which of some words have passed.
func (s *sniffed) has(words ...string) (found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range words {
		if bytes.Contains(s.seen.Bytes(), []byte(w)) {
			found = append(found, w)
		}
	}
	return found
}

// passwords are the forms in which one could pass in the clear.
func passwords() []string {
	words := []string{"wonder", "wr0ng"}
	for _, user := range []string{"alice", "bob"} {
		words = append(words, base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00wonder")))
	}
	return words
}

// TestProxyFleet has three booted hosts of one description on a network: one in front
// that takes each user to the host where their mail is, and two with mail.
func TestProxyFleet(t *testing.T) {
	e2e(t, "root")
	f := newProxyFleet(t)
	seen := f.front.sniff()
	f.describe("alice", "bob carol")
	for _, h := range []*box{f.a, f.b, f.front} {
		h.run("mailstead", "apply", "--yes")
	}
	f.front.writesNothing()
	f.front.await(func() bool { return f.front.proxies()["imaps"].Known && f.front.proxies()["imap"].Known })

	f.served()
	f.referred()
	f.explained()
	f.guessed()
	f.untrusted()
	f.down()
	f.moved()
	f.measured()
	if found := seen.has(passwords()...); found != nil {
		t.Errorf("in the clear went %q", found)
	}
	if seen.has("STARTTLS") == nil {
		t.Error("nothing was seen of what goes in the clear")
	}
}

// served: each user is served by their host, on both listeners, and what one leaves
// behind is given to the same user again.
func (f *proxyFleet) served() {
	f.t.Helper()
	for _, user := range []string{"alice", "bob"} {
		text := "Subject: of " + user + "\r\n\r\n"
		contains(f.t, f.visit("993", user, fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(text), text)), "APPENDUID")
	}
	for user, h := range map[string]*box{"alice": f.a, "bob": f.b} {
		for range 3 {
			for _, port := range []string{"993", "143"} {
				contains(f.t, f.visit(port, user, "SELECT INBOX", "FETCH 1:* BODY.PEEK[HEADER]"), "Subject: of "+user)
			}
		}
		contains(f.t, h.run("mailstead", "sessions"), " "+user+" ", " 10.98.1.1")
	}
	for _, listener := range []string{"imap", "imaps"} {
		st := f.front.proxies()[listener]
		if st.Reused < 2 || st.Kept != st.Logins || st.Refused+st.Failed+st.Stale != 0 {
			f.t.Errorf("%s: %+v", listener, st)
		}
	}
}

// referral matches where a client is sent.
var referral = regexp.MustCompile(`NO \[REFERRAL imap://([^;]+);AUTH=\*@([^/:]+)(?::(\d+))?/\]`)

// referred: a client with the right password is sent to the host of its user, and is
// served there; nobody else hears where that is.
func (f *proxyFleet) referred() {
	f.t.Helper()
	for user, host := range map[string]string{"alice": "a.example.org", "bob": "b.example.org"} {
		c := f.connect("imap.example.org", "1143")
		contains(f.t, c.says("CAPABILITY"), "LOGIN-REFERRALS")
		if said := c.says("LOGIN " + user + " wr0ng"); referral.MatchString(said) {
			f.t.Errorf("without the password: %s", said)
		}
		said := c.says("LOGIN " + user + " wonder")
		to := referral.FindStringSubmatch(said)
		if to == nil || to[1] != user || to[2] != host {
			f.t.Fatalf("%s is sent nowhere: %s", user, said)
		}
		port := to[3]
		if port == "" {
			port = "143"
		}
		there := f.connect(to[2], port)
		contains(f.t, there.says("LOGIN "+to[1]+" wonder")+there.says("SELECT INBOX")+there.says("FETCH 1 BODY.PEEK[HEADER]"), "Subject: of "+user)
	}
}

// explained: who asks why somebody cannot log in is told which host decides.
func (f *proxyFleet) explained() {
	f.t.Helper()
	said := f.front.run("mailstead", "explain-login", "bob", "--listener", "imaps")
	if contains(f.t, said, "b.example.org:993"); strings.Contains(said, "a.example.org") {
		f.t.Errorf("bob is not there: %s", said)
	}
	contains(f.t, f.front.exit(8, "mailstead", "explain-login", "nobody", "--listener", "imaps").stdout, "no host of the description has the user")
}

// guessed: wrong passwords count for the client, in front and behind, and the log of
// both names its address.
func (f *proxyFleet) guessed() {
	f.t.Helper()
	c := f.connect("imap.example.org", "993")
	contains(f.t, c.says("LOGIN alice wr0ng"), "NO [AUTHENTICATIONFAILED]")
	contains(f.t, c.says("LOGIN nobody wr0ng"), "NO [AUTHENTICATIONFAILED]")
	for _, h := range []*box{f.front, f.a} {
		log := h.sh("journalctl --no-pager -u 'mailstead-*'")
		contains(f.t, log, `msg="login failed" addr=10.98.1.1 user=alice`)
		if strings.Contains(log, "wr0ng") || strings.Contains(log, "addr=10.98.1.2 user=") {
			f.t.Errorf("the log of %s has a password, or a guess of the proxy's:\n%s", h.name, log)
		}
	}
}

// untrusted: a host with a certificate that nobody of the fleet's has made hears no
// password.
func (f *proxyFleet) untrusted() {
	f.t.Helper()
	ca := filepath.Join(f.front.root(), "root/ca")
	use := func(name string) {
		for _, ext := range []string{"pem", "key"} {
			text, err := os.ReadFile(filepath.Join(ca, name+"."+ext))
			if err != nil {
				f.t.Fatal(err)
			}
			f.b.write("/etc/ssl/b.example.org."+ext, string(text))
		}
		f.b.run("mailstead", "apply", "--yes")
	}
	logins := func() string { return f.b.sh("journalctl --no-pager -u 'mailstead-*' | grep -c 'user=bob' || :") }
	use("foreign")
	f.b.run("systemctl", "restart", "mailstead-login@imaps.service") // and all that is kept
	f.front.await(func() bool {
		return f.front.sh(`ss -Htn dst $(getent ahostsv4 b.example.org | cut -d' ' -f1 | head -1)`) == ""
	})
	before := logins()
	contains(f.t, f.visit("993", "bob"), "NO [UNAVAILABLE]")
	contains(f.t, f.visit("993", "alice", "NOOP"), "t1 OK ")
	contains(f.t, f.front.sh("journalctl --no-pager -u 'mailstead-login@imaps.service'"), `msg="login not checked" addr=10.98.1.1 user=bob`, "server b.example.org:993", "unknown authority")
	for _, command := range []string{"doctor", "explain-login bob --listener imaps"} {
		contains(f.t, f.front.exit(8, "sh", "-c", "mailstead "+command).stdout, "server b.example.org:993", "unknown authority")
	}
	if after := logins(); after != before {
		f.t.Errorf("bob has logged in there: %s, then %s", before, after)
	}
	use("b.example.org")
	contains(f.t, f.visit("993", "bob", "NOOP"), "t1 OK ")
}

// down: while a host is away its users are told so, at once but for the first, and
// nobody else notices.
func (f *proxyFleet) down() {
	f.t.Helper()
	bob := func() time.Duration {
		begun := time.Now()
		contains(f.t, f.visit("993", "bob"), "NO [UNAVAILABLE] ")
		return time.Since(begun)
	}
	alice := func() {
		f.t.Helper()
		begun := time.Now()
		contains(f.t, f.visit("993", "alice", "SELECT INBOX"), "t2 OK ")
		if took := time.Since(begun); took > 2*time.Second {
			f.t.Errorf("alice has waited for %v", took)
		}
	}
	f.b.sh("systemctl stop 'mailstead-*.socket' 'mailstead-login@*'")
	bob() // may have found a connection dead that was kept
	if took := bob(); took > 2*time.Second {
		f.t.Errorf("a host that does not listen is waited for, for %v", took)
	}
	alice()
	f.b.run("mailstead", "apply", "--yes")
	contains(f.t, f.visit("993", "bob"), "t1 OK ")

	const hole = "10.98.3.2/32" // what goes there is lost without a word
	f.client.exits(0, "ip", "route", "add", "blackhole", hole)
	first := make(chan time.Duration)
	go func() { first <- bob() }()
	time.Sleep(500 * time.Millisecond)
	alice()
	f.front.run("mailstead", "apply", "--yes")
	contains(f.t, f.front.run("mailstead", "status"), "In step.")
	if took := <-first; took < 3*time.Second || took > 15*time.Second {
		f.t.Errorf("the first who asks for a host that is away is told after %v", took)
	}
	go func() { first <- bob() }() // who finds out
	time.Sleep(500 * time.Millisecond)
	if took := bob(); took > 2*time.Second {
		f.t.Errorf("the next one is told after %v", took)
	}
	<-first
	f.client.exits(0, "ip", "route", "del", "blackhole", hole)
	contains(f.t, f.visit("993", "bob"), "t1 OK ")
	contains(f.t, f.front.sh("journalctl --no-pager -u 'mailstead-login@imaps.service'"), "server b.example.org:993: it takes too long", "server b.example.org:993: it does not answer")
}

// uids matches what must stay when mail moves.
var uids = regexp.MustCompile(`UIDVALIDITY \d+|UID \d+|Subject: .*`)

// moved: a user moves to the other host with their mail, and back.
func (f *proxyFleet) moved() {
	f.t.Helper()
	look := func() string {
		said := f.visit("993", "bob", "SELECT INBOX", "FETCH 1:* (UID BODY.PEEK[HEADER])")
		return strings.Join(uids.FindAllString(said, -1), "\n")
	}
	before := look()
	contains(f.t, before, "UIDVALIDITY", "UID 1", "Subject: of bob")

	// As docs/proxy.md has it: the old host lets go first, so that no change is lost.
	c := f.connect("imap.example.org", "993")
	contains(f.t, c.says("LOGIN bob wonder"), "t1 OK ")
	f.describe("alice bob", "carol")
	f.b.run("mailstead", "apply", "--yes")
	contains(f.t, c.line(), "* BYE")
	f.copyMail(f.b, f.a)
	f.a.run("mailstead", "apply", "--yes")
	f.front.run("mailstead", "apply", "--yes")
	if after := look(); after != before {
		f.t.Errorf("before the move\n%s\nafter it\n%s", before, after)
	}
	contains(f.t, f.a.run("mailstead", "sessions"), " bob ")

	// The front is told first: who is connected comes back, and finds the other host.
	c = f.connect("imap.example.org", "143")
	contains(f.t, c.says("LOGIN bob wonder"), "t2 OK ")
	f.describe("alice", "bob carol")
	f.b.run("mailstead", "apply", "--yes")
	f.front.run("mailstead", "apply", "--yes")
	contains(f.t, c.line(), "* BYE Your mail is on another server now.")
	if after := look(); after != before {
		f.t.Errorf("before the move\n%s\nafter it and back\n%s", before, after)
	}
	contains(f.t, f.b.run("mailstead", "sessions"), " bob ")
	f.a.run("mailstead", "apply", "--yes")
	contains(f.t, f.visit("993", "alice", "NOOP"), "t1 OK ")
}

// copyMail copies bob's mail.
func (f *proxyFleet) copyMail(from, to *box) {
	f.t.Helper()
	to.write("/root/bob.tar", from.sh("tar -C /var/vmail -c bob"))
	to.sh("tar -C /var/vmail --same-owner -xf /root/bob.tar")
}

// measured: the metrics say of each listener what "ctl status" does.
func (f *proxyFleet) measured() {
	f.t.Helper()
	var text string
	f.front.await(func() bool {
		text = f.front.run("curl", "-sS", "http://127.0.0.1:9143/metrics")
		for name, p := range f.front.proxies() {
			for series, n := range map[string]uint64{
				`mailstead_proxy_connections_kept{listener="` + name + `"}`:            uint64(p.Idle),
				`mailstead_proxy_logins_total{listener="` + name + `",what="tried"}`:   p.Logins,
				`mailstead_proxy_logins_total{listener="` + name + `",what="reused"}`:  p.Reused,
				`mailstead_proxy_logins_total{listener="` + name + `",what="refused"}`: p.Refused,
				`mailstead_proxy_logins_total{listener="` + name + `",what="failed"}`:  p.Failed,
			} {
				if !strings.Contains(text, fmt.Sprintf("%s %d\n", series, n)) {
					return false
				}
			}
		}
		return true
	})
	contains(f.t, text, `mailstead_sessions{listener="imaps"}`)
}

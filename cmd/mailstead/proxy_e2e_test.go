package main_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/control"
)

// proxyHost serves vera's mail, and has web mail in front of it: webmail over TLS, and
// near, which is what imapproxy has too.
const proxyHost = `hosts: "mail.example.org": {
	listeners: {
		imaps: {}
		plain: {address: "127.0.0.1", port: 1145, tls: "none"}
	}
	tls: certificates: "mail.example.org": selfSigned: {}
	users: vera: password: hash: %q
	limits: {delay: 0, newPerAddress: 1000000}
}
`

const proxyListeners = `hosts: "mail.example.org": listeners: {
	webmail: {address: "127.0.0.1", port: 1144, tls: "none", proxy: {server: "localhost", serverName: "mail.example.org", ca: "/etc/ssl/own.pem"}}
	near: {address: "127.0.0.1", port: 1146, tls: "none", proxy: {server: "127.0.0.1", port: 1145, tls: "none"}}
}
`

// someMail fills INBOX of a Maildir that belongs to a user, as somebody delivers.
const someMail = `for i in $(seq 60); do printf 'From: Anna <anna@example.org>\nTo: vera@example.org\nSubject: Letter %d\nDate: Sun, 29 Nov 2026 10:00:00 +0000\nMessage-ID: <%d@example.org>\n\nThe text of letter %d.\n' $i $i $i >$1/new/$i.M$i.host; chown $2: $1/new/$i.M$i.host; done
`

// TestProxyHost has the real Roundcube and a client at the real imapproxy beside it.
func TestProxyHost(t *testing.T) {
	t.Parallel()
	b := newBoxOf(t, "clients", "proxy")
	hash := strings.TrimSpace(b.try("wonder\n", "mailstead", "hash-password").stdout)
	b.write("/etc/mailstead/host.cue", fmt.Sprintf(proxyHost, hash))
	b.write("/root/mail.sh", someMail)
	b.run("mailstead", "apply", "--yes")
	b.run("sh", "-e", "/root/mail.sh", "/var/vmail/vera/Maildir", "vmail")
	b.sh(`openssl s_client -connect 127.0.0.1:993 -servername mail.example.org </dev/null 2>/dev/null | openssl x509 >/etc/ssl/own.pem`)
	b.write("/etc/mailstead/proxy.cue", proxyListeners)
	b.run("mailstead", "apply", "--yes")
	b.writesNothing()
	if unit := b.run("systemctl", "cat", "mailstead-login@near.service"); !strings.Contains(unit, "PrivateNetwork=yes\n") {
		t.Errorf("the proxy has the network:\n%s", unit)
	}

	roundcube(b, "127.0.0.1:1144")
	// Each good login gets a kept connection, or one that is kept after it: Roundcube may
	// come back before the last one is in order again, and so may we.
	st := b.proxies()["webmail"]
	for end := time.Now().Add(10 * time.Second); st.Reused+uint64(st.Idle) != st.Logins-st.Refused && time.Now().Before(end); st = b.proxies()["webmail"] {
		time.Sleep(100 * time.Millisecond)
	}
	if st.Reused < 1 || st.Reused+uint64(st.Idle) != st.Logins-st.Refused || st.Refused != 1 || st.Failed != 0 || st.Logins < 4 {
		t.Errorf("after Roundcube: %+v", st)
	}
	beside(b, "127.0.0.1:1145", "127.0.0.1:1146", "vera", "wonder")
	if st := b.proxies()["near"]; st.Reused*10 < st.Logins*9 || st.Stale != 0 {
		t.Errorf("after the pattern of web mail: %+v", st)
	}

	// A reload keeps what is kept; the server's end is nobody's fault.
	b.run("mailstead-imapd", "ctl", "reload")
	if st := b.proxies()["webmail"]; st.Idle == 0 {
		t.Errorf("after a reload: %+v", st)
	}
	b.run("systemctl", "restart", "mailstead-login@imaps.service")
	b.await(func() bool { return b.proxies()["webmail"].Idle == 0 })
	roundcube(b, "127.0.0.1:1144")
}

// proxyCourier stands in front of Courier, which has no UNSELECT.
const proxyCourier = `hosts: "mail.example.org": listeners: near: {address: "127.0.0.1", port: 1146, tls: "none", proxy: {server: "127.0.0.1", port: 143, tls: "none"}}
`

// TestProxyCourier has the real Courier behind the proxy, and imapproxy beside it.
func TestProxyCourier(t *testing.T) {
	if os.Getenv("MAILSTEAD_PROXIED") == "" {
		t.Skip("compares with imapproxy in front of Courier: set MAILSTEAD_PROXIED=200 (pages)")
	}
	b := newBoxOf(t, "courierhost", "proxied")
	b.sh(courierHost + "systemctl stop imapproxy")
	b.write("/root/mail.sh", someMail)
	b.run("sh", "-e", "/root/mail.sh", "/home/alice/Maildir", "alice")
	b.write("/etc/mailstead/host.cue", proxyCourier)
	b.run("mailstead", "apply", "--yes")
	beside(b, "127.0.0.1:143", "127.0.0.1:1146", "alice", "wonder")
	if st := b.proxies()["near"]; st.Reused*10 < st.Logins*9 || st.Stale != 0 {
		t.Errorf("after the pattern of web mail: %+v", st)
	}
	// What is selected is left, and nothing is expunged by that.
	c := b.dial("127.0.0.1:1146")
	fmt.Fprint(c, "a LOGIN alice wonder\r\nb SELECT INBOX\r\nc STORE 1 +FLAGS (\\Deleted)\r\nd LOGOUT\r\n")
	said, _ := io.ReadAll(c)
	contains(t, string(said), "c OK ", "d OK ")
	before := b.proxies()["near"].Reused
	c = b.dial("127.0.0.1:1146")
	fmt.Fprint(c, "a LOGIN alice wonder\r\nb FETCH 1 FLAGS\r\nc STATUS INBOX (MESSAGES)\r\nd LOGOUT\r\n")
	said, _ = io.ReadAll(c)
	contains(t, string(said), "b NO", "(MESSAGES 60)", "c OK ")
	if n := b.proxies()["near"].Reused; n != before+1 {
		t.Errorf("it was another connection: %d and %d", before, n)
	}
}

// proxies is what the daemon says of its proxies, by listener.
func (b *box) proxies() map[string]control.Proxy {
	b.t.Helper()
	var st control.Status
	if err := json.Unmarshal([]byte(b.run("mailstead-imapd", "ctl", "status")), &st); err != nil {
		b.t.Fatal(err)
	}
	all := map[string]control.Proxy{}
	for _, p := range st.Proxies {
		all[p.Listener] = p
	}
	return all
}

// roundcube logs in at a Roundcube that has its mail at address, after a wrong
// password, lists the messages, and reads one.
func roundcube(b *box, address string) {
	b.t.Helper()
	b.sh(`cd /etc/roundcube; sed -i "s|^.config\['imap_host'\].*|\$config['imap_host'] = '` + address + `';|" config.inc.php
chown -R www-data: /var/lib/dbconfig-common/sqlite3/roundcube /var/lib/roundcube/temp /var/lib/roundcube/logs /var/log/roundcube
test -s /var/lib/dbconfig-common/sqlite3/roundcube/roundcube || php -r '(new PDO("sqlite:/var/lib/dbconfig-common/sqlite3/roundcube/roundcube"))->exec(file_get_contents("/usr/share/roundcube/SQL/sqlite.initial.sql"));'
chown -R www-data: /var/lib/dbconfig-common/sqlite3/roundcube
systemctl is-active -q roundcube || systemd-run --quiet --unit=roundcube --uid=www-data php -S 127.0.0.1:8000 -t /var/lib/roundcube/public_html`)
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	web := &http.Client{Jar: jar, Timeout: time.Minute, Transport: &http.Transport{
		DialContext:       func(_ context.Context, _, address string) (net.Conn, error) { return b.dial(address), nil },
		DisableKeepAlives: true,
	}}
	b.await(func() bool { return b.try("", "curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:8000/").code == 0 })
	login := func(password string) string {
		token := match(b, fetch(b, web, "?_task=login", nil), `name="_token" value="([^"]+)"`)
		return fetch(b, web, "?_task=login", url.Values{
			"_token": {token}, "_task": {"login"}, "_action": {"login"}, "_timezone": {"UTC"}, "_url": {""}, "_user": {"vera"}, "_pass": {password},
		})
	}
	if page := login("wrong"); !strings.Contains(page, "Login failed") {
		b.t.Errorf("Roundcube after a wrong password: %.2000s", page)
	}
	page := login("wonder")
	token := match(b, page, `"request_token":"([^"]+)"`)
	list := fetch(b, web, "?_task=mail&_action=list&_mbox=INBOX&_remote=1&_token="+token, nil)
	contains(b.t, list, "Letter 60", "Letter 20")
	uid := match(b, list, `add_message_row\((\d+),`)
	message := fetch(b, web, "?_task=mail&_action=show&_mbox=INBOX&_uid="+uid, nil)
	contains(b.t, message, "The text of letter ")
}

func match(b *box, text, pattern string) string {
	b.t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		b.t.Fatalf("no %s in %.3000s", pattern, text)
	}
	return found[1]
}

func fetch(b *box, web *http.Client, query string, form url.Values) string {
	b.t.Helper()
	address := "http://127.0.0.1:8000/" + query
	var answer *http.Response
	var err error
	if form == nil {
		answer, err = web.Get(address)
	} else {
		answer, err = web.PostForm(address, form)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), `\/`, "/")
}

// beside measures what web mail does directly at a server, through Debian's imapproxy
// and through ours, in turns, and prints the ratios.
func beside(b *box, server, ours, user, password string) {
	b.t.Helper()
	rounds := 30
	if n, err := strconv.Atoi(os.Getenv("MAILSTEAD_PROXIED")); err == nil {
		rounds = n
	}
	_, port, _ := net.SplitHostPort(server)
	b.sh(`sed -i 's/^server_port.*/server_port ` + port + `/; s/^#*listen_address.*/listen_address 127.0.0.1/; s/^server_hostname.*/server_hostname 127.0.0.1/; s/^foreground_mode.*/foreground_mode yes/' /etc/imapproxy.conf
mkdir -p /var/lib/imapproxy/chroot
systemd-run --quiet --unit=beside /usr/sbin/imapproxyd -f /etc/imapproxy.conf`)
	b.await(func() bool { return b.try("", "sh", "-c", "ss -Htln sport = :1143 | grep -q .").code == 0 })
	ways := []struct {
		name, address string
		took          time.Duration
	}{{name: "directly", address: server}, {name: "imapproxy", address: "127.0.0.1:1143"}, {name: "Mailstead's proxy", address: ours}}
	for i := range ways { // what is made once
		pattern(b, ways[i].address, user, password, 3)
	}
	for range 10 {
		for i := range ways {
			ways[i].took += pattern(b, ways[i].address, user, password, rounds/10)
		}
	}
	for _, w := range ways {
		b.t.Logf("%-18s %6.2f ms a page, %.2f of imapproxy's time", w.name, w.took.Seconds()*1000/float64(rounds), w.took.Seconds()/ways[1].took.Seconds())
	}
	b.sh("systemctl stop beside")
}

// pattern does what web mail does for a page, so many times, one after the other: it
// connects, logs in, selects INBOX, fetches the headers of 50 messages, and logs out.
func pattern(b *box, address, user, password string, pages int) time.Duration {
	b.t.Helper()
	var took time.Duration
	for range pages {
		begun := time.Now()
		c := b.dial(address)
		took += page(b.t, c, user, password, begun)
	}
	return took
}

func page(t *testing.T, c net.Conn, user, password string, begun time.Time) time.Duration {
	t.Helper()
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(c)
	until := func(prefix string) {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: %v", prefix, err)
			}
			if strings.HasPrefix(line, prefix) {
				return
			}
		}
	}
	until("* OK")
	for i, command := range []string{
		fmt.Sprintf("LOGIN %s %s", user, password), "SELECT INBOX",
		"FETCH 1:50 (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM TO SUBJECT)])", "LOGOUT",
	} {
		fmt.Fprintf(c, "a%d %s\r\n", i, command)
		until(fmt.Sprintf("a%d OK", i))
	}
	return time.Since(begun)
}

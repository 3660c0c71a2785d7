package main_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"mailstead/reconcile/web"
)

// webbed is a host with the page, under TLS as on the internet.
const webbed = `hosts: "mail.example.org": {
	listeners: imap: {}
	tls: certificates: "mail.example.org": selfSigned: {}
	users: vera: {password: hash: %[1]q, quota: storage: "5GB"}
	folders: {Sent: use: "sent", Trash: use: "trash"}
	logins: {}
	web: {
		address:     "127.0.0.1"
		port:        8443
		certificate: "mail.example.org"
		admins: helpdesk: {hash: %[1]q, totpFile: "/etc/mailstead.helpdesk.totp"}
	}
}
`

const webSecret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

// adminCode is a code of helpdesk's that was not used yet: each is good once.
type adminCode struct {
	t    *testing.T
	last int64
}

func (a *adminCode) next() string {
	a.t.Helper()
	secret, err := web.ParseTOTP(webSecret)
	if err != nil {
		a.t.Fatal(err)
	}
	step := max(time.Now().Unix()/30-1, a.last+1)
	for step > time.Now().Unix()/30+1 {
		time.Sleep(time.Second)
	}
	a.last = step
	return secret.Code(step)
}

// webPage is where the page is inside of the box.
const webPage = "https://127.0.0.1:8443"

// TestWeb has the page served by systemd, and used with a real Chromium in which no
// script runs, and then with one in which they do.
func TestWeb(t *testing.T) {
	t.Parallel()
	b := newBoxOf(t, "clients", "web")
	hash := strings.TrimSpace(b.try("wonder land 1\n", "mailstead", "hash-password").stdout)
	b.write("/etc/mailstead/host.cue", fmt.Sprintf(webbed, hash))
	b.write("/etc/mailstead.helpdesk.totp", webSecret+"\n")
	b.sh("chmod 600 /etc/mailstead.helpdesk.totp")
	b.run("mailstead", "apply", "--yes")
	b.writesNothing()

	w := newBrowser(t, b)
	p := &pictures{t: t, w: w}
	codes := &adminCode{t: t}
	webUser(t, w, p)
	webAdmin(t, b, w, p, codes)
	webScripted(t, b, w, codes)
	if len(w.refused) > 0 {
		t.Errorf("against the policy of the page: %q", w.refused)
	}
	b.writesNothing()
	webConfined(t, b)
}

// webConfined tries what somebody would who has taken the page over, or wants to be it.
func webConfined(t *testing.T, b *box) {
	t.Helper()
	page := strings.TrimSpace(b.run("systemctl", "show", "--value", "-p", "MainPID", "mailstead-web.service"))
	if user := strings.TrimSpace(b.run("ps", "-o", "uid=", "-p", page)); user == "0" || user == "" {
		t.Errorf("the page runs as %q", user)
	}
	if addresses := b.run("nsenter", "-t", page, "-n", "cat", "/proc/net/dev"); strings.Count(addresses, "\n") != 3 {
		t.Errorf("the page has a network:\n%s", addresses)
	}
	as := func(user, script string) string {
		r := b.try("", "runuser", "-u", user, "--", "python3", "-c", script)
		return r.stdout + r.stderr
	}
	for _, file := range []string{"/var/lib/mailstead/users.ndjson", "/var/lib/mailstead/bundles/mail.example.org.pem", "/var/lib/mailstead/applied.json", "/var/lib/mailstead/web/key", "/etc/mailstead/web.json", "/etc/mailstead.helpdesk.totp"} {
		contains(t, as("mailstead-web", fmt.Sprintf("open(%q)", file)), "PermissionError")
	}
	const ask = `
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(%q)
s.sendall(b'{"do": "certificate", "verb": "status"}\n')
print(repr(s.recv(100)))
`
	contains(t, as("mailstead-web", fmt.Sprintf(ask, "/run/mailstead/control")), "PermissionError")
	contains(t, as("mailstead-web", fmt.Sprintf(ask, "/run/mailstead/web")), "pem")
	if out := as("nobody", fmt.Sprintf(ask, "/run/mailstead/web")); strings.Contains(out, "{") {
		t.Errorf("nobody is answered: %s", out)
	}
	contains(t, as("nobody", fmt.Sprintf(ask, "/run/mailstead-web-admin")), "PermissionError")
	contains(t, as("mailstead-login", fmt.Sprintf(ask, "/run/mailstead-web-admin")), "PermissionError")
}

// webUser is what a user does.
func webUser(t *testing.T, w *browser, p *pictures) {
	t.Helper()
	w.open(webPage + "/")
	contains(t, w.text(), "Password of your mail")
	w.send("/login", map[string]string{"name": "vera", "password": "wrong"})
	contains(t, w.text(), "Authentication failed.")
	w.send("/login", map[string]string{"name": "vera", "password": "wonder land 1"})
	contains(t, w.text(), "this page")
	contains(t, w.text(), "of 5.0 GB")
	w.send("/account/app", map[string]string{"name": "phone", "password": "wonder land 1"})
	contains(t, w.text(), "Nobody can show it again")
	p.take("web-phone", 390, 844, true)
	w.send("/account/app/revoke", nil)
	contains(t, w.text(), "is good no more")
	w.send("/account/password", map[string]string{"password": "wonder land 1", "new": "wonder land 2", "again": "wonder land 2"})
	contains(t, w.text(), "Your password is changed")
	w.open(webPage + "/account/settings")
	contains(t, w.text(), "mail.example.org")
	w.open(webPage + "/account")
	w.send("/logout", nil)
	w.send("/login", map[string]string{"name": "vera", "password": "wonder land 2"})
	contains(t, w.text(), "Your account")
	w.send("/logout", nil)
	w.open(webPage + "/account")
	contains(t, w.text(), "Password of your mail")
}

// webAdmin is what an admin does.
func webAdmin(t *testing.T, b *box, w *browser, p *pictures, codes *adminCode) {
	t.Helper()
	w.open(webPage + "/admin")
	code := codes.next()
	w.send("/admin/login", map[string]string{"name": "helpdesk", "password": "wonder land 1", "code": code})
	contains(t, w.text(), "Certificates as served")
	contains(t, w.text(), "364")
	p.take("web-status", 1000, 640, false)
	w.open(webPage + "/admin/users")
	w.send("/admin/propose", map[string]string{"user": "walter", "password": "a long password", "storage": "5 gigs"})
	w.shows("is no amount of storage")
	w.send("/admin/propose", map[string]string{"password": "a long password", "storage": "1GB"}) // walter is there
	w.shows("maildir/walter")
	p.take("web-plan", 1000, 900, true)
	w.send("/admin/apply", map[string]string{"code": code})
	w.shows("was used before")
	w.open(webPage + "/admin/users")
	w.send("/admin/propose", map[string]string{"user": "walter", "password": "a long password", "storage": "1GB"})
	w.shows("maildir/walter")
	b.write("/etc/mailstead/more.cue", `hosts: "mail.example.org": keep: "14d"`)
	w.send("/admin/apply", map[string]string{"code": codes.next()})
	w.shows("the description was edited since")
	b.run("rm", "/etc/mailstead/more.cue")
	w.open(webPage + "/admin/users")
	w.send("/admin/propose", map[string]string{"user": "walter", "password": "a long password", "storage": "1GB"})
	w.shows("maildir/walter")
	again := codes.next()
	busy(b)
	w.send("/admin/apply", map[string]string{"code": again})
	w.shows("Comparing the host with the plan.") // and what comes of it without a script, too
	w.shows("Applied")
	b.run("python3", "-c", fmt.Sprintf(webSession, "a program"))
	w.open(webPage + "/admin/sessions")
	contains(t, w.text(), "walter")
	w.send("/admin/sessions", map[string]string{"user": "vera"})
	contains(t, w.text(), "Nobody is logged in as vera.")
	w.open(webPage + "/admin/sessions?user=walter")
	contains(t, w.text(), "1 session of walter")
	w.send("/admin/sessions/end", nil)
	contains(t, w.text(), "is ended")
	contains(t, w.text(), "Sessions of all users")
	b.await(func() bool { return b.sh("cat /run/ended") != "" })
	w.open(webPage + "/admin/users/walter")
	contains(t, w.text(), "of 1.0 GB")
	w.open(webPage + "/admin/history")
	contains(t, w.text(), "helpdesk, at the web page")
	w.open(webPage + "/admin/drift")
	contains(t, w.text(), "The host is as its description says.")
	w.send("/logout", nil)
	w.open(webPage + "/admin")
	w.send("/admin/login", map[string]string{"name": "helpdesk", "password": "wonder land 1", "code": code})
	contains(t, w.text(), "wrong") // a code is good once
}

// busy has the next apply wait for some seconds.
func busy(b *box) { b.sh("setsid flock /var/lib/mailstead/lock sleep 6 </dev/null >/dev/null 2>&1 &") }

// hostileProgram is what a mail program says that it is, in the hope that an admin looks.
const hostileProgram = `<b hx-get=/ hx-trigger=load>"'<img src=x onerror=title=1>`

// webScripted is what is better where scripts run. Nothing of it leads to another page
// but where a person does, which a variable of the first one shows.
func webScripted(t *testing.T, b *box, w *browser, codes *adminCode) {
	t.Helper()
	w.scripts(true)
	w.open(webPage + "/admin")
	w.send("/admin/login", map[string]string{"name": "helpdesk", "password": "wonder land 1", "code": codes.next()})
	w.open(webPage + "/admin/sessions")
	w.eval("window.stays = 'here'")
	contains(t, w.text(), "Nobody is logged in")
	b.run("python3", "-c", fmt.Sprintf(webSession, hostileProgram))
	w.shows(hostileProgram) // by itself
	if got := w.eval("document.querySelectorAll('#live img, #live b').length + document.title"); got != "0Sessions – mail.example.org" {
		t.Errorf("what a program has said makes something of its own: %q", got)
	}

	w.press("/admin/sessions/end", nil) // and no
	time.Sleep(time.Second)
	if ended := b.sh("cat /run/ended"); ended != "" || len(w.asked) != 1 || !strings.HasPrefix(w.asked[0], "End the session of walter from 127.0.0.1") {
		t.Errorf("ended %q, asked %q", ended, w.asked)
	}
	w.yes = true
	w.press("/admin/sessions/end", nil)
	w.shows("is ended")
	b.await(func() bool { return b.sh("cat /run/ended") != "" })
	w.shows("Nobody is logged in")
	if stays := w.eval("window.stays + window.location.pathname + Object.keys(sessionStorage) + localStorage.length"); stays != "here/admin/sessionshtmx-current-path-for-history0" {
		t.Errorf("another page, or something is kept of it: %s", stays)
	}

	w.open(webPage + "/admin/users/walter")
	w.send("/admin/propose", map[string]string{"storage": "2GB"})
	w.shows("Apply this plan")
	again := codes.next()
	busy(b)
	w.send("/admin/apply", map[string]string{"code": again})
	w.shows("Comparing the host with the plan.")
	w.eval("window.stays = 'here'")
	w.shows("changes made")
	if stays := w.eval("window.stays + document.title"); stays != "hereApplied – mail.example.org" {
		t.Errorf("another page: %s", stays)
	}

	w.open(webPage + "/admin/sessions?user=vera")
	const live = "document.querySelector('#live').innerText"
	first := w.eval(live)
	b.await(func() bool { return w.eval(live) != first })
	contains(t, w.eval(live), "Nobody is logged in as vera.") // and not of all, once it has refreshed itself

	webAway(t, b, w)
	w.open(webPage + "/login")
	w.send("/login", map[string]string{"name": "vera", "password": "wonder land 2"})
	w.send("/account/app", map[string]string{"name": "tablet", "password": "wonder land 2"})
	w.press("/account/app/revoke", nil)
	w.shows("is good no more")
	contains(t, w.asked[len(w.asked)-1], "Revoke the app password tablet?")
}

// webAway has first nobody look at the status, and then the page be away.
func webAway(t *testing.T, b *box, w *browser) {
	t.Helper()
	// What nobody looks at is not kept up to date, but for what was on its way.
	w.open(webPage + "/admin")
	show := w.hide()
	time.Sleep(13 * time.Second)
	const live = "document.querySelector('#live').innerText"
	hidden := w.eval(live)
	time.Sleep(13 * time.Second)
	if again := w.eval(live + " + document.hidden"); again != hidden+"true" {
		t.Errorf("refreshed while hidden: %s, before %s", again, hidden)
	}
	show()
	w.eval("document.querySelector('[aria-label=Certificates]').focus()")
	b.await(func() bool { return w.eval(live) != hidden })
	if at := w.eval("document.activeElement.id"); at != "certificates" {
		t.Errorf("the keyboard was at the certificates, and is at %q", at)
	}

	// While the page is away what is shown stays, and says of when it is; then nobody is
	// logged in any more, and the whole page is that of the login.
	b.run("systemctl", "stop", "mailstead-web.socket", "mailstead-web.service")
	time.Sleep(15 * time.Second)
	contains(t, w.text(), "Certificates as served")
	b.run("systemctl", "start", "mailstead-web.socket", "mailstead-web.service")
	w.shows("Code from your app")
	if got := w.eval("location.pathname + document.querySelectorAll('nav, script').length"); got != "/admin/login0" {
		t.Errorf("the login is %s", got)
	}
}

// webSession logs in as walter, and stays in the background until it is ended.
const webSession = `
import os, socket, ssl, sys
open("/run/ended", "w").close()
s = socket.create_connection(("127.0.0.1", 143))
s.recv(4096)
s.sendall(b"a STARTTLS\r\n")
s.recv(4096)
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
s = context.wrap_socket(s)
name = %q.encode()
s.sendall(b'b ID ("name" {%%d+}\r\n%%s)\r\n' %% (len(name), name))
if b"b OK" not in s.recv(4096):
    sys.exit(1)
s.sendall(b'a LOGIN walter "a long password"\r\n')
if b"a OK" not in s.recv(4096):
    sys.exit(1)
if os.fork() > 0:
    os._exit(0)
null = os.open("/dev/null", os.O_RDWR)
for fd in range(3):
    os.dup2(null, fd)
while s.recv(4096):
    pass
open("/run/ended", "w").write("ended")
`

// pictures are those of docs/, taken anew where that is asked for.
type pictures struct {
	t *testing.T
	w *browser
}

func (p *pictures) take(name string, width, height int, dark bool) {
	p.t.Helper()
	data := p.w.shot(width, height, dark)
	if wide := p.w.eval("document.documentElement.scrollWidth"); wide != fmt.Sprint(width) {
		p.t.Errorf("%s is %s wide on a screen of %d", name, wide, width)
	}
	if parted := p.w.eval("[...document.querySelectorAll('.one')].filter(e => e.getClientRects().length > 1).length"); parted != "0" {
		p.t.Errorf("%s has %s dates in parts", name, parted)
	}
	if len(data) > 100<<10 {
		p.t.Errorf("%s has %d octets", name, len(data))
	}
	if os.Getenv("MAILSTEAD_UPDATE") == "1" {
		if err := os.WriteFile("../../docs/"+name+".png", data, 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
}

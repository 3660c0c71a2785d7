package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// needs is what the blocks of a page need. The scripts are run before them.
type needs struct {
	here string // without root
	host string // on a host
	part string // of the lab, that this host is; "": root
}

// pages are those with blocks that are run.
var pages = map[string]needs{
	"certbot.md":   {host: certified},
	"ci.md":        {host: strings.ReplaceAll(served, "mail.example.org", "mx1.example.org") + reached},
	"clients.md":   {host: served + more(`profiles: submission: server: "smtp.example.org"`)},
	"courier.md":   {host: courierHost, part: "courierhost"},
	"delivery.md":  {host: served + more(`deliver: {}`)},
	"diagnosis.md": {host: served},
	"dovecot.md":   {host: dovecot},
	"editors.md":   {host: served},
	"facts.md":     {host: served},
	"import.md":    {host: served + elsewhere},
	"logins.md":    {host: served},
	"metrics.md":   {host: served + "mkdir -p /etc/prometheus\n"},
	"recovery.md":  {host: served},
	"retention.md": {host: served},
	"start.md":     {},
	"users.md":     {host: served},
}

// served is a host that serves the mail of alice, who has a message.
const served = `
useradd -m -s /bin/bash alice; echo alice:wonder | chpasswd
mkdir -p /etc/mailstead
cat >/etc/mailstead/host.cue <<'X'
hosts: "mail.example.org": {
	listeners: imap: {}
	listeners: imaps: {}
	tls: certificates: "mail.example.org": selfSigned: {}
	users: alice: {}
	folders: {Sent: use: "sent", Trash: use: "trash", Junk: use: "junk"}
	keep: "14d"
	logins: {}
}
X
mailstead apply --yes >/dev/null
printf 'From: me@example.org\nSubject: hello\nMessage-ID: <20260301.7@example.org>\n\nIt works.\n' >hello.eml
curl -sSk --user alice:wonder --upload-file hello.eml imaps://127.0.0.1/INBOX
`

// dovecot is a host as Dovecot leaves it: alice's message has the UID 7.
const dovecot = `
useradd -m -s /bin/bash alice; echo alice:wonder | chpasswd
runuser -u alice -- sh -c 'mkdir -p ~/Maildir/cur ~/Maildir/new ~/Maildir/tmp; chmod -R go= ~/Maildir
printf "Subject: hello\n\nIt works.\n" >~/Maildir/cur/1700000000.M1P1.mail,S=26:2,S
printf "3 V1700000000 N8 G0123456789abcdef0123456789abcdef\n7 :1700000000.M1P1.mail,S=26\n" >~/Maildir/dovecot-uidlist'
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /etc/ssl/mail.key -out /etc/ssl/mail.pem -days 90 -subj /CN=mail.example.org -addext subjectAltName=DNS:mail.example.org 2>/dev/null
cat >doveconf.txt <<'X'
# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf
mail_location = maildir:~/Maildir
passdb {
  driver = pam
}
protocols = imap
service imap-login {
  inet_listener imap {
    port = 143
  }
  inet_listener imaps {
    port = 993
    ssl = yes
  }
}
ssl = required
ssl_cert = </etc/ssl/mail.pem
ssl_key = </etc/ssl/mail.key
userdb {
  driver = passwd
}
X
`

// reached is how whoever has the description in hosts gets to the host: over ssh, as an
// account that becomes root by sudo.
const reached = `
mkdir -p /run/sshd ~/.ssh; chmod 700 ~/.ssh
ssh-keygen -A >/dev/null; ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519
cp ~/.ssh/id_ed25519.pub ~/.ssh/authorized_keys
systemd-run -q --unit=mailstead-test-sshd -p KillMode=process /usr/sbin/sshd -D -e
for u in deploy plan; do useradd -o -u 0 -d /root $u; done
printf '#!/bin/sh\n[ "$1 $2" = "-n --" ] && shift 2 && exec "$@"\n' >/usr/local/bin/sudo; chmod 755 /usr/local/bin/sudo
echo 127.0.0.1 mx1.example.org >>/etc/hosts
until ssh-keyscan -t ed25519 mx1.example.org 2>/dev/null >~/.ssh/known_hosts && [ -s ~/.ssh/known_hosts ]; do sleep 0.1; done
cp -r /etc/mailstead hosts
`

// elsewhere has another account of alice's on a server that everybody trusts.
const elsewhere = `
echo wonder >old.password
hash=$(mailstead hash-password <old.password)
cat >/etc/mailstead/old.cue <<X
hosts: "mail.example.org": {
	tls: certificates: "mail.example.net": selfSigned: {}
	users: "alice@example.net": password: hash: "$hash"
}
X
mailstead apply --yes >/dev/null
echo 127.0.0.1 mail.example.net >>/etc/hosts
openssl x509 -in /var/lib/mailstead/bundles/mail.example.net.pem -out /usr/local/share/ca-certificates/old.crt && update-ca-certificates >/dev/null
curl -sSk --user alice@example.net:wonder --upload-file hello.eml imaps://127.0.0.1/INBOX
`

// certified is a host with an ACME server that certbot asks, and that asks nothing.
const certified = acme + `
cd
mkdir -p /etc/letsencrypt /etc/mailstead
printf 'server = https://localhost:14000/dir\nagree-tos\nregister-unsafely-without-email\nnon-interactive\nno-random-sleep-on-renew\n' >/etc/letsencrypt/cli.ini
export REQUESTS_CA_BUNDLE=/root/pebble/ca.pem
useradd -m -s /bin/bash alice
cat >/etc/mailstead/host.cue <<'X'
` + single + `X
`

// more has the host do something else besides.
func more(field string) string {
	return "echo 'hosts: \"mail.example.org\": " + field + "' >/etc/mailstead/more.cue; mailstead apply --yes >/dev/null\n"
}

// recorded are pages that are held to the truth by tests of their own.
var recorded = map[string]string{"session.md": "TestSession"}

// mostNotRun is how many blocks of all pages together are not run.
const mostNotRun = 0

// allPages are the names of all pages.
func allPages(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(list) < 15 {
		t.Fatalf("%d pages: %v", len(list), err)
	}
	for i, p := range list {
		list[i] = filepath.Base(p)
	}
	return slices.DeleteFunc(list, func(p string) bool { return recorded[p] != "" })
}

var (
	// inScript matches where a block says by which script it is run, byTest by which test.
	inScript = regexp.MustCompile(`^in ([a-z_]+\.txtar)$`)
	byTest   = regexp.MustCompile(`^by (Test\w+)$`)
)

// TestPagesAreRun: what a page shows to be typed is run by a test, or says why not.
func TestPagesAreRun(t *testing.T) {
	notRun := 0
	for _, name := range allPages(t) {
		for _, f := range fences(t, name) {
			_, known := pages[name]
			reason, not := strings.CutPrefix(f.how, "not run: ")
			switch {
			case !f.shown() && slices.Contains([]string{"", "bash", "shell", "text"}, f.lang) && typed.MatchString(f.text):
				t.Errorf("%s: commands stand in blocks of sh or console", f)
			case !f.shown():
			case not && len(reason) < 10:
				t.Errorf("%s: not run, for what reason?", f)
			case not:
				notRun++
			case inScript.MatchString(f.how):
				script, err := os.ReadFile("testdata/script/" + inScript.FindStringSubmatch(f.how)[1])
				if err != nil || !strings.Contains(string(script), "\nblock "+name+" ") {
					t.Errorf("%s: is run by no such script: %v", f, err)
				}
			case byTest.MatchString(f.how):
				if test := byTest.FindStringSubmatch(f.how)[1]; !takes(t, test, name) {
					t.Errorf("%s: %s takes no block from it", f, test)
				}
			case f.how != "" && f.how != "host":
				t.Errorf("%s: %q does not say where it is run (page_test.go)", f, f.how)
			case !known:
				t.Errorf("%s: docs/%s is not in the table of pages_test.go", f, name)
			}
		}
		text, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range setIn.FindAllString(outside(string(text)), -1) {
			t.Errorf("docs/%s: %q is to be typed: commands stand in fenced blocks of sh or console", name, strings.TrimSpace(line))
		}
	}
	if notRun > mostNotRun {
		t.Errorf("%d blocks are not run, %d may be", notRun, mostNotRun)
	}
}

var (
	// typed matches a line that somebody is to type.
	typed = regexp.MustCompile(`(?m)^[ \t]*(\$ |# )?(sudo )?(mailstead|systemctl|certbot|ssh) `)
	// setIn matches one in a paragraph that is set in.
	setIn = regexp.MustCompile(`(?m)^(    |\t)(\$ )?(sudo )?(mailstead|systemctl|certbot|ssh) .*$`)
)

// takes tells whether a test runs blocks of a page itself.
func takes(t *testing.T, test, page string) bool {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(text), "\nfunc "+test+"(t ") && strings.Contains(string(text), `blocksOf(t, "`+page+`")`)
	})
}

// outside is a page without its fenced blocks.
func outside(text string) string {
	return regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(text, "")
}

// stepsOf are those of the blocks that are run on a host, or here, with the files
// that the page has.
func stepsOf(t *testing.T, name, how string) []step {
	var steps []step
	commands := false
	for _, f := range fences(t, name) {
		if f.shown() && f.how == how || f.file() != "" {
			steps, commands = append(steps, f.steps()...), commands || f.shown()
		}
	}
	if !commands {
		return nil
	}
	return steps
}

// TestPagesAreFound: the index names every page.
func TestPagesAreFound(t *testing.T) {
	index, err := os.ReadFile("../../docs/README.md")
	if err != nil {
		t.Fatal(err)
	}
	all, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(all) < 20 {
		t.Fatalf("%d pages: %v", len(all), err)
	}
	for _, page := range all {
		if name := filepath.Base(page); name != "README.md" && !strings.Contains(string(index), "]("+name+")") {
			t.Errorf("docs/README.md does not name %s", name)
		}
	}
}

// TestPagesHere runs what needs no root.
func TestPagesHere(t *testing.T) {
	for name, p := range pages {
		if steps := stepsOf(t, name, ""); steps != nil {
			t.Run(name, func(t *testing.T) { runHere(t, p.here, steps) })
		}
	}
}

// forgotten makes a host one on which Mailstead never was.
const forgotten = `
systemctl stop 'mailstead-*.socket' 'mailstead-*.timer' 'mailstead-*.path'
systemctl stop 'mailstead-*'
rm -rf /etc/systemd/system/mailstead* /etc/systemd/system/*.wants/mailstead* /var/lib/mailstead /etc/mailstead /run/mailstead* /etc/pam.d/mailstead \
	/etc/letsencrypt /var/lib/letsencrypt /var/vmail /root/* /root/.ssh /usr/local/bin/sudo
sed -i /example/d /etc/hosts; sed -i '/^deploy:/d; /^plan:/d' /etc/passwd /etc/shadow
systemctl daemon-reload
systemctl reset-failed
for u in alice bob mailstead mailstead-login vmail; do userdel -r $u; done
true
`

// TestPagesOnHost runs what needs a host, one page after the other.
func TestPagesOnHost(t *testing.T) {
	t.Parallel()
	b := newBox(t, "pages")
	b.bring(t, "cue")
	for name, p := range pages {
		steps := stepsOf(t, name, "host")
		if steps == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			on := b
			if p.part != "" {
				on = newBoxOf(t, p.part, "page")
			}
			on.t = t
			on.try("", "sh", "-c", forgotten)
			on.runPage(p.host, steps)
		})
	}
	b.t = t
}

// bring builds a program of a library's and puts it beside ours.
func (b *box) bring(t *testing.T, program string) {
	t.Helper()
	version, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "cuelang.org/go").Output()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "install", "cuelang.org/go/cmd/"+program+"@"+strings.TrimSpace(string(version)))
	cmd.Env = append(os.Environ(), "GOBIN="+filepath.Join(b.root(), "usr/local/bin"), "GOFLAGS=-trimpath", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

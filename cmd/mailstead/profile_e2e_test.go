package main_test

import (
	"fmt"
	"strings"
	"testing"
)

// profiled is a host whose folders have names that no program would guess, with a
// listener for a webmail beside it.
const profiled = `hosts: "mail.example.org": {
	listeners: {
		imap: {}
		imaps: {}
		webmail: {address: "127.0.0.1", port: 1143, tls: "none"}
	}
	tls: certificates: "mail.example.org": selfSigned: {}
	users: vera: password: hash: %q
	folders: {
		Gesendet: use: "sent"
		Entwürfe: use: "drafts"
		Verdacht: use: "junk"
		Papierkorb: use: "trash"
		Versendet: {}
	}
	profiles: {
		submission: server: "smtp.example.org"
		sign: "mail.example.org"
		dir: "/srv/www/profiles"
	}
}
`

const roundcubeConfig = `<?php
$config = [
	'db_dsnw' => 'sqlite:////root/roundcube.db?mode=0600',
	'imap_host' => '127.0.0.1:1143', 'smtp_host' => '127.0.0.1:25',
	'des_key' => '0123456789abcdef01234567', 'plugins' => [], 'skin' => 'elastic', 'language' => 'en_US',
	'log_driver' => 'stdout', 'temp_dir' => '/tmp',
];
`

// roundcubeLogin logs in, as a browser would.
const roundcubeLogin = `
page() { curl -sS -b /root/jar -c /root/jar "$@"; }
token() { sed -n 's/.*name="_token" value="\([^"]*\)".*/\1/p' | head -n 1; }
base=http://127.0.0.1:8000/
login() {
	rm -f /root/jar
	t=$(page "$base" | token)
	page -o /dev/null -w '%{http_code} %{redirect_url}\n' --data-urlencode "_token=$t" -d '_task=login&_action=login&_user=vera' --data-urlencode '_pass=wonder land 1' "$base?_task=login" >/root/login
	grep -q '^302 .*_task=mail' /root/login
}
folders() { page "$base?_task=settings&_action=edit-prefs&_section=folders"; }
`

// chosenFolder finds which folder a select has chosen.
const chosenFolder = `import re, sys, html
text = sys.stdin.read()
for name in ("drafts", "sent", "junk", "trash"):
    select = re.search(r'<select[^>]*name="_%s_mbox".*?</select>' % name, text, re.S).group(0)
    print(name, html.unescape(re.search(r'<option value="([^"]*)" selected', select).group(1)))
`

// TestProfiles has a signed profile checked by OpenSSL on the host itself, and a real
// Roundcube find the folders by their uses, and change one of them for every client.
func TestProfiles(t *testing.T) {
	t.Parallel()
	b := newBoxOf(t, "clients", "profiles")
	hash := strings.TrimSpace(b.try("wonder land 1\n", "mailstead", "hash-password").stdout)
	b.write("/etc/mailstead/host.cue", fmt.Sprintf(profiled, hash))
	b.run("mailstead", "apply", "--yes")
	b.writesNothing()
	profilesOf(b)

	b.write("/etc/roundcube/config.inc.php", roundcubeConfig)
	b.write("/root/chosen.py", chosenFolder)
	b.sh(`sqlite3 /root/roundcube.db < /usr/share/roundcube/SQL/sqlite.initial.sql
systemd-run -q --unit roundcube php -S 127.0.0.1:8000 -t /var/lib/roundcube
for i in $(seq 100); do curl -sf -o /dev/null http://127.0.0.1:8000/ && exit 0; sleep .1; done; exit 1`)
	if got, want := b.sh(roundcubeLogin+"login; folders | python3 /root/chosen.py"), "drafts Entw&APw-rfe\nsent Gesendet\njunk Verdacht\ntrash Papierkorb\n"; got != want {
		t.Errorf("Roundcube uses\n%swant\n%s", got, want)
	}
	b.sh(roundcubeLogin + `login
t=$(folders | token)
page -o /dev/null --data-urlencode "_token=$t" -d '_task=settings&_action=save-prefs&_section=folders&_show_real_foldernames=1&_sent_mbox=Versendet&_junk_mbox=Verdacht&_trash_mbox=Papierkorb' --data-urlencode '_drafts_mbox=Entw&APw-rfe' "$base?_task=settings&_action=save-prefs"`)
	said := b.run("curl", "-sS", "-u", "vera:wonder land 1", "imap://127.0.0.1:1143/", "-X", `LIST (SPECIAL-USE) "" "*"`)
	contains(t, said, `\Sent) "." "Versendet"`)
	if strings.Contains(said, "Gesendet") {
		t.Errorf("the use of the folder before is still told: %s", said)
	}
	contains(t, b.sh(roundcubeLogin+"login; folders | python3 /root/chosen.py"), "sent Versendet\n")
	contains(t, b.run("curl", "-sS", "-u", "vera:wonder land 1", "imap://127.0.0.1:1143/", "-X", `XLIST "" "V*"`), `\Junk \Spam) "." "Verdacht"`)
}

// profilesOf looks at what the host tells mail programs.
func profilesOf(b *box) {
	b.t.Helper()
	b.run("mailstead", "profile", "vera", "-o", "/root/vera.mobileconfig")
	b.sh("openssl cms -verify -inform DER -in /root/vera.mobileconfig -CAfile /var/lib/mailstead/bundles/mail.example.org.pem -purpose any -binary -out /root/vera.plist")
	contains(b.t, b.run("python3", "-c", `import plistlib; print(plistlib.load(open("/root/vera.plist", "rb"))["PayloadContent"][0])`), "'EmailAddress': 'vera@example.org'")
	contains(b.t, b.run("cat", "/srv/www/profiles/example.org/srv.zone"), "\n_imaps._tcp          IN SRV  0 1   993 mail.example.org.\n")
	b.run("python3", "-c", `import xml.etree.ElementTree as e
for name in "config-v1.1", "autodiscover": e.parse("/srv/www/profiles/example.org/" + name + ".xml")`)
	// An edit is drift; without dir, the files go.
	b.sh("echo more >> /srv/www/profiles/example.org/srv.zone")
	contains(b.t, b.run("mailstead", "plan"), "/srv/www/profiles/example.org/srv.zone")
	b.sh(`sed -i '/dir: "\/srv/d' /etc/mailstead/host.cue`)
	b.run("mailstead", "apply", "--yes")
	b.exit(1, "test", "-e", "/srv/www/profiles/example.org")
}

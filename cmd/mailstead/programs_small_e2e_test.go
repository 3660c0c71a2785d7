package main_test

import (
	"os"
	"strings"
	"testing"
)

const nora = "nora@example.org"

// without fails if a search finds something.
func without(t *testing.T, b *box, mailbox, key string) {
	t.Helper()
	if said := b.asked(nora, mailbox, "SEARCH "+key); strings.TrimSpace(said) != "* SEARCH" {
		t.Errorf("%s: %q", key, said)
	}
}

func withNeoMutt(t *testing.T, b *box) {
	b.delivered(nora, "neo1")
	b.delivered(nora, "neo2")
	b.write("/root/neomuttrc", `set folder="imaps://nora@example.org@mail.example.org/"
set imap_user="nora@example.org"
set imap_pass="vulcan"
set spoolfile="+INBOX"
set trash="+Papierkorb"
set header_cache="/root/neocache"
set ssl_ca_certificates_file="/root/ca.pem"
set imap_condstore=yes imap_qresync=yes imap_deflate=yes imap_idle=yes
set confirmcreate=no confirmappend=no copy=no delete=yes quit=yes wait_key=no sleep_time=0 mark_old=no
`)
	const keys = `push <tag-pattern>~sneo<enter><tag-prefix><copy-message>/root/neo.mbox<enter><untag-pattern>~A<enter>` +
		`<limit>~sneo1<enter><flag-message><limit>~sneo2<enter><delete-message><sync-mailbox><quit>`
	b.sh(`timeout 60 env TERM=xterm COLUMNS=80 LINES=24 script -qec "neomutt -F neomuttrc -n -e '` + keys + `'" /dev/null >/dev/null </dev/null`)
	contains(t, b.run("cat", "/root/neo.mbox"), "body of neo1", "body of neo2")
	contains(t, b.asked(nora, "INBOX", "SEARCH FLAGGED SUBJECT neo1"), "* SEARCH ")
	without(t, b, "INBOX", "SUBJECT neo2")
	contains(t, b.asked(nora, "Papierkorb", "SEARCH SUBJECT neo2"), "* SEARCH ")
}

func withOfflineIMAP(t *testing.T, b *box) {
	b.delivered(nora, "off1")
	b.write("/root/offlineimaprc", `[general]
accounts = a
[Account a]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = /root/off
[Repository far]
type = IMAP
remotehost = mail.example.org
remoteuser = nora@example.org
remotepass = vulcan
ssl = yes
sslcacertfile = /root/ca.pem
usecompression = yes
`)
	const run = "timeout 80 offlineimap -o -u quiet -c /root/offlineimaprc"
	b.sh(run)
	contains(t, b.sh("ls off"), "Papierkorb\n", "Entw&APw-rfe\n")
	b.sh(`rm "$(grep -l 'body of off1' off/INBOX/*/*)"
printf 'Subject: off2\nMessage-ID: <off2@example.org>\n\nnear\n' > off/INBOX/cur/1.near:2,FS
` + run)
	contains(t, b.asked(nora, "INBOX", "SEARCH FLAGGED SEEN SUBJECT off2"), "* SEARCH ")
	without(t, b, "INBOX", "SUBJECT off1")
}

func withGetmail(t *testing.T, b *box) {
	b.delivered(nora, "get1")
	b.write("/root/getmailrc", `[retriever]
type = SimpleIMAPSSLRetriever
server = mail.example.org
username = nora@example.org
password = vulcan
mailboxes = ("INBOX",)
ca_certs = /root/ca.pem
[destination]
type = Maildir
path = /srv/got/
`)
	b.sh(`mkdir -p /srv/got/cur /srv/got/new /srv/got/tmp; chown -R nobody /srv/got; chmod 755 /root
HOME=/srv/got setpriv --reuid nobody --regid nogroup --clear-groups timeout 80 getmail --getmaildir /srv/got --rcfile /root/getmailrc`)
	contains(t, b.sh("cat /srv/got/new/*"), "body of get1")
}

func withFetchmail(t *testing.T, b *box) {
	b.delivered(nora, "fetched")
	b.write("/root/fetchmailrc", `poll mail.example.org protocol IMAP user "nora@example.org" password "vulcan" sslproto TLS1.2+ sslcertck sslcertfile /root/ca.pem keep fetchall mda "/bin/sh -c 'cat >>/root/fetched'"
`)
	b.sh(`hostname localhost; chmod 600 fetchmailrc; timeout 80 fetchmail -v -f fetchmailrc >said 2>&1 || { cat said >&2; exit 1; }`)
	contains(t, b.sh("cat fetched said"), "body of fetched", "STARTTLS")
}

func withPerl(t *testing.T, b *box) {
	b.delivered(nora, "perl1")
	script, err := os.ReadFile("testdata/programs/imapclient.pl")
	if err != nil {
		t.Fatal(err)
	}
	b.write("/root/imapclient.pl", string(script))
	b.run("perl", "imapclient.pl", nora, "vulcan")
	contains(t, b.asked(nora, "Papierkorb", "SEARCH KEYWORD work SUBJECT perl2"), "* SEARCH ")
}

package main_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// TestClients drives the daemon of a booted host with the mail clients that
// people use: a system user through PAM and a virtual user by a hash.
func TestClients(t *testing.T) {
	t.Parallel()
	b := newBox(t, "clients")
	b.sh(`useradd -m -s /bin/bash alice; echo alice:wonder | chpasswd`)
	hash := strings.TrimSpace(b.sh(`printf 'vulcan\n' | mailstead hash-password`))
	b.write("/etc/mailstead/host.cue", `hosts: "mail.example.org": {
	listeners: {imap: {}, imaps: {}}
	tls: certificates: "mail.example.org": files: {certificate: "/etc/ssl/mail.pem", key: "/etc/ssl/mail.key"}
	users: {
		alice: {}
		"vera@example.org": password: hash: "`+hash+`"
	}
	folders: {Sent: use: "sent", Trash: use: "trash"}
}
`)
	b.sh(signed("mail.example.org"))
	b.exit(0, "mailstead", "apply", "--yes")

	client := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { b.t = t; defer func() { b.t = nil }(); f(t) })
		b.t = t
	}
	client("curl", func(t *testing.T) {
		b.write("/root/one.eml", "From: a@example.org\r\nTo: b@example.org\r\nSubject: one\r\n\r\nfirst body\r\n")
		b.run("curl", "-sS", "--cacert", "ca.pem", "-u", "alice:wonder", "-T", "one.eml", "imaps://mail.example.org/INBOX")
		b.run("curl", "-sS", "--cacert", "ca.pem", "-u", "vera@example.org:vulcan", "-T", "one.eml", "imap://mail.example.org/INBOX", "--ssl-reqd")
		contains(t, b.run("curl", "-sS", "--cacert", "ca.pem", "-u", "alice:wonder", "imaps://mail.example.org/INBOX;MAILINDEX=1"), "first body")
	})
	client("openssl", func(t *testing.T) {
		out := b.sh(`printf 'a login alice wonder\r\nb status INBOX (MESSAGES)\r\nc logout\r\n' | openssl s_client -quiet -verify_return_error -verify_hostname mail.example.org -CAfile ca.pem -starttls imap -connect 127.0.0.1:143 2>/dev/null`)
		contains(t, out, "a OK", "MESSAGES 1", "c OK")
	})
	client("imaplib", func(t *testing.T) {
		b.run("python3", "-c", `
import imaplib, ssl
c = imaplib.IMAP4_SSL("mail.example.org", 993, ssl_context=ssl.create_default_context(cafile="ca.pem"))
c.login("alice", "wonder")
assert c.create("Work.2026")[0] == "OK"
c.select()
typ, data = c.fetch("1", "(UID FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[TEXT])")
assert b"first body" in data[0][1], data
assert c.copy("1", "Work.2026")[0] == "OK"
assert c.store("1", "+FLAGS", r"(\Flagged Work)")[0] == "OK"
assert c.search(None, "KEYWORD", "work")[1] == [b"1"]
assert c.logout()[0] == "BYE"
`)
	})
	client("mbsync", func(t *testing.T) {
		b.write("/root/mbsyncrc", `IMAPAccount a
Host mail.example.org
User alice
Pass wonder
SSLType IMAPS
CertificateFile /root/ca.pem

IMAPStore far
Account a

MaildirStore near
Path /root/near/
Inbox /root/near/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
`)
		b.sh("mkdir -p near && mbsync -c mbsyncrc c")
		b.sh(`printf 'Subject: two\n\nsecond body\n' > near/INBOX/new/2.1.x && mbsync -c mbsyncrc c`)
		contains(t, b.run("curl", "-sS", "--cacert", "ca.pem", "-u", "alice:wonder", "imaps://mail.example.org/INBOX;MAILINDEX=2"), "second body")
		b.run("mbsync", "-c", "mbsyncrc", "c") // settles the flags
		state := func() string {
			return b.sh("find near -type f -not -name .mbsyncstate -printf '%p %s %T@\n' | sort") +
				b.run("curl", "-sS", "--cacert", "ca.pem", "-u", "alice:wonder", "imaps://mail.example.org/", "-X", "STATUS INBOX (MESSAGES UIDNEXT UNSEEN)")
		}
		before := state()
		contains(t, before, "MESSAGES 2")
		b.run("mbsync", "-c", "mbsyncrc", "c")
		if after := state(); after != before {
			t.Errorf("one more run of mbsync transferred:\n%s", lineDiff(before, after))
		}
	})
	client("mutt", func(t *testing.T) {
		b.write("/root/muttrc", `set folder="imaps://alice@mail.example.org/"
set spoolfile="+INBOX"
set imap_pass="wonder"
set ssl_ca_certificates_file="/root/ca.pem"
set ssl_starttls=yes confirmcreate=no confirmappend=no copy=no quit=yes wait_key=no sleep_time=0
`)
		b.sh(`timeout 20 env TERM=xterm COLUMNS=80 LINES=24 script -qec "mutt -F muttrc -n -e 'push <tag-pattern>~A<enter><tag-prefix><copy-message><kill-line>/root/out.mbox<enter><quit>'" /dev/null >/dev/null`)
		contains(t, b.run("cat", "out.mbox"), "first body", "second body")
	})
	client("go-imap", func(t *testing.T) {
		pem, err := os.ReadFile(filepath.Join(b.root(), "root/ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		c, err := imapclient.NewStartTLS(b.dial("127.0.0.1:143"), &imapclient.Options{
			TLSConfig: &tls.Config{RootCAs: pool, ServerName: "mail.example.org"},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		goIMAP(t, c)
	})
}

// signed is the shell's way to a certificate for these names, which are this host's
// too, and to the authority that has signed it, /root/ca.pem.
func signed(names ...string) string {
	return `cd /root
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=ca -addext basicConstraints=critical,CA:TRUE 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /etc/ssl/mail.key -out srv.csr -subj /CN=` + names[0] + ` 2>/dev/null
printf 'subjectAltName=DNS:` + strings.Join(names, ",DNS:") + `' > ext
openssl x509 -req -in srv.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out /etc/ssl/mail.pem -extfile ext 2>/dev/null
chmod 600 /etc/ssl/mail.key
echo '127.0.0.1 ` + strings.Join(names, " ") + `' >> /etc/hosts`
}

// goIMAP is a session of go-imap's client as the virtual user vera.
func goIMAP(t *testing.T, c *imapclient.Client) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.Login("vera@example.org", "vulcan").Wait())
	for _, want := range []imap.Cap{imap.CapMove, imap.CapUIDPlus, imap.CapESearch, imap.CapIdle, imap.CapSpecialUse, imap.CapListStatus} {
		if !c.Caps().Has(want) {
			t.Errorf("no capability %s", want)
		}
	}
	list, err := c.List("", "*", &imap.ListOptions{ReturnSpecialUse: true, ReturnStatus: &imap.StatusOptions{NumMessages: true}}).Collect()
	must(err)
	uses := map[string]string{}
	for _, l := range list {
		for _, a := range l.Attrs {
			if a == imap.MailboxAttrSent || a == imap.MailboxAttrTrash {
				uses[l.Mailbox] = string(a)
			}
		}
	}
	if uses["Sent"] != `\Sent` || uses["Trash"] != `\Trash` {
		t.Errorf("special uses: %v", uses)
	}
	body := []byte("Subject: three\r\n\r\nthird body\r\n")
	add := c.Append("Sent", int64(len(body)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen}})
	_, err = add.Write(body)
	must(err)
	must(add.Close())
	appended, err := add.Wait()
	must(err)
	_, err = c.Select("Sent", nil).Wait()
	must(err)
	section := &imap.FetchItemBodySection{Peek: true}
	messages, err := c.Fetch(imap.UIDSetNum(appended.UID), &imap.FetchOptions{
		Envelope: true, Flags: true, RFC822Size: true, BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
		BodySection: []*imap.FetchItemBodySection{section},
	}).Collect()
	must(err)
	if len(messages) != 1 || messages[0].Envelope.Subject != "three" || !bytes.Equal(messages[0].FindBodySection(section), body) || messages[0].RFC822Size != int64(len(body)) {
		t.Fatalf("fetched %+v", messages)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{Body: []string{"THIRD"}}, &imap.SearchOptions{ReturnAll: true}).Wait()
	must(err)
	if uids := found.AllUIDs(); len(uids) != 1 || uids[0] != appended.UID {
		t.Errorf("search found %v", uids)
	}
	moved, err := c.Move(imap.UIDSetNum(appended.UID), "Trash").Wait()
	must(err)
	if moved.DestUIDs.String() == "" {
		t.Errorf("move without COPYUID: %+v", moved)
	}
	must(c.Logout().Wait())
}

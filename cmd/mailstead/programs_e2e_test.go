package main_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// programmed is a host whose folders have names that no program would guess, and whose
// web page tells programs of it.
const programmed = `hosts: "mail.example.org": {
	listeners: {imap: {}, imaps: {}}
	tls: certificates: "mail.example.org": files: {certificate: "/etc/ssl/mail.pem", key: "/etc/ssl/mail.key"}
	users: "vera@example.org": password: hash: %[1]q
	users: "tom@example.org": password: hash: %[1]q
	users: "nora@example.org": password: hash: %[1]q
	folders: {Gesendet: use: "sent", "Entwürfe": use: "drafts", Verdacht: use: "junk", Papierkorb: use: "trash", Archiv: use: "archive"}
	profiles: submission: server: "smtp.example.org"
	deliver: {}
	logins: {}
	web: {address: "127.0.0.1", port: 443, certificate: "mail.example.org"}
}
`

// sink is the server for outgoing mail, which lets everybody in and throws all away.
const sink = `import socket, ssl, threading
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain("/etc/ssl/mail.pem", "/etc/ssl/mail.key")
listener = socket.create_server(("127.0.0.1", 465))
def serve(c):
    f = tls.wrap_socket(c, server_side=True).makefile("rwb", buffering=0)
    f.write(b"220 sink\r\n")
    for line in f:
        word = line[:4].upper()
        if word == b"DATA":
            f.write(b"354 go on\r\n")
            while f.readline() != b".\r\n": pass
        f.write({b"EHLO": b"250-sink\r\n250 AUTH PLAIN\r\n", b"AUTH": b"235 in\r\n"}.get(word, b"250 so be it\r\n"))
while True: threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
`

// TestPrograms has the mail programs of Debian that differ in what they use of IMAP do
// what people do with them.
func TestPrograms(t *testing.T) {
	if os.Getenv("MAILSTEAD_PROGRAMS") == "" {
		t.Skip("needs Thunderbird and other mail programs (.ci/lab DIR programs): set MAILSTEAD_PROGRAMS=1")
	}
	b := newBoxOf(t, "programs", "programs")
	hash := strings.TrimSpace(b.try("vulcan\n", "mailstead", "hash-password").stdout)
	b.write("/etc/mailstead/host.cue", fmt.Sprintf(programmed, hash))
	b.sh(signed("mail.example.org", "autoconfig.example.org", "smtp.example.org"))
	b.exit(0, "mailstead", "apply", "--yes")
	b.write("/root/sink.py", sink)
	b.sh("systemd-run -q --unit=sink python3 /root/sink.py; systemd-run -q --unit=traced -p StandardOutput=file:/root/trace mailstead trace --user vera@example.org")

	for _, program := range []struct {
		name string
		use  func(*testing.T, *box)
	}{
		{"Thunderbird", withThunderbird}, {"NeoMutt", withNeoMutt}, {"OfflineIMAP", withOfflineIMAP},
		{"getmail", withGetmail}, {"fetchmail", withFetchmail}, {"Mail::IMAPClient", withPerl},
	} {
		t.Run(program.name, func(t *testing.T) { b.t = t; program.use(t, b) })
		b.t = t
	}
	if said := b.run("journalctl", "-q", "-p", "warning", "-u", "mailstead*", "-o", "cat"); said != "" {
		t.Errorf("the daemon has something against it:\n%s", said)
	}
}

// delivered puts a message with that subject into somebody's INBOX.
func (b *box) delivered(user, subject string) {
	b.t.Helper()
	if r := b.try(fmt.Sprintf("From: a@example.org\nSubject: %s\nMessage-ID: <%[1]s@example.org>\n\nbody of %[1]s\n", subject), "mailstead-deliver", user); r.code != 0 {
		b.t.Fatal(r.stderr)
	}
}

// asked is what curl is answered as a user.
func (b *box) asked(user, mailbox, command string) string {
	b.t.Helper()
	return b.run("curl", "-sS", "--cacert", "ca.pem", "-u", user+":vulcan", "imaps://mail.example.org/"+mailbox, "-X", command)
}

// comes waits until curl is answered that and nothing else.
func (b *box) comes(want, user, mailbox, command string) {
	b.t.Helper()
	said := ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if said = strings.TrimSpace(b.asked(user, mailbox, command)); said == want {
			return
		}
	}
	b.t.Errorf("%s in %s: %q, want %q", command, mailbox, said, want)
}

func withThunderbird(t *testing.T, b *box) {
	const vera, tom = "vera@example.org", "tom@example.org"
	w := newThunderbird(t, b)
	w.gives(vera+" mail.example.org 993", "add", vera, "vulcan")
	w.gives("Archiv:Archive Entwürfe:Drafts Gesendet:SentMail Inbox:Inbox Papierkorb:Trash Verdacht:Junk", "listed", vera)

	// What is delivered shows by IDLE alone, all of it at once.
	b.sh(`for i in $(seq 100); do mailstead explain-session --user vera@example.org | grep -q 'doing *IDLE' && exit 0; sleep .1; done; exit 1`)
	for _, subject := range []string{"one", "two", "three", "four"} {
		b.delivered(vera, subject)
	}
	for _, subject := range []string{"one", "two", "three", "four"} {
		w.gives("unread plain", "shown", vera, "INBOX", subject)
	}
	w.gives("body of one", "text", vera, "INBOX", "one")
	w.gives("three two", "search", vera, "INBOX", "Body", "body of t")

	w.do("mark", vera, "INBOX", "two", "$label1 work")
	b.comes("* SEARCH 2", vera, "INBOX", "SEARCH FLAGGED SEEN KEYWORD $label1 KEYWORD work")
	b.asked(vera, "INBOX", `STORE 3 +FLAGS (\Flagged later)`)
	w.gives("flagged later", "becomes", vera, "INBOX", "three", "flagged later")

	w.gives("done", "write", vera, "sent", "nsMsgDeliverNow")
	w.gives("done", "write", vera, "draft", "nsMsgSaveAsDraft")
	w.gives("done", "remove", vera, "INBOX", "four")
	w.gives("done", "move", vera, "INBOX", "one", "Archiv")
	w.gives("Größe & Co", "create", vera, "", "Größe & Co")
	w.gives("below", "create", vera, "Größe & Co", "below")
	w.gives("done", "move", vera, "INBOX", "two", "below")
	for mailbox, want := range map[string]string{
		"INBOX": "three", "Gesendet": "sent", "Entw%26APw-rfe": "draft", "Papierkorb": "four", "Archiv": "one", "Gr%26APYA3w-e%20%26-%20Co.below": "two",
	} {
		b.comes("* SEARCH 1", vera, mailbox, "SEARCH ALL")
		b.comes("* SEARCH 1", vera, mailbox, "SEARCH SUBJECT "+want)
	}
	names := b.sh(`find /var/vmail/vera@example.org/Maildir -maxdepth 1 -type d -name '.*' -printf '%f\n' | LC_ALL=C sort`)
	if want := ".Archiv\n.Entwürfe\n.Gesendet\n.Größe & Co\n.Größe & Co.below\n.Papierkorb\n.Verdacht\n"; names != want {
		t.Errorf("the folders are\n%swant\n%s", names, want)
	}

	w.gives(tom+" mail.example.org 143", "add", tom, "vulcan", map[string]any{"port": 143, "socketType": 2})
	b.delivered(tom, "one")
	w.gives("unread plain", "shown", tom, "INBOX", "one")
	contains(t, b.run("mailstead", "explain-session", "--user", tom), "Thunderbird 140", "imap from", "TLS 1.3")
	contains(t, b.run("cat", "/root/trace"), "COMPRESS DEFLATE", "xlist ", "return (special-use)", "ENABLE UTF8=ACCEPT", "authenticate PLAIN", "uid move", "uid store")
}

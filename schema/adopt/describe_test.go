package adopt

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"mailstead/schema"
)

// load is the Check of the command: it loads the files.
func load(t *testing.T, text Description) schema.Diagnostics {
	t.Helper()
	dir := t.TempDir()
	for name, data := range map[string][]byte{CUEName: text.CUE, UsersName: text.Users} {
		if data == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := schema.Load(schema.Options{Inputs: []string{dir}})
	var faults schema.Diagnostics
	if err != nil && !errors.As(err, &faults) {
		t.Fatal(err)
	}
	return faults
}

const hash = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"

// describe reads a host of Courier's and gives its description, which must load.
func describe(t *testing.T, files map[string]string, mails map[string]*Mail) (string, string) {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	h, trash, err := ReadCourier(fsys, "mail.example.org")
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range h.Users {
		if m := mails[u.Name]; m != nil {
			u.Found(m)
		}
	}
	text, err := h.Describe(trash, func(d Description) schema.Diagnostics { return load(t, d) })
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, text.CUE, text.Users)
	}
	if faults := load(t, text); len(faults) > 0 {
		t.Fatalf("%s\n%s", faults.Text(0), text.CUE)
	}
	return string(text.CUE), string(text.Users)
}

func contains(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in:\n%s", w, text)
		}
	}
}

func TestDescribe(t *testing.T) {
	cue, users := describe(t, map[string]string{
		"etc/passwd": "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\nvmail:x:5000:5000::/srv/mail:/bin/false\ncarl:x:1002:1002::/home/carl:/bin/sh\n",
		"etc/courier/imapd": `ADDRESS=192.0.2.1
PORT=143,127.0.0.1.1143
MAXDAEMONS=80
IMAP_CAPABILITY="IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA"
IMAP_MOVE_EXPUNGE_TO_TRASH=1
IMAP_TRASHFOLDERNAME=Papierkorb
OUTBOX=.Outbox
ODD=1
`,
		"etc/courier/imapd-ssl":    "SSLPORT=993\nIMAP_TLS_REQUIRED=1\nTLS_PRIORITY='SECURE:-VERS-ALL:+VERS-TLS1.3'\n",
		"etc/courier/authdaemonrc": "authmodulelist=\"authpam authuserdb authldap\"\n",
		"etc/courier/userdb": "vera@example.org\tuid=5000|gid=5000|home=/srv/mail/vera@example.org|quota=5000000S,100C|systempw=" + hash + "\n" +
			"zara@example.org\tuid=5000|gid=5000|home=/srv/mail/zara@example.org|quota=lots|systempw=" + hash + "\n" +
			"wim@example.org\tuid=5001|gid=5000|home=/srv/mail/wim@example.org|systempw=" + hash + "\n" +
			"cram@example.org\tuid=5000|gid=5000|home=/srv/mail/cram@example.org|hmac-md5pw=abcd\n" +
			"walt@example.org\tuid=5000|gid=5000|home=/srv/mail/walt@example.org|systempw=$1$abcdefgh$abcdefghijklmnopqrstuv\n" +
			"xeno@example.org\tuid=5000|gid=5000|home=/elsewhere/x|systempw=" + hash + "\n" +
			"yves@example.org\tuid=5000|gid=5000|home=/srv/mail/yves@example.org|systempw=" + hash + "|options=disableimap=1\n",
	}, map[string]*Mail{
		"alice": {Folders: []Folder{{Name: "INBOX", Messages: 1}, {Name: "Sent", Messages: 3}, {Name: "Sent Messages", Messages: 200}, {Name: "Papierkorb"}, {Name: "Trash"}, {Name: "Bad/Name"}}, Subscribed: []string{"Sent Messages", "Papierkorb"}},
		"bob":   {Folders: []Folder{{Name: "INBOX"}, {Name: "Sent Messages", Newest: 5}, {Name: "Sent", Newest: 9}}, Subscribed: []string{"Sent"}},
		"carl":  {Missing: true, Maildir: "/home/carl/Maildir"},

		"vera@example.org": {Folders: []Folder{{Name: "Spam", Messages: 3}, {Name: "Junk", Messages: 2}}},
	})
	contains(t, cue, `imap: {address: "192.0.2.1", capabilities: off: ["IDLE"]} // /etc/courier/imapd:1 ADDRESS=192.0.2.1; /etc/courier/imapd:4 IMAP_CAPABILITY=`,
		`"imap-2": {address: "127.0.0.1", port: 1143,`, "/etc/courier/imapd:3 MAXDAEMONS=80: ", `expunge: "trash" // /etc/courier/imapd:5 IMAP_MOVE_EXPUNGE_TO_TRASH=1`,
		`tls: policy: "modern" // /etc/courier/imapd-ssl:3 TLS_PRIORITY=`, `outbox: folder: "Outbox"`, "ODD=1: no option", "authldap: who is in there cannot be told",
		`"Sent Messages": {use: "sent"}`, "sent: Sent Messages (200) rather than Sent (3): it has the most messages",
		`"Papierkorb": {use: "trash"}`, "trash: Papierkorb (0) rather than Trash (0): the first by custom",
		"sent: Sent (0) rather than Sent Messages (0): it has the newest message", "left out: carl: there is no /home/carl/Maildir",
		`// "vera@example.org": junk: Spam (3) rather than Junk (2): it has the most messages`, `mail: root: "/srv/mail"`, `logins: weak: ["MD5-CRYPT"] // 1 with MD5-CRYPT, from /etc/courier/userdb:5 on`, "that of most virtual users below /srv/mail: move it there", "disableimap=1")
	contains(t, users, `"vera@example.org": {"password": {"hash": "`+hash+`"}, "quota": {"storage": "5MB", "messages": 100}`)
	contains(t, cue, "quota=lots is no quota", "all virtual users' mail has one owner (/etc/courier/userdb:3)", "for CRAM alone", "directories: courier: authdaemon")
	contains(t, users, `"walt@example.org": {"password": {"hash": "$1$`)
	if strings.Contains(cue, hash) || strings.Contains(cue, "$1$abc") || strings.Contains(users, "xeno") || strings.Contains(users, "yves") {
		t.Errorf("a hash in CUE, or a user who was to be left out:\n%s\n%s", cue, users)
	}
}

// The Maildir is the one of the service that is enabled.
func TestDescribeMaildirPath(t *testing.T) {
	for name, tc := range map[string]struct {
		plain, ssl string
		units      []string
		want       string
		differ     bool
	}{
		"143 alone":              {"MAILDIRPATH=Mail", "MAILDIRPATH=Maildir", []string{"courier-imap"}, `alice: {maildir: "Mail"}`, false},
		"143 alone, set for 993": {"", "MAILDIRPATH=Mail", []string{"courier-imap"}, `alice: {maildir: "Mail"}`, false},
		"993 alone":              {"MAILDIRPATH=Maildir", "MAILDIRPATH=./Mail", []string{"courier-imap-ssl"}, `alice: {maildir: "Mail"}`, false},
		"993 alone, set for 143": {"MAILDIRPATH=Mail", "", []string{"courier-imap-ssl"}, `alice: {maildir: "Mail"}`, false},
		"both, and the same":     {"MAILDIRPATH=Mail", "MAILDIRPATH=./Mail", []string{"courier-imap", "courier-imap-ssl"}, `alice: {maildir: "Mail"}`, false},
		"both, and not the same": {"MAILDIRPATH=Mail", "MAILDIRPATH=Post", []string{"courier-imap", "courier-imap-ssl"}, `alice: {maildir: "Post"}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{
				"etc/passwd":               "alice:x:1000:1000::/home/alice:/bin/sh\n",
				"etc/courier/imapd":        "PORT=143\n" + tc.plain + "\n",
				"etc/courier/imapd-ssl":    "SSLPORT=993\n" + tc.ssl + "\n",
				"etc/courier/authdaemonrc": "authmodulelist=authpam\n",
			}
			for _, unit := range tc.units {
				files["etc/systemd/system/multi-user.target.wants/"+unit+".service"] = ""
			}
			cue, _ := describe(t, files, nil)
			contains(t, cue, tc.want)
			if told := strings.Contains(cue, "/etc/courier/imapd:2 MAILDIRPATH=Mail: the port 143 had this Maildir, and 993 the one of /etc/courier/imapd-ssl:2 MAILDIRPATH=Post"); told != tc.differ {
				t.Errorf("that they differ is told: %v\n%s", told, cue)
			}
		})
	}
}

// Who had mail and cannot log in is named, and daemons are not.
func TestDescribeSmallUIDs(t *testing.T) {
	files := map[string]string{
		"etc/passwd": "daemon:x:1:1::/usr/sbin:/usr/sbin/nologin\nold:x:501:501::/home/old:/bin/sh\nbare:x:502:502::/home/bare:/bin/sh\n" +
			"alice:x:1000:1000::/home/alice:/bin/sh\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n",
		"home/old/Maildir/cur/1700000000.M1P1.h:2,S": "",
		"home/bare/.profile":                         "",
		"etc/courier/imapd":                          "PORT=143\n",
		"etc/courier/authdaemonrc":                   "authmodulelist=authpam\n",
	}
	courier, _ := describe(t, files, map[string]*Mail{"old": {Maildir: "/home/old/Maildir"}})
	dovecot, _ := describeDovecot(t, "mail_location = maildir:~/Maildir\npassdb {\n  driver = pam\n}\n", files)
	for _, cue := range []string{courier, dovecot} {
		contains(t, cue, "left out: old: its uid is 501: only accounts from 1000 up log in", "(/etc/passwd:2)", "alice: {}")
		for _, name := range []string{"daemon: ", "bare: ", "nobody: ", "\t\told: "} {
			if strings.Contains(cue, name) {
				t.Errorf("%q is in:\n%s", name, cue)
			}
		}
	}
}

// Addresses that Courier refused may connect, which is said.
func TestDescribeAccess(t *testing.T) {
	files := map[string]string{
		"etc/courier/imapd":              "PORT=143\nIMAPACCESSFILE=/etc/courier/imapaccess\n",
		"etc/courier/imapaccess/default": "# *\tdeny\n10\tallow\n192.168\tallow,X=1\n",
	}
	if cue, _ := describe(t, files, nil); strings.Contains(cue, "imapaccess") {
		t.Errorf("a rule is named, and none refuses anybody:\n%s", cue)
	}
	files["etc/courier/imapaccess/system"] = "10\tallow\n*\tdeny\n"
	cue, _ := describe(t, files, nil)
	contains(t, cue, "/etc/courier/imapaccess/system:2", "addresses that Courier refused may connect here")
}

// What is off is what Courier did not announce to clients that have TLS, as those have
// who log in.
func TestDescribeCapabilitiesUnderTLS(t *testing.T) {
	const short = "IMAP_CAPABILITY='" + courierWords + "'\nIMAP_CAPABILITY_TLS='IMAP4rev1 UIDPLUS CHILDREN NAMESPACE SORT QUOTA IDLE AUTH=PLAIN'\n"
	const off = `capabilities: off: ["THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES"]} // `
	for name, tc := range map[string]struct {
		imapd, ssl string
		want       []string
	}{
		"less under TLS":       {short, "", []string{"imap: {" + off + "/etc/courier/imapd:2 IMAP_CAPABILITY_TLS=", "imaps: {" + off + "/etc/courier/imapd:2 IMAP_CAPABILITY_TLS="}},
		"less under TLS alone": {"ADDRESS=127.0.0.1\n" + short, "IMAPDSTARTTLS=NO\n", []string{`imap: {address: "127.0.0.1", tls: "none"} //`, "imaps: {" + off}},
		"less without TLS":     {"IMAP_CAPABILITY='IMAP4rev1 UIDPLUS'\nIMAP_CAPABILITY_TLS='" + courierWords + " AUTH=PLAIN'\n", "", []string{"imap: {}\n", "imaps: {}\n"}},
		"empty under TLS":      {"IMAP_CAPABILITY='" + strings.TrimSuffix(courierWords, " IDLE") + "'\nIMAP_CAPABILITY_TLS=\n", "", []string{`imap: {capabilities: off: ["IDLE"]} // /etc/courier/imapd:1 IMAP_CAPABILITY=`, `imaps: {capabilities: off: ["IDLE"]}`}},
		"the same under TLS":   {"IMAP_CAPABILITY='" + strings.TrimSuffix(courierWords, " IDLE") + "'\nIMAP_CAPABILITY_TLS=\"$IMAP_CAPABILITY AUTH=PLAIN\"\n", "", []string{`imaps: {capabilities: off: ["IDLE"]} // /etc/courier/imapd:1 IMAP_CAPABILITY=`}},
	} {
		t.Run(name, func(t *testing.T) {
			cue, _ := describe(t, map[string]string{"etc/courier/imapd": tc.imapd, "etc/courier/imapd-ssl": "SSLPORT=993\n" + tc.ssl}, nil)
			contains(t, cue, tc.want...)
		})
	}
}

// Virtual users' mail is taken over where it is, whatever lies between.
func TestDescribeLayouts(t *testing.T) {
	const rest = "|uid=5000|gid=5000|systempw=" + hash + "\n"
	for name, tc := range map[string]struct {
		userdb string
		want   []string
	}{
		"a directory for each domain": {
			"vera@example.org\thome=/srv/vmail/example.org/vera" + rest + "walt@example.net\thome=/srv/vmail/example.net/walt" + rest,
			[]string{`mail: root: "/srv/vmail"`, `"maildir": "example.org/vera/Maildir"`, `"maildir": "example.net/walt/Maildir"`},
		},
		"one domain, and the home is the Maildir": {
			"vera@example.org\thome=/srv/vmail/example.org/vera|mail=/srv/vmail/example.org/vera" + rest + "walt@example.org\thome=/srv/vmail/example.org/walt|mail=." + rest,
			[]string{`mail: root: "/srv/vmail"`, `"maildir": "example.org/vera"`, `"maildir": "example.org/walt"`},
		},
		"one user": {
			"vera@example.org\thome=/var/vmail/vera" + rest,
			[]string{`"maildir": "vera/Maildir"`},
		},
		"where we have it": {
			"vera@example.org\thome=/var/vmail/vera@example.org" + rest,
			[]string{`"vera@example.org": {"password": {"hash": "` + hash + `"}}`},
		},
		"below a directory of the system": {
			"vera@example.org\thome=/srv/vera" + rest,
			[]string{`left out: mail: root: "/srv": is a directory of the system`, `left out: "vera@example.org": it cannot be said where the mail is`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			cue, users := describe(t, map[string]string{
				"etc/passwd":               "vmail:x:5000:5000::/nonexistent:/bin/false\n",
				"etc/courier/imapd":        "PORT=143\n",
				"etc/courier/authdaemonrc": "authmodulelist=authuserdb\n",
				"etc/courier/userdb":       tc.userdb,
			}, nil)
			contains(t, cue+users, tc.want...)
		})
	}
}

// In front of another server imapproxy becomes a proxy; in front of Courier here none
// is needed.
func TestDescribeImapproxy(t *testing.T) {
	for conf, want := range map[string]string{
		"listen_port 1143\nlisten_address 127.0.0.1\n":                                                 `imapproxy: {address: "127.0.0.1", port: 1143, tls: "none"}`,
		"listen_port 1143\nserver_hostname mail.example.org\nserver_port 143\n":                        `imapproxy: {address: "127.0.0.1", port: 1143, tls: "none"}`,
		"listen_port 1143\nserver_hostname IMAP.example.net\n":                                         `imapproxy: {address: "127.0.0.1", port: 1143, tls: "none", proxy: {server: "imap.example.net", tls: "starttls"}}`,
		"listen_port 1143\nserver_hostname 192.0.2.7\nserver_port 1430\ntls_ca_file /etc/ssl/ca.pem\n": `proxy: {server: "192.0.2.7", port: 1430, tls: "starttls", ca: "/etc/ssl/ca.pem"}}`,
		"listen_port 1143\nserver_port 1430\ncache_size 50\ncache_expiration_time 5000\n":              `proxy: {server: "127.0.0.1", port: 1430, tls: "none"}}`,
	} {
		cue, _ := describe(t, map[string]string{"etc/courier/imapd": "PORT=143\n", "etc/imapproxy.conf": conf}, nil)
		contains(t, cue, want)
		if own := !strings.Contains(want, "proxy: {server"); own != strings.Contains(cue, "imapproxy needs no successor") {
			t.Errorf("what becomes of it is not said:\n%s", cue)
		}
		if strings.Contains(conf, "cache_size 50") {
			contains(t, cue, "limits: proxyKept: 50", "limits: proxyKeptTime: 1700")
		}
	}
}

// Passwords that other options hold are in no comment.
func TestDescribeSecrets(t *testing.T) {
	cue, _ := describe(t, map[string]string{"etc/courier/imapd": "PORT=143\n", "etc/imapproxy.conf": "listen_port 1143\nauth_shared_secret hunter2\nauth_sasl_plain_password hunter2\n"}, nil)
	contains(t, cue, "auth_shared_secret=(secret)")
	if strings.Contains(cue, "hunter2") {
		t.Error(cue)
	}
	cue, _ = describeDovecot(t, "doveadm_password = hunter2\nmail_location = maildir:~/Maildir\n", nil)
	if strings.Contains(cue, "hunter2") {
		t.Error(cue)
	}
}

// A policy is what several users have, and nobody gets a folder that was not there.
func TestDescribePolicies(t *testing.T) {
	mail := func(names ...string) *Mail {
		m := &Mail{}
		for _, n := range names {
			m.Folders = append(m.Folders, Folder{Name: n, Messages: 1})
		}
		return m
	}
	passwd, mails := "", map[string]*Mail{}
	for i, m := range []*Mail{mail("Sent", "Trash"), mail("Sent", "Trash"), mail("Sent"), mail()} {
		name := fmt.Sprintf("u%d", i)
		passwd += fmt.Sprintf("%s:x:%d:%d::/home/%s:/bin/sh\n", name, 1000+i, 1000+i, name)
		mails[name] = m
	}
	cue, _ := describe(t, map[string]string{"etc/passwd": passwd, "etc/courier/imapd": "", "etc/courier/authdaemonrc": "authmodulelist=authpam\n"}, mails)
	contains(t, cue, `"found-1": folders: {"Sent": {use: "sent", subscribe: false}, "Trash": {use: "trash", subscribe: false}} // 2 users have these`,
		`u0: {policy: "found-1"}`, `u2: {folders: {"Sent": {use: "sent", subscribe: false}}}`, "u3: {} //")
}

// TestDescribeHostile: whatever files and mail say, what is written loads.
func TestDescribeHostile(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 1))
	words := []string{"", "0", "143", "993", "127.0.0.1", "::1", "x\ty", "\"", "\\(hosts)", "\u2028", "\xff\xfe", "*/", "// ", "}", "{", "#", "$6$x", hash, "INBOX", "Trash", "Sent", "a.b", "..", "/", "/etc", "/home/a", "Ä", "\u202e", "true", "_x", "if", "99999", "-1", "1,2,3", "127.0.0.1.143,144", strings.Repeat("long", 300), "IDLE", "IMAP4rev1"}
	word := func() string {
		var b strings.Builder
		for range 1 + random.IntN(2) {
			b.WriteString(words[random.IntN(len(words))])
		}
		return b.String()
	}
	line := func() string { return strings.NewReplacer("\n", "", "'", "", "\r", "", "\x00", "").Replace(word()) }
	kept, left := 0, 0
	t.Logf("seed %d", seed)
	for range 60 {
		files := map[string]string{}
		for _, p := range []program{imapd, imapdSSL, authdaemon, imapproxy} {
			text := ""
			for _, o := range table {
				if o.program != p || random.IntN(3) > 0 {
					continue
				}
				switch p {
				case imapproxy:
					text += o.name + " x" + line() + "\n"
				default:
					text += o.name + "='" + line() + "'\n"
				}
			}
			files[strings.TrimPrefix(string(p), "/")] = text
		}
		files["etc/courier/authdaemonrc"] = "authmodulelist='authpam authuserdb " + strings.ReplaceAll(line(), "#", "") + "'\n"
		passwd, userdb := "", ""
		for i := range 6 {
			passwd += strings.ReplaceAll(line(), ":", "") + fmt.Sprintf("%d:x:%d:%d::%s:\n", i%4, 998+i, i, strings.ReplaceAll(line(), ":", ""))
			name := strings.ReplaceAll(line(), "\t", "") + fmt.Sprint(i%4)
			userdb += strings.TrimLeft(name, "#") + "\tuid=5000|home=/srv/" + strings.ReplaceAll(line(), "|", "") + "|systempw=" + strings.ReplaceAll(line(), "|", "") + "|mail=" + line() + "\n"
		}
		files["etc/passwd"], files["etc/courier/userdb"] = passwd, userdb
		mails := map[string]*Mail{}
		for _, a := range append(readPasswd("", []byte(passwd)), func() []account { l, _ := readUserdb("", []byte(userdb)); return l }()...) {
			m := &Mail{Maildir: word()}
			for range random.IntN(6) {
				m.Folders = append(m.Folders, Folder{Name: word(), Messages: random.IntN(3)})
				m.Subscribed = append(m.Subscribed, word())
			}
			mails[a.name] = m
		}
		cue, _ := describe(t, files, mails)
		kept += strings.Count(cue, "folders, ")
		left += strings.Count(cue, "// left out: ")
	}
	if kept == 0 || left == 0 {
		t.Errorf("%d users were kept, and %d things left out", kept, left)
	}
}

// TestQuotaFields takes Courier's quotas over to the octet.
func TestQuotaFields(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "0S": "", "5000000S,1000C": `"storage": "5MB", "messages": 1000`, "5368709120S": `"storage": "5368709.120kB"`,
		"1S": `"storage": "0.001kB"`, "2000000000S": `"storage": "2GB"`, "10C": `"messages": 10`, "123000S": `"storage": "123kB"`,
	} {
		if got, ok := quotaFields(text); got != want || !ok {
			t.Errorf("%q: %q %v", text, got, ok)
		}
	}
	for _, text := range []string{"5", "5GB", "-1S", "S", ",x", "9999999999999999999S", "5S;C"} {
		if got, ok := quotaFields(text); ok {
			t.Errorf("%q: %q", text, got)
		}
	}
}

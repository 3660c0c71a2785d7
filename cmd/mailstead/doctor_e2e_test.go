package main_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// findings are the codes and subjects of errors and warnings that doctor reports.
func (b *box) findings(args ...string) (codes []string, text string) {
	b.t.Helper()
	r := b.try("", append([]string{"mailstead", "doctor", "-o", "json"}, args...)...)
	var report struct {
		Findings []struct{ Code, Severity, Subject, Seen, Remedy string }
	}
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		b.t.Fatalf("doctor ends with %d: %v\n%s%s", r.code, err, r.stdout, r.stderr)
	}
	for _, f := range report.Findings {
		text += f.Severity + " " + f.Code + " " + f.Subject + ": " + f.Seen + " | " + f.Remedy + "\n"
		if f.Severity != "note" && !slices.Contains(codes, f.Code) {
			codes = append(codes, f.Code)
		}
	}
	if want := map[bool]int{true: 8, false: 0}[len(codes) > 0]; r.code != want {
		b.t.Errorf("doctor ends with %d, want %d:\n%s", r.code, want, text)
	}
	return codes, text
}

// finds wants doctor to find those codes and no other, and to say that.
func (b *box) finds(want, says []string) {
	b.t.Helper()
	codes, text := b.findings()
	for _, code := range want {
		if !slices.Contains(codes, code) {
			b.t.Errorf("no %s", code)
		}
	}
	for _, code := range codes {
		if !slices.Contains(want, code) {
			b.t.Errorf("%s is not what was done", code)
		}
	}
	if contains(b.t, text, says...); b.t.Failed() {
		b.t.Log(text)
	}
}

// healthy is a host with an address of its own, a trusted certificate, and somebody
// to renew it.
const healthy = `
useradd -m -s /bin/bash alice; echo alice:wonder | chpasswd
ip addr add 192.0.2.7/32 dev lo
echo 192.0.2.7 mail.example.org >> /etc/hosts
` + acme + certonly + `
cp root.pem /usr/local/share/ca-certificates/pebble.crt; update-ca-certificates >/dev/null 2>&1
rm -f /etc/systemd/system/certbot.timer /etc/systemd/system/certbot.service # which the lab masks
systemctl daemon-reload; systemctl start certbot.timer
`

// garbled offers STARTTLS, and has no TLS.
var garbled = strings.Replace(squatter, "AUTH=PLAIN", "STARTTLS LOGINDISABLED", 1)

// squatter answers on port 143 as an IMAP server that takes passwords before TLS,
// and has none.
const squatter = `systemctl stop mailstead-imap.socket mailstead-login@imap.service
systemd-run -q --unit=squatter python3 -c '
import socket
s = socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("::", 143)); s.listen()
while True:
    c = s.accept()[0]
    try:
        c.sendall(b"* OK hello\r\n")
        for line in c.makefile("rb"):
            tag = line.split()[0]
            if b"STARTTLS" in line: c.sendall(tag + b" OK\r\n"); c.recv(1); c.sendall(b"220 hello\r\n"); break
            c.sendall(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n" + tag + b" OK\r\n")
    except OSError: pass
    c.close()
'
for i in $(seq 50); do ss -ltnp 'sport = :143' | grep -q python3 && break; sleep 0.1; done`

// ill are the ways in which a host is broken: what is done to it, what has to be found
// (every code, in any order, and nothing else), what it says, and what ends it.
//
// There is none for timer-late: a timer is late by an hour, or its service by a day, and
// systemd is not to be told that so much time has passed. It looks at a timer's stamp only
// to start what is due at once, and says then that it has just done that; a drop-in of
// AccuracySec puts off nothing that was due before the boot; and the clock of a container
// is that of the machine. The limits of inotify are the machine's as well, so that others
// are put in front of their files here.
var ill = []struct {
	name, do, undo string
	want           []string
	says           []string
}{
	{"listener stopped", `systemctl stop mailstead-imap.socket mailstead-login@imap.service`, "",
		[]string{"listener-unreachable"}, []string{"connection refused"}},
	{"somebody else on the port", squatter, `systemctl stop squatter; mailstead apply --yes`,
		[]string{"port-taken", "login-before-tls", "starttls-missing"}, []string{"port 143 is held by process ", "(python3) of squatter.service", "systemctl disable --now squatter.service"}},
	{"somebody else on the port as the host boots", squatter + bootsWithout, `systemctl stop squatter; systemctl reset-failed; mailstead apply --yes`,
		[]string{"port-taken", "login-before-tls", "starttls-missing", "unit-failed"}, []string{"it has failed: exit-code, status 3"}},
	{"no TLS behind STARTTLS", garbled, `systemctl stop squatter; mailstead apply --yes`,
		[]string{"port-taken", "tls-fails"}, []string{"error tls-fails listener imap at 127.0.0.1:143: mail.example.org: TLS handshake", "journalctl -u 'mailstead-login@*'"}},
	{"daemon stopped", `systemctl stop mailstead-auth.socket mailstead-imapd.service`, "",
		[]string{"daemon-down"}, []string{"the daemon is not running"}},
	{"key for all to read", `chmod 755 /var/lib/mailstead/bundles; chmod 644 /var/lib/mailstead/bundles/mail.example.org.pem`, "",
		[]string{"file-exposed", "changed"}, []string{"private key of certificate mail.example.org with mode 0644"}},
	{"key of the lineage", `chmod 644 $(readlink -f /etc/letsencrypt/live/mail.example.org/privkey.pem); chmod 755 /etc/letsencrypt/live /etc/letsencrypt/archive`, `chmod 600 $(readlink -f /etc/letsencrypt/live/mail.example.org/privkey.pem)`,
		[]string{"file-exposed", "waiting"}, []string{"privkey"}},
	{"description for all to write", `chmod 666 /etc/mailstead/host.cue`, `chmod 644 /etc/mailstead/host.cue`,
		[]string{"file-writable"}, []string{"chmod go-w /etc/mailstead/host.cue"}},
	{"another certificate on disk", `cp -p /var/lib/mailstead/bundles/mail.example.org.pem /root/kept; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=x -addext subjectAltName=DNS:mail.example.org -keyout /root/k -out /root/c 2>/dev/null; cat /root/k /root/c > /var/lib/mailstead/bundles/mail.example.org.pem`, "",
		[]string{"certificate-other"}, []string{"is served, and "}},
	{"renewal that does not hold", `cd /etc/letsencrypt/live/mail.example.org; cp -L privkey.pem /root/key; openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 > "$(readlink -f privkey.pem)"; mailstead deploy-hook --all || :`,
		`cat /root/key > "$(readlink -f /etc/letsencrypt/live/mail.example.org/privkey.pem)"; mailstead deploy-hook --all`,
		[]string{"certificate-failed", "waiting"}, []string{"mailstead deploy-hook --all"}},
	{"nobody renews", `systemctl stop certbot.timer`, `systemctl start certbot.timer`, []string{"nothing-renews"}, []string{"certbot.timer"}},
	{"name elsewhere", `sed -i s/192.0.2.7/203.0.113.9/ /etc/hosts`, `sed -i s/203.0.113.9/192.0.2.7/ /etc/hosts`,
		[]string{"name-elsewhere"}, []string{"203.0.113.9, which this host does not have"}},
	{"name of nobody", `sed -i s/mail.example.org/other.example/ /etc/hosts`, `sed -i s/other.example/mail.example.org/ /etc/hosts`, []string{"name-unknown"}, nil},
	{"timer stopped", `systemctl stop mailstead-cert-check.timer`, "", []string{"timer-dead"}, []string{"mailstead-cert-check.timer: it does not wait for any time"}},
	{"unit failed", `mkdir -p /run/systemd/system/mailstead-cert-check.service.d; printf '[Service]\nExecStart=\nExecStart=/bin/false\n' > /run/systemd/system/mailstead-cert-check.service.d/x.conf; systemctl daemon-reload; systemctl start mailstead-cert-check.service || :`,
		`rm -r /run/systemd/system/mailstead-cert-check.service.d; systemctl daemon-reload; systemctl reset-failed`, []string{"unit-failed"}, []string{"it has failed: exit-code, status 1", "journalctl -u mailstead-cert-check.service"}},
	{"unit weakened", `mkdir -p /run/systemd/system/mailstead-spawn.service.d /run/systemd/system/service.d; printf '[Service]\nCapabilityBoundingSet=CAP_NET_ADMIN\nEnvironment=A=b\n' > /run/systemd/system/mailstead-spawn.service.d/x.conf; printf '[Service]\nProtectKernelTunables=no\n' > /run/systemd/system/service.d/lxc.conf; systemctl daemon-reload`,
		`rm -r /run/systemd/system/mailstead-spawn.service.d /run/systemd/system/service.d; systemctl daemon-reload`, []string{"unit-weakened"},
		[]string{`warning unit-weakened mailstead-spawn.service: /run/systemd/system/mailstead-spawn.service.d/x.conf has CapabilityBoundingSet=CAP_NET_ADMIN (the unit: "CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_KILL")`,
			"note unit-overridden mailstead-spawn.service: /run/systemd/system/mailstead-spawn.service.d/x.conf has Environment=A=b", "more: /run/systemd/system/service.d/lxc.conf has ProtectKernelTunables=no (the unit: \"yes\")"}},
	{"timer that never fires", `mkdir -p /run/systemd/system/mailstead-cert-check.timer.d; printf '[Timer]\nOnCalendar=\nOnCalendar=2001-01-01\nPersistent=no\n' > /run/systemd/system/mailstead-cert-check.timer.d/x.conf; systemctl daemon-reload; systemctl restart mailstead-cert-check.timer`,
		`rm -r /run/systemd/system/mailstead-cert-check.timer.d; systemctl daemon-reload; systemctl restart mailstead-cert-check.timer`, []string{"timer-dead"},
		[]string{"mailstead-cert-check.timer: it does not wait for any time", "note unit-overridden mailstead-cert-check.timer: ", "OnCalendar=2001-01-01"}},
	{"timer masked", `systemctl stop mailstead-cert-check.timer; ln -sf /dev/null /etc/systemd/system/mailstead-cert-check.timer; systemctl daemon-reload`, `systemctl unmask mailstead-cert-check.timer; mailstead apply --yes`,
		[]string{"unit-masked"}, []string{"error unit-masked mailstead-cert-check.timer: it is masked", "systemctl unmask mailstead-cert-check.timer, and mailstead apply"}},
	{"timer disabled", `systemctl disable -q mailstead-cert-check.timer`, "", []string{"changed"}, []string{"unit/mailstead-cert-check.timer: ", "enabled"}},
	{"edited by hand", `echo '# mine' >> /etc/systemd/system/mailstead-imapd.service; systemctl daemon-reload`, "", []string{"changed"}, []string{"unit/mailstead-imapd.service"}},
	{"no deploy hook", `rm /etc/letsencrypt/renewal-hooks/deploy/mailstead`, "", []string{"hook-not-run"}, []string{"deploy-hook/", "it was removed"}},
	{"hook that is not executable", `chmod 644 /etc/letsencrypt/renewal-hooks/deploy/mailstead`, "", []string{"hook-not-run"}, []string{"warning hook-not-run deploy-hook//etc/letsencrypt/renewal-hooks/deploy/mailstead: ", "0644"}},
	{"hooks switched off", `cp -p /etc/letsencrypt/cli.ini /root/cli.ini; echo 'no-directory-hooks = true' >> /etc/letsencrypt/cli.ini`, `cp -p /root/cli.ini /etc/letsencrypt/cli.ini`,
		[]string{"hook-not-run"}, []string{"/etc/letsencrypt/cli.ini has no-directory-hooks: certbot runs no hook of /etc/letsencrypt/renewal-hooks", "Take it out of /etc/letsencrypt/cli.ini."}},
	{"hooks switched off in the unit", `mkdir -p /etc/systemd/system/certbot.service.d; printf '[Service]\nExecStart=\nExecStart=/usr/bin/certbot -q renew --no-directory-hooks\n' > /etc/systemd/system/certbot.service.d/x.conf; systemctl daemon-reload`,
		`rm -r /etc/systemd/system/certbot.service.d; systemctl daemon-reload`, []string{"hook-not-run"}, []string{"certbot.service has no-directory-hooks"}},
	{"lineage not to be renewed", `sed -i.kept 's/^\[renewalparams\]/&\nautorenew = False\nconfig_dir = \/srv\/certbot/' /etc/letsencrypt/renewal/mail.example.org.conf`, `mv /etc/letsencrypt/renewal/mail.example.org.conf.kept /etc/letsencrypt/renewal/mail.example.org.conf`,
		[]string{"nothing-renews", "hook-not-run"}, []string{"/etc/letsencrypt/renewal/mail.example.org.conf has autorenew = False", "has certbot work in /srv/certbot, and the hook is in /etc/letsencrypt"}},
	{"lineage that certbot does not know", `mv /etc/letsencrypt/renewal/mail.example.org.conf /root/kept.conf`, `mv /root/kept.conf /etc/letsencrypt/renewal/mail.example.org.conf`,
		[]string{"nothing-renews"}, []string{"there is no /etc/letsencrypt/renewal/mail.example.org.conf: certbot does not know the lineage", "certbot certonly --cert-name mail.example.org"}},
	{"renewed until the next boot", `systemctl disable -q certbot.timer`, `systemctl enable -q certbot.timer`, []string{"nothing-renews"}, []string{"certbot.timer runs, and is not enabled: after the next boot it does not", "systemctl enable certbot.timer"}},
	{"not applied yet", `sed -i 's/Junk: use/Spam: {}, Junk: use/' /etc/mailstead/host.cue`, `sed -i 's/Spam: {}, //' /etc/mailstead/host.cue`, []string{"pending"}, []string{"folder/alice/Spam"}},
	{"told a name without a certificate", `sed -i 's/certbot: {}/certbot: {}\n\tprofiles: server: "imap.example.net"/' /etc/mailstead/host.cue`, `sed -i '/profiles: server/d' /etc/mailstead/host.cue`,
		[]string{"certificate-name"}, []string{"listener imap at 127.0.0.1:143, imap.example.net: the certificate is for mail.example.org; mail programs are told this name", "profiles: server."}},
	{"waits for a certificate", `sed -i 's/certbot: {}/certbot: {}\n\ttls: certificates: "imap.example.org": certbot: {}/' /etc/mailstead/host.cue; echo 192.0.2.7 imap.example.org >> /etc/hosts`, `sed -i /imap.example.org/d /etc/mailstead/host.cue /etc/hosts`,
		[]string{"waiting"}, []string{"certbot certonly"}},
	{"applied in part", `sed -i 's/"mail.example.org": {/"mail.example.org": {\n\tabout: comment: "x"/' /etc/mailstead/host.cue; mailstead apply --yes --only daemon-config || :`, `sed -i /about:/d /etc/mailstead/host.cue; mailstead apply --yes`,
		[]string{"daemon-out-of-step"}, []string{"configuration"}},
	{"descriptors", `pid=$(systemctl show -P MainPID mailstead-login@imap.service); prlimit --pid $pid --nofile=$(($(ls /proc/$pid/fd | wc -l) * 12 / 10)):`,
		`systemctl restart mailstead-login@imap.service`,
		[]string{"limit-descriptors"}, nil},
	{"more promised than there is", `sed -i 's/certbot: {}/certbot: {}\n\tlimits: sessionsPerUser: 10000/' /etc/mailstead/host.cue; mailstead apply --yes; prlimit --pid $(systemctl show -P MainPID mailstead-login@imap.service) --nofile=15000:`,
		`sed -i /sessionsPerUser/d /etc/mailstead/host.cue; mailstead apply --yes; systemctl restart mailstead-login@imap.service`, []string{"limit-promise"},
		[]string{"warning limit-promise mailstead-login@imap.service: the limits promise 10000 sessions (users: 1, sessionsPerUser: 10000): 2 descriptors for each, and one for each of 1100 connections that are not logged in, are 21132, and it has 15000, enough for about 7098", "limits: sessions or sessionsPerUser"}},
	{"no tmp", `rmdir /home/alice/Maildir/tmp`, "", []string{"mail-broken"}, []string{"no tmp"}},
	{"clock that was put back", `touch -d '+2 hours' /var/lib/mailstead/inventory.json`, `touch /var/lib/mailstead/inventory.json`, []string{"clock-back"}, []string{", and what Mailstead has written is of ", "timedatectl"}},
	{"Maildir of root", `chown -R root:root /home/alice/Maildir/.Sent`, `chown -R alice:alice /home/alice/Maildir/.Sent`, []string{"mail-unreadable"}, []string{"chown -hR"}},
	{"home closed", `chown root:root /home/alice; chmod 700 /home/alice`, `chown alice:alice /home/alice`, []string{"mail-unreadable"}, []string{"mailstead explain-login alice"}},
	{"message of root", `install -m 600 /dev/null /home/alice/Maildir/cur/1700000000.M1P1.x:2,S`, `rm /home/alice/Maildir/cur/*`, []string{"mail-unreadable-message"}, []string{"cur/1700000000.M1P1.x:2,S"}},
	{"spawn stopped", `systemctl stop mailstead-spawn.service mailstead-spawn.socket`, "", []string{"unit-stopped"}, []string{"error unit-stopped unit/mailstead-spawn.socket", "mailstead apply"}},
	{"control socket removed", `rm /run/mailstead/control`, "", []string{"daemon-mute"}, []string{"mailstead-imapd.service runs, and nothing answers at /run/mailstead/control", "systemctl restart mailstead-imapd.service"}},
	{"login that ends at once", endsAtOnce, `rm -r /etc/systemd/system/mailstead-login@imap.service.d; systemctl daemon-reload; systemctl reset-failed; mailstead apply --yes`,
		[]string{"listener-strange", "unit-failed"}, []string{"journalctl -u mailstead-login@imap.service, then systemctl restart", "it ends as soon as it is started, ", `note unit-overridden mailstead-login@imap.service: /etc/systemd/system/mailstead-login@imap.service.d/x.conf has ExecStart= (the unit: "/usr/local/bin/mailstead-imapd login --listener imap `, "ExecStart=/bin/false"}},
	{"account that is gone", `cp -p /etc/passwd /root/passwd; sed -i /^alice/d /etc/passwd`, `cp -p /root/passwd /etc/passwd`, []string{"host-lacks"}, []string{"user alice: no such account on this host", "adduser alice"}},
	{"Maildir that is gone", `mv /home/alice/Maildir /home/alice/aside`, `mv /home/alice/aside /home/alice/Maildir`, []string{"mail-gone"}, []string{"/home/alice/Maildir was removed", "findmnt"}},
	{"index of root", `mailstead explain-login alice; chown root:root /home/alice/Maildir/mailstead/index.db`, `chown alice:alice /home/alice/Maildir/mailstead/index.db`, []string{"mail-own-files"}, []string{"(mailstead/index.db)", "chown"}},
	{"full disk", smallDisk + `su alice -c 'head -c 19m /dev/zero > ~/Maildir/full'`, `umount /home/alice/Maildir`, []string{"disk-full"}, []string{"file system of mail of alice (/home/alice/Maildir): 1 MiB of 20 MiB are free"}},
	{"disk with few inodes", fewInodes, `umount /home/alice/Maildir`, []string{"disk-low"}, []string{"warning disk-low file system of mail of alice (/home/alice/Maildir): 68 inodes of 1500 are free, each message takes one"}},
	{"few watches", `echo 8 > /root/few; for n in instances watches; do mount --bind /root/few /proc/sys/fs/inotify/max_user_$n; done`, `umount /proc/sys/fs/inotify/max_user_instances /proc/sys/fs/inotify/max_user_watches`,
		[]string{"limit-inotify"}, []string{"warning limit-inotify fs.inotify.max_user_instances: it is 8", "warning limit-inotify fs.inotify.max_user_watches: it is 8", "sysctl"}},
	{"disk that is read-only", smallDisk + `mount -o remount,ro /home/alice/Maildir`, `umount /home/alice/Maildir`, []string{"disk-read-only"}, []string{"findmnt"}},
	{"what users may do", hostileMaildir, `rm -rf /home/alice/Maildir/cur/* /home/alice/Maildir/new/* /home/alice/Maildir/.loop /home/alice/Maildir/17*`,
		[]string{"mail-irregular", "mail-stray", "mail-size", "mail-wire-size", "mail-duplicate"}, []string{`names that are there twice: 1 (`, "files where nobody looks for a message: 1", "entries that are no files: 4"}},
}

// bootsWithout applies as at boot, which says how to find out who has the port; the login
// without a socket fails once. What was said of the socket by who is not known to be part
// of it counts as well: systemd's child that binds it has mostly ended by then.
const bootsWithout = `
mkdir -p /run/systemd/system/mailstead-imap.socket.d; cat > /run/systemd/system/mailstead-imap.socket.d/x.conf <<'END'
[Socket]
ExecStartPre=systemd-run --wait --quiet sh -c "printf 'MESSAGE=by a child\\nUNIT=mailstead-imap.socket\\n' | logger --journald"
END
systemctl daemon-reload
systemctl start mailstead-apply.service || :
rm -r /run/systemd/system/mailstead-imap.socket.d; systemctl daemon-reload
for i in $(seq 50); do systemctl is-failed -q mailstead-login@imap.service && break; sleep 0.1; done; sleep 1
journalctl --sync
says() { journalctl --no-pager -u "$1" | grep -qF "$2" || { journalctl --no-pager -u "$1"; exit 1; }; }
says mailstead-apply.service "\"ss -ltnp 'sport = :143'\" says who has the port"
says mailstead-apply.service 'by a child'
says mailstead-login@imap.service 'there is no socket to serve'
systemctl show -P NRestarts mailstead-login@imap.service | grep -x 0`

// endsAtOnce has the login process of a listener end as soon as it is started.
const endsAtOnce = `mkdir -p /etc/systemd/system/mailstead-login@imap.service.d; printf '[Service]\nExecStart=\nExecStart=/bin/false\n' > /etc/systemd/system/mailstead-login@imap.service.d/x.conf
systemctl daemon-reload; systemctl restart mailstead-login@imap.service || :; sleep 2`

// smallDisk puts alice's mail on a file system of its own.
const smallDisk = `mount -t tmpfs -o size=20m,mode=700,uid=1000,gid=1000 none /home/alice/Maildir
` + ownDirs

// fewInodes leaves so many that they are neither none nor enough.
const fewInodes = `mount -t tmpfs -o size=20m,nr_inodes=1500,mode=700,uid=1000,gid=1000 none /home/alice/Maildir
` + ownDirs + `su alice -c 'mkdir ~/Maildir/fill; cd ~/Maildir/fill; seq $(($(stat -f -c %d .) - 68)) | xargs touch'`

// ownDirs makes alice's directories on it.
const ownDirs = `su alice -c 'cd ~/Maildir && for d in . .Sent .Drafts .Junk .Trash; do mkdir -p -m 700 $d/cur $d/new $d/tmp; done; for d in .Sent .Drafts .Junk .Trash; do chmod 700 $d; touch $d/maildirfolder; done'
`

// hostileMaildir is made by alice: pipes, links to places of root's and in circles,
// a directory, names that are no text, and sizes that are not true.
const hostileMaildir = `su alice -s /bin/bash -c '
cd ~/Maildir; umask 077
mkfifo cur/pipe,W=5; ln -s /etc/shadow new/shadow,S=1; ln -s . .loop; mkdir cur/dir
printf "hi\n" > "cur/$(printf "a\033[31m\n\377"),S=9:2,"
printf "hi\n" > cur/b,W=99:2,
printf x > cur/c:2,; printf x > cur/c:2,S
printf x > 1700000000.M1P1.x
for i in $(seq 3000); do echo > cur/$i.x; done
'`

// TestDoctor breaks a host in a table of ways: each has to be found, and on the healthy
// host before and after it nothing.
func TestDoctor(t *testing.T) {
	t.Parallel()
	b := newBox(t, "doctor")
	b.sh(healthy)
	b.write("/etc/mailstead/host.cue", single)
	b.exit(0, "mailstead", "apply", "--yes")
	b.sh("systemctl start mailstead-cert-check.timer mailstead-cert-check.service")
	well := func(t *testing.T) {
		t.Helper()
		if codes, text := b.findings(); len(codes) > 0 {
			t.Fatalf("a healthy host:\n%s", text)
		}
	}
	well(t)
	before := b.tree()
	b.findings()
	if after := b.tree(); before != after {
		t.Errorf("doctor wrote:\n%s", lineDiff(before, after))
	}
	b.exit(0, "mailstead", "doctor", "--outside") // no note either: by DNS, from within the same machine
	// Who is not root is told what that leaves out, and nothing that is not so.
	r := b.exit(0, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "mailstead", "doctor")
	contains(t, r.stdout, "Not looked at: daemon: only root may ask it.", "Not looked at: ports: ", "Not looked at: Maildirs: only root can become their owners.", "Looked at 1 listener")
	for _, way := range ill {
		t.Run(way.name, func(t *testing.T) {
			b.t = t
			b.sh(way.do)
			b.finds(way.want, way.says)
			if way.undo != "" {
				b.sh(way.undo) // what it leaves behind, the next one finds
				return
			}
			b.exit(8, "mailstead", "doctor", "--plan", "/root/mend.plan")
			b.exit(0, "mailstead", "apply", "--yes", "/root/mend.plan")
			well(t)
		})
	}
	t.Run("served", func(t *testing.T) { servedIll(t, b, well) })
	t.Run("unsynchronised clock", func(t *testing.T) { unsynchronised(t, b) })
	t.Run("more promised than there will be", func(t *testing.T) { promised(t, b) })
	t.Run("broken deliveries", func(t *testing.T) { staleTmp(t, b, well) })
	b.t = t
	explainPAM(t, b)
	if n := strings.Count(b.run("mailstead", "doctor"), "\n"); n > 12 {
		t.Errorf("a healthy host takes %d lines", n)
	}
}

// unsynchronised takes from the host that it is a container, whose clock somebody else
// keeps: then it is to be told when nobody does, which is as the machine has it.
func unsynchronised(t *testing.T, b *box) {
	b.t = t
	var clock unix.Timex
	if _, err := unix.Adjtimex(&clock); err != nil {
		t.Fatal(err)
	}
	b.sh("mv /run/systemd/container /root/container")
	defer b.sh("mv /root/container /run/systemd/container")
	if clock.Status&0x0040 == 0 { // STA_UNSYNC of adjtimex(2)
		b.finds(nil, nil)
		return
	}
	b.finds([]string{"clock-unsynchronised"}, []string{"warning clock-unsynchronised clock: it is not kept right by the network (adjtimex: unsynchronised)"})
}

// promised has a plan say what limits promise that nobody has applied: of a unit that
// there is, as systemd has it, and of one that is to come, as it will be.
func promised(t *testing.T, b *box) {
	b.t = t
	b.sh(`cp -p /etc/mailstead/host.cue /root/host.cue; sed -i 's/certbot: {}/certbot: {}\n\tlisteners: imaps: {}\n\tdirectories: all: saslauthd: {}\n\tlimits: sessions: 200000/' /etc/mailstead/host.cue`)
	defer b.sh("cp -p /root/host.cue /etc/mailstead/host.cue")
	before := b.tree()
	plan := b.run("mailstead", "plan")
	const promise = ".service: the limits promise 200000 sessions (sessions: 200000): 2 descriptors for each, and one for each of 1100 connections that are not logged in, are 401132, and it has "
	contains(t, plan, "Note: host.cue:6:10: mailstead-login@imap"+promise, "Note: host.cue:6:10: mailstead-login@imaps"+promise+"262144, enough for about 130702\n")
	if after := b.tree(); before != after {
		t.Errorf("plan wrote:\n%s", lineDiff(before, after))
	}
}

// staleTmp puts alice's mail on a file system with a file in tmp that was changed
// years ago, which no program can say of a file but one that writes the disk itself.
func staleTmp(t *testing.T, b *box, well func(t *testing.T)) {
	b.t = t
	disk := filepath.Join(t.TempDir(), "disk")
	here := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	here("truncate", "-s", "12M", disk)
	here("mkfs.ext4", "-q", "-E", "root_owner=1000:1000", disk)
	loop := here("losetup", "-f", "--show", disk)
	defer exec.Command("losetup", "-d", loop).Run()
	b.sh("mknod /root/disk b $((0x" + here("stat", "-c", "%t", loop) + ")) $((0x" + here("stat", "-c", "%T", loop) + ")); mount /root/disk /home/alice/Maildir; rmdir /home/alice/Maildir/lost+found; chmod 700 /home/alice/Maildir\n" +
		ownDirs + "su alice -c 'echo x | tee ~/Maildir/tmp/old > ~/Maildir/tmp/new'; umount /home/alice/Maildir")
	for _, field := range []string{"atime", "mtime", "ctime"} {
		here("debugfs", "-w", "-R", "set_inode_field /tmp/old "+field+" 20200101000000", loop)
	}
	b.sh("mount /root/disk /home/alice/Maildir")
	defer b.sh("umount /home/alice/Maildir")
	b.finds([]string{"mail-stale-tmp"}, []string{"files in tmp that nobody has touched for 36 hours: 1 (tmp/old)", "mailstead doctor --remove-stale-tmp"})
	b.exit(0, "mailstead", "doctor", "--remove-stale-tmp")
	well(t)
	if got := b.sh("ls /home/alice/Maildir/tmp"); got != "new\n" {
		t.Errorf("tmp has %q", got)
	}
}

package main_test

import (
	"strings"
	"testing"
)

// explains runs explain-login, with a password if there is one, and holds what it says
// against some of it. code is how it has to end.
func (b *box) explains(t *testing.T, code int, user, password string, wants ...string) {
	t.Helper()
	args := []string{"mailstead", "explain-login", user}
	if password != "" {
		args = append(args, "--password-stdin")
	}
	r := b.try(password+"\n", args...)
	if r.code != code {
		t.Errorf("explain-login %s ends with %d, want %d:\n%s%s", user, r.code, code, r.stdout, r.stderr)
	}
	contains(t, r.stdout, wants...)
	if password != "" && strings.Contains(r.stdout+r.stderr, password) {
		t.Errorf("the password is in\n%s", r.stdout)
	}
}

// explainPAM walks the way of a system user, with something in the way at each step.
func explainPAM(t *testing.T, b *box) {
	b.explains(t, 0, "alice", "", "ok      pam          a user of the host, whose password PAM checks", "account      neither locked nor expired",
		"uid 1000 may go through all 4 on the way", "INBOX opens", "Nothing is in the way, if the password is right.")
	b.explains(t, 0, "alice", "wonder", "ok      pam          PAM lets the user in", "Nothing is in the way: the login arrives.")
	b.explains(t, 8, "alice", "not-the-one", "It ends at pam: PAM: ")
	b.explains(t, 8, "bob", "", "It ends at users: no such user.")
	for _, way := range []struct {
		do, undo string
		wants    []string
	}{
		{`passwd -q -l alice`, `passwd -q -u alice`, []string{"It ends at account: the password is locked.", "passwd -u alice"}},
		{`chage -E 2020-01-02 alice`, `chage -E -1 alice`, []string{"It ends at account: the account expired on 2020-01-02."}},
		{`cp -p /etc/shadow /root/shadow; chage -d 0 alice`, `cp -p /root/shadow /etc/shadow`, []string{"It ends at account: the password has to be changed at the next login"}},
		{`chmod 700 /home`, `chmod 755 /home`, []string{"It ends at directories: uid 1000 may not go through /home, which has mode 0700 and belongs to 0:0.", "chmod o+x /home"}},
		{`chmod 000 /home/alice/Maildir`, `chmod 700 /home/alice/Maildir`, []string{"It ends at directories: uid 1000 may not go through /home/alice/Maildir", "chmod u+x /home/alice/Maildir"}},
		{`mv /home/alice /home/aside`, `mv /home/aside /home/alice`, []string{"It ends at directories: /home/alice: no such file or directory."}},
		{`mv /etc/pam.d/mailstead /root`, `mv /root/mailstead /etc/pam.d`, []string{"It ends at account: there are no rules for PAM"}},
		{`systemctl stop mailstead-auth.socket mailstead-imapd.service`, `mailstead apply --yes`, []string{"It ends at daemon: "}},
	} {
		b.sh(way.do)
		b.explains(t, 8, "alice", "", way.wants...)
		b.sh(way.undo)
	}
	// Who is locked in /etc/shadow may have a password that something else checks.
	b.sh(`passwd -q -l alice; cp -p /etc/pam.d/common-auth /root/common-auth; sed -i '1i auth sufficient pam_exec.so quiet /bin/true' /etc/pam.d/common-auth`)
	b.explains(t, 0, "alice", "", "untold  account      /etc/shadow has that the password is locked; pam_exec.so (/etc/pam.d/common-auth:1) may take another")
	b.explains(t, 0, "alice", "another", "ok      pam          PAM lets the user in", "the login is let in all the same", "Nothing is in the way: the login arrives.")
	b.sh(`cp -p /root/common-auth /etc/pam.d/common-auth; passwd -q -u alice`)
	b.explains(t, 0, "alice", "wonder")
}

// explainDirectories walks the way of users whom a real slapd, a real authdaemond and
// a real saslauthd know, and nobody else.
func explainDirectories(t *testing.T, b *box) {
	b.explains(t, 0, "alice", "", "ok      directory people  there is such a user; the password was not asked for", "Maildir /var/vmail/alice/Maildir")
	b.explains(t, 0, "alice", "alice-pw", "ok      directory people  the password is right", " of 4883 KiB", "INBOX opens")
	b.explains(t, 8, "alice", "not-the-one", "It ends at directory people: LDAP: Invalid Credentials.", "Maildir /var/vmail/alice/Maildir")
	b.explains(t, 8, "carol", "carol-pw", "It ends at server: the mail is on another server")
	b.explains(t, 0, "dora", "", "passed  directory people", "untold  directory unix", "ok      directory courier", "Maildir /var/vmail/dora/Maildir")
	b.explains(t, 0, "dora", "dora-pw", "passed  directory people", "ok      directory courier", "INBOX opens")
	b.explains(t, 0, "bob", "bob-pw", "ok      directory unix", "Maildir /home/bob/Maildir", "INBOX opens")
	b.explains(t, 8, "nobody", "not-the-one", "It ends at directory courier: ")
	// Guesses are held against the address, and what is explained is none.
	b.run("systemctl", "restart", "mailstead-imapd")
	guess := `m = __import__("imaplib").IMAP4("127.0.0.1", 143); m.starttls(__import__("ssl")._create_unverified_context())
try: m.login("dora", str(i) + "-no")
except Exception: pass`
	b.run("python3", "-c", "for i in range(12):\n "+strings.ReplaceAll(guess, "\n", "\n "))
	r := b.exit(8, "mailstead", "explain-login", "dora", "--from", "127.0.0.1")
	contains(t, r.stdout, "It ends at limits: too many failed logins of this address: refused unheard for another ")
	r = b.exit(0, "mailstead", "explain-login", "dora", "--from", "192.0.2.1")
	contains(t, r.stdout, "failed logins of the user in the last minute, 0 of the address")

	// A directory that is down is no wrong password.
	b.run("systemctl", "kill", "-s", "KILL", "slapd-test")
	b.await(func() bool { return b.try("", "ss", "-Hltn", "sport = 636").stdout == "" })
	b.explains(t, 8, "alice", "alice-pw", "It ends at directory people: ", "connection refused", "Find out why it does not answer")
}

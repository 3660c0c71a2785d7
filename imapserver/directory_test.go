package imapserver

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
)

// courier is a daemon that speaks authdaemond's protocol and knows who is in
// accounts: what it answers after the password.
func courier(t *testing.T, accounts *atomic.Pointer[map[string]string]) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "authdaemon")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			request := make([]byte, 8192)
			n, _ := c.Read(request)
			answer := "FAIL\n"
			for user, attributes := range *accounts.Load() {
				if strings.HasSuffix(string(request[:n]), "imap\nlogin\n"+user+"\npw-"+user+"\n") || string(request[:n]) == "PRE . imap "+user+"\n" {
					answer = attributes + ".\n"
				}
			}
			c.Write([]byte(answer))
			c.Close()
		}
	}()
	return path
}

// TestDirectoryUser follows somebody whom only a directory knows from the first
// login to the last.
func TestDirectoryUser(t *testing.T) {
	dir := t.TempDir()
	mail := filepath.Join(dir, "mail")
	var accounts atomic.Pointer[map[string]string]
	accounts.Store(&map[string]string{
		"dora": fmt.Sprintf("UID=%d\nGID=%d\nADDRESS=dora\nQUOTA=5000000S,77C\n", os.Getuid(), os.Getgid()),
		"elsa": "ADDRESS=elsa\nOPTIONS=mailhost=other.example.org\n",
		"zoe":  "UID=4711\nGID=4711\nADDRESS=zoe\n",
	})
	c := testConfig(dir)
	c.Directories = []config.Directory{{
		Name:       "courier",
		Authdaemon: &config.Authdaemon{Socket: courier(t, &accounts), Service: "imap", Bounds: config.Bounds{Connections: 2, Timeout: 5}},
		May:        config.May{Owner: &config.Identity{UID: os.Getuid(), GID: os.Getgid()}, Roots: []string{mail}, Host: "mail.example"},
	}}
	c.Folders = []config.Folder{{Name: "Sent", Use: "sent", Subscribed: true}}
	cert := issue(t, time.Now().Add(time.Hour), "mail.example")
	users := []config.User{testUser(t, dir, "alice")}
	_, stop := run(t, write(t, dir, c, users, cert))
	defer stop()
	var st control.Status
	for range 1000 {
		var err error
		if st, err = control.Ask(t.Context(), c.Control, control.Request{Verb: control.VerbStatus}); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	dial := func() *client {
		return dialTLS(t, st.Listeners[1].Address, &tls.Config{ServerName: "mail.example", RootCAs: pool(t, cert)})
	}
	dora := dial()
	dora.send("a LOGIN dora wrong\r\n")
	dora.until("a NO [AUTHENTICATIONFAILED]")
	dora.send("b LOGIN dora pw-dora\r\nc GETQUOTAROOT INBOX\r\nd LIST (SUBSCRIBED) \"\" *\r\ne APPEND Sent {5+}\r\nx: y\n\r\n")
	dora.until("b OK")
	if got := dora.until("c OK"); !strings.Contains(got, "(STORAGE 0 4883 MESSAGE 0 77)") {
		t.Errorf("not the directory's quota: %q", got)
	}
	if got := dora.until("d OK"); !strings.Contains(got, `\Sent`) {
		t.Errorf("not the folders of a first login: %q", got)
	}
	dora.until("e OK")
	if st, err := os.Stat(filepath.Join(mail, "dora/Maildir/.Sent/cur")); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", st, err)
	}
	for user, want := range map[string]string{"elsa": "a NO [REFERRAL imap://elsa;AUTH=*@other.example.org/]", "zoe": "a NO [UNAVAILABLE]", "alice": "a OK"} {
		other := dial()
		other.send("a LOGIN " + user + " pw-" + user + "\r\n")
		other.until(want)
	}
	// A reload keeps her session, for as long as the directory is asked at all.
	c.Generation = "second"
	write(t, dir, c, users, cert)
	if st := ask(t, c, control.VerbReload); st.Error != "" {
		t.Fatal(st.Error)
	}
	dora.send("f NOOP\r\n")
	dora.until("f OK")
	// Over the control socket there are those only whom a file or a login has named.
	if got := readUntil(t, askSession(t, c, "dora"), "\n"); !strings.HasPrefix(got, "* OK") {
		t.Errorf("%q", got)
	}
	c.Generation, c.Directories, c.Folders = "third", nil, nil
	write(t, dir, c, users, cert)
	if st := ask(t, c, control.VerbReload); st.Error != "" {
		t.Fatal(st.Error)
	}
	if said, err := io.ReadAll(dora.r); !strings.HasPrefix(string(said), "* BYE ") || strings.Count(string(said), "\n") != 1 || err != nil {
		t.Errorf("her session goes on without the directory: %q %v", said, err)
	}
	again := dial()
	again.send("a LOGIN dora pw-dora\r\n")
	again.until("a NO [AUTHENTICATIONFAILED]")
}

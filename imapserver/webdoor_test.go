package imapserver

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailstead/imapserver/auth"
	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
)

// webbed is a door for two users, and what asks at it.
func webbed(t *testing.T) (*webDoor, func(control.WebRequest) control.WebAnswer) {
	t.Helper()
	return webbedFor(t, os.Getuid())
}

// webbedFor takes for the page whoever has that uid.
func webbedFor(t *testing.T, uid int) (*webDoor, func(control.WebRequest) control.WebAnswer) {
	t.Helper()
	dir := t.TempDir()
	c := testConfig(dir)
	c.Logins = &config.Logins{Keep: t.TempDir()}
	c.Web = &config.Web{UID: uid, Certificate: "mail.example"}
	var accounts atomic.Pointer[map[string]string]
	accounts.Store(&map[string]string{"d.lane": fmt.Sprintf("UID=%d\nGID=%d\nADDRESS=dora\n", os.Getuid(), os.Getgid())})
	c.Directories = []config.Directory{{
		Name:       "courier",
		Authdaemon: &config.Authdaemon{Socket: courier(t, &accounts), Service: "imap", Bounds: config.Bounds{Connections: 2, Timeout: 5}},
		May:        config.May{Owner: &config.Identity{UID: os.Getuid(), GID: os.Getgid()}, Roots: []string{filepath.Join(dir, "mail")}},
	}}
	i, _, _ := inline(t, c, []config.User{testUser(t, dir, "alice"), testUser(t, dir, "bob"), {Name: "boss", Hash: hash(t, "pw-boss"), Master: true}}, issue(t, time.Now().Add(time.Hour), "mail.example"))
	d := &webDoor{log: i.log, auth: i.authority(), settings: i.inForce, begin: i.Session, sessions: map[string]webSession{}}
	l, err := control.ListenAll(filepath.Join(dir, "web"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.serve(ctx, l) }()
	t.Cleanup(func() { cancel(); <-done })
	return d, func(r control.WebRequest) control.WebAnswer {
		t.Helper()
		r.Remote = netip.MustParseAddr("192.0.2.7")
		a, err := control.AskWeb(t.Context(), filepath.Join(dir, "web"), r)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
}

// What can be had without a password is a certificate. A token is its user's, and
// what lasts wants the password again.
func TestWebDoor(t *testing.T) {
	_, ask := webbed(t)
	login := func(user, password string) control.WebAnswer {
		return ask(control.WebRequest{Do: control.WebLogin, User: user, Password: password})
	}
	for _, do := range []string{control.WebUser, control.WebPassword, control.WebAddApp, control.WebRevokeApp, control.WebLogout, "", "status"} {
		if a := ask(control.WebRequest{Do: do, User: "alice", Token: "guessed", Password: "pw-alice", Name: "x", New: "a longer one"}); !a.Over || a.User != "" {
			t.Errorf("%s without a token: %+v", do, a)
		}
	}
	if a := ask(control.WebRequest{Do: control.WebCertificate}); !strings.Contains(string(a.PEM), "PRIVATE KEY") {
		t.Errorf("certificate: %+v", a)
	}
	if a := login(strings.Repeat("<", 2048), strings.Repeat("<", 2048)); a.Error == "" {
		t.Errorf("a long name and password: %+v", a)
	}
	if a := login("alice*boss", "pw-boss"); a.Error == "" || a.Token != "" {
		t.Errorf("a master, who may come in by IMAP: %+v", a)
	}
	dora := login("d.lane", "pw-d.lane")
	if a := ask(control.WebRequest{Do: control.WebUser, Token: dora.Token}); dora.User != "dora" || a.User != "dora" || a.Own {
		t.Errorf("one whom a directory knows by another name: %+v, %+v", dora, a)
	}
	if a := ask(control.WebRequest{Do: control.WebAddApp, Token: dora.Token, Name: "phone", Password: "pw-d.lane"}); a.App == "" {
		t.Errorf("an app password of one whom a directory knows by another name: %+v", a)
	}
	alice := login("alice", "pw-alice")
	if alice.Token == "" || alice.User != "alice" {
		t.Fatalf("%+v", alice)
	}
	other := login("alice", "pw-alice")
	if a := ask(control.WebRequest{Do: control.WebUser, User: "bob", Token: alice.Token}); a.User != "alice" || !a.Own || len(a.Logins) == 0 || a.Logins[0].Listener != auth.Web || a.Logins[0].By != "" {
		t.Errorf("%+v", a)
	}
	if a := ask(control.WebRequest{Do: control.WebAddApp, Token: alice.Token, Name: "phone", Password: "pw-bob"}); a.Error == "" || a.App != "" {
		t.Errorf("an app password for a wrong one: %+v", a)
	}
	app := ask(control.WebRequest{Do: control.WebAddApp, Token: alice.Token, Name: "phone", Password: "pw-alice"})
	if app.App == "" {
		t.Fatalf("%+v", app)
	}
	if a := login("alice", app.App); a.Token != "" {
		t.Error("an app password opens the page")
	}
	if a := ask(control.WebRequest{Do: control.WebPassword, Token: alice.Token, Password: "pw-bob", New: "a longer one"}); a.Error == "" {
		t.Error("the password was changed by one who does not know it")
	}
	if a := ask(control.WebRequest{Do: control.WebPassword, Token: alice.Token, Password: "pw-alice", New: "a longer one"}); a.Error != "" {
		t.Errorf("%+v", a)
	}
	if a := ask(control.WebRequest{Do: control.WebUser, Token: other.Token}); !a.Over {
		t.Error("another browser stays logged in after the password was changed")
	}
	if a := ask(control.WebRequest{Do: control.WebUser, Token: alice.Token}); len(a.Apps) != 1 {
		t.Errorf("%+v", a)
	}
	ask(control.WebRequest{Do: control.WebRevokeApp, Token: alice.Token, Name: "phone"})
	ask(control.WebRequest{Do: control.WebLogout, Token: alice.Token})
	if a := ask(control.WebRequest{Do: control.WebUser, Token: alice.Token}); !a.Over {
		t.Error("the token outlives the logout")
	}
	if a := login("alice", "a longer one"); a.Token == "" {
		t.Errorf("%+v", a)
	}
}

// A user is told how much mail there is, where there is a quota. The session that says so
// is nobody's but theirs, and may say what it likes.
func TestWebUsage(t *testing.T) {
	d, ask := webbed(t)
	begun, begin := 0, d.begin
	say, limits := "", ""
	d.begin = func(u config.User, stream *os.File) error {
		begun++
		if say == "" {
			if limits != "" {
				if err := os.WriteFile(filepath.Join(u.Maildir, "maildirsize"), []byte(limits+"\n5000 2\n"), 0o600); err != nil {
					t.Error(err)
				}
			}
			return begin(u, stream)
		}
		go func() {
			defer stream.Close()
			stream.WriteString(say)
			stream.Read(make([]byte, 100))
		}()
		return nil
	}
	if a := ask(control.WebRequest{Do: control.WebUsage, User: "alice", Token: "guessed"}); !a.Over || begun > 0 {
		t.Errorf("without a token: %+v", a)
	}
	usage := func() control.WebAnswer {
		token := ask(control.WebRequest{Do: control.WebLogin, User: "alice", Password: "pw-alice"}).Token
		a := ask(control.WebRequest{Do: control.WebUsage, Token: token})
		for range 3 {
			if again := ask(control.WebRequest{Do: control.WebUsage, Token: token}); a.Usage != nil && (again.Usage == nil || *again.Usage != *a.Usage) {
				t.Errorf("asked again: %+v", again)
			}
		}
		return a
	}
	if a := usage(); a.Usage != nil || a.Error != "" || begun != 1 {
		t.Errorf("without a quota: %+v, by %d sessions", a, begun)
	}
	limits = "2048000S,40C"
	a := usage()
	for deadline := time.Now().Add(10 * time.Second); a.Usage == nil && time.Now().Before(deadline); a = usage() {
		time.Sleep(20 * time.Millisecond) // the account may be open still, by the limits of before
	}
	if a.Usage == nil || a.Usage.StorageLimit != 2048000 || a.Usage.MessagesLimit != 40 {
		t.Errorf("with a quota: %+v", a)
	}
	for said, want := range map[string]control.Usage{
		"* OK\r\n* QUOTAROOT INBOX ROOT\r\n* QUOTA ROOT (STORAGE 10 2000 MESSAGE 3 40)\r\na OK x\r\n": {Storage: 10 << 10, StorageLimit: 2000 << 10, Messages: 3, MessagesLimit: 40},
		"* OK\r\n* QUOTA ROOT (STORAGE \r\na OK":                                                      {},
		"* OK\r\n* QUOTA (MESSAGE x 7 STORAGE 1 -)\r\na OK ":                                          {Storage: 1024},
		"* OK\r\n* QUOTA" + strings.Repeat(" (", 40_000) + "\r\n":                                     {},
	} {
		say = said
		if a := usage(); a.Usage == nil && want != (control.Usage{}) || a.Usage != nil && *a.Usage != want {
			t.Errorf("%.50q: %+v", said, a)
		}
	}
}

// Nobody is asked who is not the page: not even a process of root's.
func TestWebDoorStrangers(t *testing.T) {
	d, _ := webbedFor(t, os.Getuid()+1)
	path := filepath.Join(filepath.Dir(d.settings().Config.Control), "web")
	if a, err := control.AskWeb(t.Context(), path, control.WebRequest{Do: control.WebCertificate}); err == nil {
		t.Errorf("answered: %+v", a)
	}
}

func TestWebDoorManySessions(t *testing.T) {
	d, ask := webbed(t)
	first := ask(control.WebRequest{Do: control.WebLogin, User: "alice", Password: "pw-alice"})
	for range webSessionsOfOne {
		ask(control.WebRequest{Do: control.WebLogin, User: "alice", Password: "pw-alice"})
	}
	if a := ask(control.WebRequest{Do: control.WebUser, Token: first.Token}); !a.Over || len(d.sessions) != webSessionsOfOne {
		t.Errorf("%+v, %d sessions", a, len(d.sessions))
	}
}

// TestWebNamesake: who has logged in at the page is not taken for somebody who has the
// name later, whether a reload was between them or they differ by the same.
func TestWebNamesake(t *testing.T) {
	dir := t.TempDir()
	c := testConfig(dir)
	c.Logins = &config.Logins{Keep: t.TempDir()}
	c.Web = &config.Web{UID: os.Getuid(), Certificate: "mail.example"}
	cert := issue(t, time.Now().Add(time.Hour), "mail.example")
	alice, bob := testUser(t, dir, "alice"), testUser(t, dir, "bob")
	i, _, _ := inline(t, c, []config.User{alice, bob}, cert)
	d := &webDoor{log: i.log, auth: i.authority(), settings: i.inForce, begin: i.Session, sessions: map[string]webSession{}}
	r := &running{path: filepath.Join(dir, "config.json"), log: i.log, server: i, door: d}
	ask := func(r control.WebRequest) control.WebAnswer {
		r.Remote = netip.MustParseAddr("192.0.2.7")
		return d.answer(t.Context(), r)
	}
	reload := func(users ...config.User) {
		write(t, dir, c, users, cert)
		if err := r.reload(); err != nil {
			t.Fatal(err)
		}
	}
	token := ask(control.WebRequest{Do: control.WebLogin, User: "alice", Password: "pw-alice"}).Token
	own := control.WebRequest{Do: control.WebPassword, Token: token, User: "alice", Password: "pw-alice", New: "a new password of her own"}
	if a := ask(own); a.Error != "" {
		t.Fatal(a.Error)
	}
	reload(alice, bob)
	if a := ask(control.WebRequest{Do: control.WebUser, Token: token}); a.User != "alice" {
		t.Errorf("after a reload that changes nothing: %+v", a)
	}
	reload(bob)
	reload(alice, bob)
	if a := ask(control.WebRequest{Do: control.WebUser, Token: token}); !a.Over {
		t.Errorf("of another alice: %+v", a)
	}
	token = ask(control.WebRequest{Do: control.WebLogin, User: "bob", Password: "pw-bob"}).Token
	bob.Hash = hash(t, "pw-of-another-bob")
	reload(alice, bob)
	if a := ask(control.WebRequest{Do: control.WebUser, Token: token}); !a.Over {
		t.Errorf("of another bob: %+v", a)
	}
}

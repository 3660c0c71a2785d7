package imapserver

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"mailstead/imapserver/config"
)

// secrets are what must be in no log: passwords, whatever they were given for.
var secrets = []string{"pw-alice", "Zq7wrong", "WnE3d3Jvbmc"}

// logNoise is what a client says to be seen by whoever reads the log.
var logNoise = []string{
	"a\r\n<3>level=ERROR msg=forged", "\x1b[2J\x1b]0;x\x07", "%n%s%x%p", "\"quoted\" key=value", "\xff\xfe\x00x", "\u202egnp\u2028\u0085", strings.Repeat("L", 10<<10), "x\nlogin failed addr=192.0.2.9 user=root",
}

func sized(s string) string { return fmt.Sprintf("{%d+}\r\n%s", len(s), s) }

// TestLogInjection: whatever clients put into names, tags, ID, SNI and ALPN, an event
// is one line of plain text that begins with what the daemon says, few come of one
// connection, and no line has a password.
func TestLogInjection(t *testing.T) {
	dir := t.TempDir()
	pem := issue(t, time.Now().Add(time.Hour), "mail.example")
	_, address, log := inline(t, testConfig(dir), []config.User{testUser(t, dir, "alice")}, pem)
	plain, secure := "", ""
	for name, a := range address {
		if name == "imaps" {
			secure = a
		} else {
			plain = a
		}
	}
	connections := 0
	var all sync.WaitGroup
	say := func(c net.Conn, text string) {
		connections++
		all.Go(func() {
			defer c.Close()
			c.SetDeadline(time.Now().Add(30 * time.Second))
			go func() {
				io.WriteString(c, text)
				c.(interface{ CloseWrite() error }).CloseWrite()
			}()
			io.Copy(io.Discard, c)
		})
	}
	for _, noise := range logNoise {
		short := noise[:min(len(noise), 200)]
		for _, text := range []string{
			"a LOGIN " + sized(short) + " Zq7wrong\r\nb LOGOUT\r\n",
			"a LOGIN alice Zq7wrong" + "\r\nb ID (" + `"name" ` + sized(short) + ")\r\nc LOGOUT\r\n",
			noise + " LOGIN alice Zq7wrong\r\na LOGOUT\r\n",
			"a AUTHENTICATE PLAIN AGFsaWNlAFpxN3dyb25n\r\nb " + noise + "\r\nc LOGOUT\r\n",
			"a LOGIN alice pw-alice\r\nb SELECT " + sized(short) + "\r\nc CREATE " + sized(short) + "\r\nd ID (\"name\" " + sized(short) + ")\r\ne " + noise + "\r\nf LOGOUT\r\n",
		} {
			if c, err := tls.Dial("tcp", secure, &tls.Config{InsecureSkipVerify: true}); err == nil {
				say(c, text)
			} else {
				t.Fatal(err)
			}
		}
		connections += 2
		if c, err := tls.Dial("tcp", secure, &tls.Config{ServerName: strings.Trim(noise, "\x00"), InsecureSkipVerify: true}); err == nil {
			c.Close()
		}
		if c, err := tls.Dial("tcp", secure, &tls.Config{NextProtos: []string{noise[:min(len(noise), 255)]}, InsecureSkipVerify: true}); err == nil {
			c.Close()
		}
		if c, err := net.Dial("tcp", plain); err == nil {
			say(c, noise+"\r\n")
		}
	}
	all.Wait()
	text := log.String()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for _, line := range lines {
		if !strings.HasPrefix(line, "time=") && !strings.HasPrefix(line, "level=") {
			t.Errorf("a line of a client's: %.200q", line)
		}
		if i := strings.IndexFunc(line, func(r rune) bool {
			return r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x202e || r == 0xfffd
		}); i >= 0 {
			t.Errorf("octet %#x in %.300q", line[i], line)
		}
		if len(line) > 4<<10 {
			t.Errorf("a line of %d octets: %.200q", len(line), line)
		}
	}
	for _, s := range secrets {
		if i := strings.Index(text, s); i >= 0 {
			t.Errorf("a password in the log: %.200q", text[max(0, i-100):])
		}
	}
	if len(lines) > 10*connections {
		t.Errorf("%d lines of %d connections", len(lines), connections)
	}
	if !strings.Contains(text, "login failed") {
		t.Error("no failed login is in the log")
	}
}

// TestSettingsInLog: what the daemon holds that is secret does not come out where it
// is printed.
func TestSettingsInLog(t *testing.T) {
	dir := t.TempDir()
	s := settingsOf(t, testConfig(dir), []config.User{testUser(t, dir, "alice")}, issue(t, time.Now().Add(time.Hour), "mail.example"))
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "status", s.status(), "digests", s.digests)
	for _, secret := range []string{s.Users[0].Hash, "PRIVATE KEY"} {
		if strings.Contains(b.String(), secret) {
			t.Errorf("%q in %s", secret, &b)
		}
	}
}

package dialogue

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"text/template"
	"time"
)

// nobody owns the mail in Dovecot, which serves none of root's.
const nobody = 65534

// Dovecot is a Dovecot 2.3 that serves on loopback, by a configuration of its
// own. It must be started by root.
type Dovecot struct {
	dir    string
	roots  *identity
	clear  int // ports
	tls    int
	caps   []string
	daemon *exec.Cmd
}

var dovecotConf = template.Must(template.New("").Parse(`
base_dir = {{.Dir}}/run
state_dir = {{.Dir}}/state
log_path = {{.Dir}}/log
listen = 127.0.0.1
protocols = imap
ssl = yes
ssl_cert = <{{.Dir}}/cert.pem
ssl_key = <{{.Dir}}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
first_valid_uid = 1
mail_location = maildir:~/Maildir
mail_max_userip_connections = 100
mail_plugins = acl
mail_attribute_dict = file:%h/Maildir/dovecot-attributes
protocol imap {
  mail_plugins = acl imap_acl
  imap_metadata = yes
}
plugin {
  acl = vfile
}
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {{.Dir}}/users
}
userdb {
  driver = passwd-file
  args = username_format=%u {{.Dir}}/users
}
namespace inbox {
  inbox = yes
  separator = .
  mailbox Sent {
    special_use = \Sent
  }
  mailbox Drafts {
    special_use = \Drafts
  }
  mailbox Junk {
    special_use = \Junk
  }
  mailbox Trash {
    special_use = \Trash
  }
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0 # failed logins of one script must not slow down the others
  }
}
service imap-login {
  inet_listener imap {
    port = {{.Clear}}
  }
  inet_listener imaps {
    port = {{.TLS}}
    ssl = yes
  }
}
`))

// StartDovecot starts the program at path, for as long as the test runs, with
// a user for each script.
func StartDovecot(t testing.TB, path string, scripts []*Script) *Dovecot {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("Dovecot has to be started by root")
	}
	d := new(Dovecot)
	if err := d.configure(scripts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(d.dir) })
	var output bytes.Buffer
	d.daemon = exec.Command(path, "-F", "-c", filepath.Join(d.dir, "dovecot.conf"))
	d.daemon.Stdout, d.daemon.Stderr = &output, &output
	d.daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // a test that runs out of time cleans nothing up
	if err := d.daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.daemon.Process.Signal(syscall.SIGTERM)
		d.daemon.Wait()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(d.dir, "log"))
			t.Logf("Dovecot: %s%s", output.Bytes(), log)
		}
	})
	if err := d.probe(); err != nil {
		log, _ := os.ReadFile(filepath.Join(d.dir, "log"))
		t.Fatalf("Dovecot does not serve: %v\n%s%s", err, output.Bytes(), log)
	}
	return d
}

// configure writes everything that Dovecot reads. Its processes run as several
// users, so the directory is open to all.
func (d *Dovecot) configure(scripts []*Script) error {
	var err error
	if d.dir, err = os.MkdirTemp("", "dovecot"); err != nil {
		return err
	}
	if d.roots, err = newIdentity(); err != nil {
		return err
	}
	if d.clear, err = freePort(); err != nil {
		return err
	}
	if d.tls, err = freePort(); err != nil {
		return err
	}
	var conf, users strings.Builder
	if err := dovecotConf.Execute(&conf, struct {
		Dir        string
		Clear, TLS int
	}{d.dir, d.clear, d.tls}); err != nil {
		return err
	}
	for _, s := range append(scripts, &Script{Name: probeUser}) {
		fmt.Fprintf(&users, "%s:{PLAIN}secret:%d:%d::%s::\n", s.Name, nobody, nobody, d.home(s.Name))
	}
	for name, content := range map[string]string{
		"dovecot.conf": conf.String(), "users": users.String(),
		"cert.pem": string(d.roots.certificate), "key.pem": string(d.roots.key),
	} {
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return errors.Join(os.Chmod(d.dir, 0o755), d.makeHome(probeUser))
}

const probeUser = "probe"

func (d *Dovecot) home(user string) string { return filepath.Join(d.dir, "home", user) }

func (d *Dovecot) makeHome(user string) error {
	if err := os.MkdirAll(d.home(user), 0o755); err != nil {
		return err
	}
	return os.Chown(d.home(user), nobody, nobody)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// probe waits until Dovecot serves and asks for its capabilities.
func (d *Dovecot) probe() error {
	var nc net.Conn
	err := errors.New("not tried")
	for deadline := time.Now().Add(patience); err != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return err
		}
		nc, err = d.dial("plain")
	}
	defer nc.Close()
	c := newConn(nc, "probe", new(transcript))
	if err := c.send("a LOGIN " + probeUser + " secret\r\nb CAPABILITY\r\n"); err != nil {
		return err
	}
	for {
		line, err := c.receive()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, c.log)
		}
		if list, ok := strings.CutPrefix(line, "* CAPABILITY "); ok {
			d.caps = strings.Fields(list)
		}
		if strings.HasPrefix(line, "b ") {
			return nil
		}
	}
}

func (d *Dovecot) dial(listener string) (net.Conn, error) {
	port := d.clear
	if listener == "tls" {
		port = d.tls
	}
	return net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), patience)
}

// Lacks gives a capability that the script requires and Dovecot does not have.
func (d *Dovecot) Lacks(s *Script) string {
	for _, c := range s.Requires {
		if !slices.Contains(d.caps, c) {
			return c
		}
	}
	return ""
}

// Account gives the script's user, whose Maildir is empty.
func (d *Dovecot) Account(s *Script) (*Account, error) {
	a := &Account{
		Server:   "dovecot",
		User:     s.Name,
		Password: "secret",
		Maildir:  filepath.Join(d.home(s.Name), "Maildir"),
		UID:      nobody,
		GID:      nobody,
		Dial:     d.dial,
		Roots:    d.roots.roots,
		Use:      func(use, folder string) error { return checkUse(use, folder) },
	}
	if err := d.makeHome(s.Name); err != nil {
		return nil, err
	}
	return a, makeMaildir(a)
}

// checkUse refuses what the configuration of Dovecot does not say already.
func checkUse(use, folder string) error {
	if !strings.EqualFold(use, folder) {
		return fmt.Errorf("Dovecot gives no special use to %s", folder)
	}
	return nil
}

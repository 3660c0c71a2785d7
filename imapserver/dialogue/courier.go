package dialogue

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// CourierUser is a user of a Courier. Home is the directory that holds the
// Maildir, of that name; both belong to UID and GID.
type CourierUser struct {
	Name, Password string
	Home           string
	UID, GID       int
}

// courierScript runs in namespaces of its own for mounts and processes: they
// end with it. Over the lab's file system, which stays as it is, it lays a
// layer of its own in $1.
const courierScript = `
mount -t overlay overlay -o lowerdir="$2",upperdir="$1/up",workdir="$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
n=0
while read -r home; do
	mkdir "$1/root/homes/$n"
	mount --bind "$home" "$1/root/homes/$n"
	n=$((n+1))
done <"$1/list"
exec chroot "$1/root" sh -ec '
	mkdir -p /run/courier/authdaemon
	chown courier:courier /run/courier /run/courier/authdaemon
	chmod 700 /etc/courier/userdb
	makeuserdb
	set -a
	. /etc/courier/authdaemonrc
	/usr/lib/courier/courier-authlib/authdaemond &
	. /etc/courier/imapd
	umask $IMAP_UMASK
	exec couriertcpd -address=127.0.0.1 -maxprocs=4000 -maxperip=4000 -nodnslookup -noidentlookup "$1" \
		/usr/lib/courier/courier/imaplogin /usr/bin/imapd Maildir' sh "$3"
`

// StartCourier starts Debian's Courier-IMAP on loopback, as Debian has set it
// up, for as long as the test runs, and gives its address. It needs root and
// the file system that .ci/lab makes.
func StartCourier(t testing.TB, users ...CourierUser) string {
	t.Helper()
	root := filepath.Join(LabDir(t), "courier")
	if _, err := os.Stat(root + ".stamp"); err != nil {
		t.Fatalf("no Courier: %v (make it with .ci/lab)", err)
	}
	dir, err := os.MkdirTemp("", "courier")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	port, err := freePort()
	if err == nil {
		err = writeCourier(dir, users)
	}
	if err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	daemon := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child",
		"sh", "-ec", courierScript, "sh", dir, root, fmt.Sprint(port))
	daemon.Stdout, daemon.Stderr = &output, &output
	daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that runs out of time cleans nothing up
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		daemon.Process.Kill() // the kernel takes along all that it has started
		daemon.Wait()
		if t.Failed() {
			t.Logf("Courier: %s", output.Bytes())
		}
	})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for _, u := range users {
		if err := awaitCourier(address, u); err != nil {
			t.Fatalf("Courier does not serve %s: %v", u.Name, err)
		}
	}
	return address
}

// LabDir is the directory that .ci/lab has filled. It skips a test that needs
// root and the lab, unless MAILSTEAD_E2E=1 asks for it.
func LabDir(t testing.TB) string {
	t.Helper()
	if os.Getenv("MAILSTEAD_E2E") != "1" {
		t.Skip("needs root and what .ci/lab makes: set MAILSTEAD_E2E=1")
	}
	if lab := os.Getenv("MAILSTEAD_LAB"); lab != "" {
		return lab
	}
	return "/var/cache/mailstead-lab"
}

// writeCourier writes what the script reads: the users, where Courier looks
// for them, and their homes in the same order.
func writeCourier(dir string, users []CourierUser) error {
	var db, list strings.Builder
	for n, u := range users {
		hash, err := exec.Command("openssl", "passwd", "-6", u.Password).Output()
		if err != nil {
			return fmt.Errorf("openssl passwd: %w", err)
		}
		fmt.Fprintf(&db, "%s\thome=/homes/%d|mail=/homes/%[2]d/Maildir|uid=%d|gid=%d|systempw=%s", u.Name, n, u.UID, u.GID, hash)
		fmt.Fprintln(&list, u.Home)
	}
	for _, d := range []string{"up/etc/courier", "up/homes", "work", "root"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "up/etc/courier/userdb"), []byte(db.String()), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "list"), []byte(list.String()), 0o600)
}

// awaitCourier waits until a user can log in.
func awaitCourier(address string, u CourierUser) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := tryCourier(address, u)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

func tryCourier(address string, u CourierUser) error {
	nc, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	defer nc.Close()
	c := newConn(nc, "probe", new(transcript))
	if err := c.send(fmt.Sprintf("a LOGIN %s %s\r\n", u.Name, u.Password)); err != nil {
		return err
	}
	for {
		line, err := c.receive()
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(line, "a OK"):
			return nil
		case strings.HasPrefix(line, "a "), strings.HasPrefix(line, "* BYE"):
			return fmt.Errorf("it says %q", line)
		}
	}
}

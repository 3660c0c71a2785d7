package bench_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"mailstead/imapserver/config"
)

// Who auth and login run as in a parted daemon; nobody else has these uids.
const (
	serviceUID = 61100
	loginUID   = 61103
)

// partedScript is what systemd does for a parted daemon: it starts the roles, each
// with its socket at descriptor 3, and ends them.
const partedScript = `
run() {
	name=$1 uid=$2
	shift 2
	LISTEN_FDS=1 LISTEN_FDNAMES=$name setpriv --reuid "$uid" --regid "$uid" --clear-groups \
		sh -c 'LISTEN_PID=$$ exec "$0" "$@"' "$program" "$@" &
	all="$all $!"
}
run spawn 0 spawn --auth-uid "$service" 4<&- 5<&-
run auth "$service" serve --config "$config" 3<&4 4<&- 5<&-
run imap "$login" login --listener imap --auth "$auth" 3<&5 4<&- 5<&-
trap 'kill $all' TERM
wait
wait
`

// roles are how the roles of a parted daemon find each other.
func (s *server) roles() *config.Roles {
	return &config.Roles{
		Login: config.Identity{UID: loginUID, GID: loginUID},
		Auth:  filepath.Join(s.dir, "auth"), Spawn: filepath.Join(s.dir, "spawn"),
	}
}

// startParted gives the command that runs a parted daemon.
func startParted(t testing.TB, s *server, program string) *exec.Cmd {
	t.Helper()
	r := s.roles()
	cmd := exec.Command("sh", "-c", partedScript)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "program=" + program, "config=" + writeConfig(t, s), "auth=" + r.Auth,
		"service=" + strconv.Itoa(serviceUID), "login=" + strconv.Itoa(loginUID),
	}
	for _, at := range []struct {
		network, address string
		uid              int
	}{{"unixpacket", r.Spawn, serviceUID}, {"unixpacket", r.Auth, loginUID}, {"tcp", s.address, 0}} {
		os.Remove(at.address)
		l, err := net.Listen(at.network, at.address)
		if err != nil {
			t.Fatal(err)
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
			if err := os.Chown(at.address, at.uid, at.uid); err != nil {
				t.Fatal(err)
			}
		}
		f, err := l.(interface{ File() (*os.File, error) }).File()
		l.Close()
		if err != nil {
			t.Fatal(err)
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	run := filepath.Join(s.dir, "run") // of the control socket
	if err := os.MkdirAll(run, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(run, serviceUID, serviceUID); err != nil {
		t.Fatal(fmt.Errorf("give %s away: %w", run, err))
	}
	return cmd
}

package render

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mailstead/schema"
)

// analyzer gives the version of systemd-analyze, or skips the test.
func analyzer(t *testing.T) int {
	t.Helper()
	if os.Getenv("MAILSTEAD_E2E") != "1" {
		t.Skip("needs systemd-analyze: set MAILSTEAD_E2E=1")
	}
	out, err := exec.Command("systemd-analyze", "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(out))
	version, err := strconv.Atoi(fields[1])
	if err != nil {
		t.Fatalf("version %q", out)
	}
	return version
}

// units renders every unit of a host whose programs exist.
func units(t *testing.T, bin string, version int, s Spawn) string {
	t.Helper()
	for _, name := range []string{"mailstead", "mailstead-imapd", "mailstead-pam", "mailstead-deliver"} {
		if err := os.MkdirAll(bin, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.Systemd, s.Paths.Bin = version, bin
	dir := t.TempDir()
	write := func(name string) func([]byte, error) {
		return func(data []byte, err error) {
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, l := range []schema.Listener{
		{Name: "imap", Port: 143}, {Name: "imaps", Address: "192.0.2.1", Port: 993},
		{Name: "six", Address: "2001:db8::1", Port: 993}, {Name: "local", Address: "::1", Port: 1143},
		{Name: "near", Address: "::1", Port: 1144, Proxy: &schema.Proxy{}},
	} {
		write(SocketUnit(l.Name))(Socket(l))
		write(LoginUnit(l.Name))(Login{Systemd: version, Paths: s.Paths, Account: "mail", Listener: l.Name, Proxy: l.Proxy != nil}.Render())
	}
	write(SpawnUnit)(s.Render())
	write(ServiceUnit)(Service{Systemd: version, Paths: s.Paths, Account: "mail"}.Render())
	write(authAsking)(Service{Systemd: version, Paths: s.Paths, Account: "mail", Servers: []string{"192.0.2.7", "imap.example.net"}}.Render())
	write(authKnowing)(Service{Systemd: version, Paths: s.Paths, Account: "mail", Servers: []string{"192.0.2.7", "2001:db8::7"}}.Render())
	write(PAMUnit)(PAMHelper{Systemd: version, Paths: s.Paths}.Render())
	write(pamAsking)(PAMHelper{Systemd: version, Paths: s.Paths, Network: true}.Render())
	write(pamKnowing)(PAMHelper{Systemd: version, Paths: s.Paths, Network: true, Servers: []string{"192.0.2.7", "2001:db8::/64"}}.Render())
	write(AuthSocketUnit)(AuthChannel(s.Paths, "mail"))
	write(SpawnSocketUnit)(SpawnChannel(s.Paths, "mail"))
	write(PAMSocketUnit)(PAMChannel(s.Paths, "mail"))
	write(LMTPSocketUnit)(LMTPSocket("/run/mailstead-lmtp", "Debian-exim"))
	write(LMTPUnit)(LMTP{Systemd: version, Paths: s.Paths, Host: "mail.example.org", Account: s.Account, Front: Identity{UID: 998, GID: 998}, MailRoots: s.MailRoots}.Render())
	write(ApplyUnit)(Boot{Systemd: s.Systemd, Paths: s.Paths, MailRoots: []string{"/home", "/srv/my-mail", "/srv/a \\b%n"}}.Render())
	page := Web{Systemd: version, Paths: s.Paths, Account: "mail", Page: &schema.Web{Address: "192.0.2.1", Port: 443}}
	write(WebUnit)(page.Service())
	write(WebSocketUnit)(page.Socket())
	write(WebAdminDoes)(page.AdminService())
	write(WebAdminUnit)(page.AdminSocket())
	numbers := Metrics{Systemd: version, Paths: s.Paths, Account: "mail", Place: &schema.Metrics{Address: "127.0.0.1", Port: 9143}}
	write(MetricsUnit)(numbers.Service())
	write(MetricsSocketUnit)(numbers.Socket())
	check := CertCheck{Systemd: s.Systemd, Paths: s.Paths}
	write(CheckUnit)(check.Service())
	write(CheckTimer)(check.Timer())
	purge := Periodic{Systemd: s.Systemd, Paths: s.Paths, Command: []string{"purge"}, Calendar: "daily", Writes: []string{PurgeDir(s.Paths)}}
	write(PurgeUnit)(purge.Service())
	write(PurgeTimer)(purge.Timer())
	imports := Periodic{Systemd: s.Systemd, Paths: s.Paths, Command: []string{"import"}, Calendar: "hourly", Writes: s.MailRoots, Becomes: true}
	write(ImportUnit)(imports.Service())
	write(ImportTimer)(imports.Timer())
	write(ConnectSocketUnit)(ConnectChannel(s.Paths))
	write(ConnectUnit)(Connector{Systemd: version, Paths: s.Paths}.Render())
	return dir
}

var places = schema.Paths{
	State: "/var/lib/mailstead", Run: "/run/mailstead", Letsencrypt: "/etc/letsencrypt",
	Units: "/etc/systemd/system", Bin: "/usr/local/bin",
}

// hosts are what may serve mail: users with uids of their own, whom auth may look
// up at a server, and one uid for all.
var hosts = []struct {
	name  string
	spawn Spawn
}{
	{"system", Spawn{Paths: places, MailRoots: []string{"/home"}}},
	{"virtual", Spawn{Paths: places, Account: "mail", MailRoots: []string{"/var/vmail"}}},
	{"virtual in home", Spawn{Paths: places, Account: "mail", MailRoots: []string{"/home/vmail"}}},
}

// The same units where the description names servers to ask.
const (
	authAsking  = "mailstead-imapd-asking.service"
	authKnowing = "mailstead-imapd-knowing.service" // all of them by address
	pamAsking   = "mailstead-pam-asking@.service"
	pamKnowing  = "mailstead-pam-knowing@.service"
)

// exposures are the most that systemd may say of a unit, in tenths. DESIGN.md says
// which settings those above 17 do without, and why.
var exposures = map[string]int{
	LoginUnit("imaps"): 6, MetricsUnit: 6, LoginUnit("near"): 6, ServiceUnit: 4, authAsking: 12, authKnowing: 12, SpawnUnit: 17, LMTPUnit: 17, PAMUnit: 9, pamAsking: 18, pamKnowing: 17, ApplyUnit: 21, CheckUnit: 16, PurgeUnit: 10, ImportUnit: 14, ConnectUnit: 11, WebUnit: 6, WebAdminDoes: 20,
}

// systemd finds nothing to say about the units.
func TestUnitsVerify(t *testing.T) {
	version := analyzer(t)
	for _, row := range hosts {
		t.Run(row.name, func(t *testing.T) {
			verify(t, units(t, filepath.Join(t.TempDir(), "bin"), version, row.spawn))
		})
	}
}

// A path means to systemd what it meant to us: verify looks for the program.
func TestUnitsVerifyOddPaths(t *testing.T) {
	version := analyzer(t)
	s := hosts[0].spawn
	s.Paths.State = `/var/lib/a b "c" %n`
	s.Paths.Run = `/run/it's; %t`
	s.MailRoots = []string{`/home/$HOME \x41`, `/home/-x`}
	bin := filepath.Join(t.TempDir(), `a b %n ;d`)
	dir := units(t, bin, version, s)
	verify(t, dir)
	if err := os.Remove(filepath.Join(bin, "mailstead-imapd")); err != nil {
		t.Fatal(err)
	}
	if out := systemdVerify(t, dir); !strings.Contains(out, "mailstead-imapd") {
		t.Errorf("verify does not look for the program, so it proves nothing: %q", out)
	}
}

func verify(t *testing.T, dir string) {
	t.Helper()
	if out := systemdVerify(t, dir); out != "" {
		t.Errorf("systemd-analyze verify:\n%s", out)
	}
}

func systemdVerify(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no units: %v", err)
	}
	cmd := exec.Command("systemd-analyze", append([]string{"verify", "--man=no", "--recursive-errors=no"}, files...)...)
	cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
	out, _ := cmd.CombinedOutput()
	return string(out)
}

// What systemd itself thinks of the sandbox.
func TestExposure(t *testing.T) {
	version := analyzer(t)
	for _, row := range hosts {
		t.Run(row.name, func(t *testing.T) {
			dir := units(t, filepath.Join(t.TempDir(), "bin"), version, row.spawn)
			for unit, most := range exposures {
				cmd := exec.Command("systemd-analyze", "security", "--offline=true", "--json=short",
					fmt.Sprintf("--threshold=%d", most), filepath.Join(dir, unit))
				if out, err := cmd.Output(); err != nil {
					t.Errorf("%s: exposure above %d tenths: %v\n%s", unit, most, err, exposed(out))
				}
			}
		})
	}
}

// exposed lists the settings that count against a unit.
func exposed(report []byte) string {
	var rows []struct {
		Name     string `json:"name"`
		Exposure string `json:"exposure"`
	}
	if err := json.Unmarshal(report, &rows); err != nil {
		return string(report)
	}
	var b strings.Builder
	for _, r := range rows {
		if r.Exposure != "" && r.Exposure != "0" {
			fmt.Fprintf(&b, "%s %s\n", r.Exposure, r.Name)
		}
	}
	return b.String()
}

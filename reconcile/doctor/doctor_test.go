package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/limit"
	"mailstead/reconcile/kind"
)

func equal(a, b []Code) bool { return slices.Equal(a, b) }

// codes are those of findings.
func codes(found []Finding) (all []Code) {
	for _, f := range found {
		all = append(all, f.Code)
	}
	return all
}

// Every finding says what it means and what to do, and is in the documentation.
func TestTable(t *testing.T) {
	docs, err := os.ReadFile("../../docs/diagnosis.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[Code]bool{}
	for _, row := range Table {
		if seen[row.Code] {
			t.Errorf("%s is there twice", row.Code)
		}
		seen[row.Code] = true
		if row.Meaning == "" || row.Remedy == "" || row.Severity.rank() < 0 {
			t.Errorf("%s: %+v", row.Code, row)
		}
		if want := fmt.Sprintf("| `%s` | %s | %s |", row.Code, row.Severity, row.Meaning); !strings.Contains(string(docs), want) {
			t.Errorf("docs/diagnosis.md has no line\n%s", want)
		}
	}
	source, err := os.ReadFile("table.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), " Code = "); n != len(Table) {
		t.Errorf("%d codes, and %d rows", n, len(Table))
	}
}

func TestReport(t *testing.T) {
	var r Report
	r.Add(New(MailStray, "b", ""), New(DaemonDown, "a", ""), New(NameLocal, "c", ""), New(MailSize, "d", ""))
	r.Findings[0].Mends, r.Findings[1].Mends = []string{"unit/b", "unit/a"}, []string{"unit/a"}
	r.Close()
	if diff := cmp.Diff([]Code{DaemonDown, MailStray, MailSize, NameLocal}, codes(r.Findings)); diff != "" {
		t.Error(diff)
	}
	if r.Errors != 1 || r.Warnings != 2 || r.Notes != 1 {
		t.Errorf("%d, %d, %d", r.Errors, r.Warnings, r.Notes)
	}
	if diff := cmp.Diff([]string{"unit/a", "unit/b"}, r.Mends()); diff != "" {
		t.Error(diff)
	}
}

// zone is a Resolver.
type zone map[string][]netip.Addr

func (z zone) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if host == "silent.example" {
		return nil, &net.DNSError{Err: "timeout", Name: host, IsTimeout: true}
	}
	if z[host] == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return z[host], nil
}

func TestNames(t *testing.T) {
	here, mapped, there, loop := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("127.0.1.1")
	z := zone{"here.example": {here}, "mapped.example": {mapped}, "both.example": {here, there}, "local.example": {loop}}
	var names []Name
	for _, n := range []string{"here.example", "mapped.example", "both.example", "local.example", "none.example", "silent.example"} {
		names = append(names, Name{Name: n})
	}
	var inside, outside []Code
	for _, r := range Resolve(t.Context(), z, names) {
		inside = append(inside, codes(r.Judge(map[netip.Addr]bool{here: true}))...)
		outside = append(outside, codes(r.Judge(nil))...)
	}
	if diff := cmp.Diff([]Code{NameElsewhere, NameLocal, NameUnknown, NameUnknown}, inside); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Code{NameUnknown, NameUnknown}, outside); diff != "" {
		t.Error(diff)
	}
}

// Who holds a port: systemd and the listener's own service may.
func TestPort(t *testing.T) {
	p := Port{Listener: "imap", Port: 143, Units: []string{"mailstead-login@imap.service"}, PIDs: []int{7}}
	for _, h := range []kind.Holder{{PID: 1, Name: "systemd"}, {PID: 7, Name: "mailstead-imapd"}, {PID: 8, Name: "mailstead-imapd", Unit: "mailstead-login@imap.service"}} {
		if found := p.Judge([]kind.Holder{h}); len(found) > 0 {
			t.Errorf("%+v: %+v", h, found)
		}
	}
	found := p.Judge([]kind.Holder{{PID: 9, Name: "couriertcpd", Unit: "courier-imap.service"}})
	if len(found) != 1 || found[0].Seen != "port 143 is held by process 9 (couriertcpd) of courier-imap.service" || !strings.Contains(found[0].Remedy, "disable --now courier-imap.service") {
		t.Errorf("%+v", found)
	}
}

func TestUnits(t *testing.T) {
	now := time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)
	found := Units(map[string]kind.Health{
		"a.service": {Active: "inactive", Result: "success"},
		"b.service": {Active: "failed", Result: "exit-code", Status: 3},
		"c.timer":   {Active: "active", Waits: true, Next: now.Add(-time.Minute)},
		"d.timer":   {Active: "inactive"},
		"e.timer":   {Active: "active", Sub: "elapsed"},
		"f.timer":   {Active: "active", Sub: "running", Last: now.Add(-time.Hour)},
		"g.service": {Active: "activating", Sub: "start", Again: 3},
		"h.service": {Active: "activating", Sub: "start"},
		"i.timer":   {Active: "active", Sub: "running", Last: now.Add(-25 * time.Hour)},
		"j.timer":   {Active: "active", Sub: "waiting", Waits: true, Next: now.Add(-2 * time.Hour)},
		"l.timer":   {Masked: true},
		"k.timer":   {Active: "active", Sub: "waiting", Waits: true, Next: now.Add(2 * time.Hour)},
	}, now, func(string) string { return "host.cue:1:1" })
	if diff := cmp.Diff([]Code{UnitFailed, TimerDead, TimerDead, UnitFailed, TimerLate, TimerLate, UnitMasked}, codes(found)); diff != "" {
		t.Error(diff)
	}
	for i, want := range map[int]string{0: "it has failed: exit-code, status 3", 4: "i.service has been at work since 2030-04-30 11:00:00 UTC, and is not started again before its end",
		5: "it was due at 2030-05-01 10:00:00 UTC, and j.service was started last: never"} {
		if found[i].Seen != want {
			t.Error(found[i].Seen)
		}
	}
}

// What a drop-in changes, and whether it takes something back.
func TestDropIns(t *testing.T) {
	const unit = "[Service]\nNoNewPrivileges=yes\nProtectSystem=strict\nProtectHome=read-only\nCapabilityBoundingSet=CAP_KILL\nSystemCallFilter=@system-service\n" +
		"SystemCallFilter=~@privileged\nRestrictAddressFamilies=AF_UNIX\nReadOnlyPaths=/run\nUser=mail\nExecStart=/bin/x\nMemoryMax=75%\nRestrictNamespaces=yes\nIPAddressDeny=any\n"
	confines := func(key string) bool {
		return key != "ExecStart" && key != "MemoryMax" && strings.Contains(unit, "\n"+key+"=") || key == "PrivateUsers"
	}
	for added, want := range map[string][]Code{
		"NoNewPrivileges=no":                  {UnitWeakened},
		"NoNewPrivileges=true":                {UnitOverridden},
		"NoNewPrivileges=yes":                 {UnitOverridden},
		"ProtectSystem=full":                  {UnitWeakened},
		"ProtectHome=yes":                     {UnitOverridden},
		"CapabilityBoundingSet=CAP_NET_ADMIN": {UnitWeakened},
		"CapabilityBoundingSet=":              {UnitOverridden},
		"CapabilityBoundingSet=\nCapabilityBoundingSet=~CAP_KILL": {UnitWeakened, UnitOverridden},
		"CapabilityBoundingSet=\nCapabilityBoundingSet=CAP_KILL":  {UnitOverridden},
		"CapabilityBoundingSet=~CAP_KILL":                         {UnitOverridden},
		"AmbientCapabilities=CAP_NET_RAW":                         {UnitWeakened},
		"SystemCallFilter=":                                       {UnitWeakened},
		"SystemCallFilter=~@mount":                                {UnitOverridden},
		"SystemCallFilter=@mount":                                 {UnitWeakened},
		"RestrictAddressFamilies=AF_INET \\\n  AF_UNIX":           {UnitWeakened},
		"RestrictAddressFamilies=none":                            {UnitOverridden},
		"RestrictNamespaces=no":                                   {UnitWeakened},
		"RestrictNamespaces=net":                                  {UnitWeakened},
		"RestrictNamespaces=true":                                 {UnitOverridden},
		"ReadOnlyPaths=":                                          {UnitWeakened},
		"ReadOnlyPaths=/srv":                                      {UnitOverridden},
		"IPAddressDeny=":                                          {UnitWeakened},
		"IPAddressAllow=any":                                      {UnitWeakened},
		"ReadWritePaths=/srv":                                     {UnitWeakened},
		"User=root":                                               {UnitWeakened},
		"PrivateUsers=no":                                         {UnitOverridden}, // which the unit does not have
		"MemoryMax=1G":                                            {UnitOverridden},
		"# nothing":                                               {UnitOverridden},
		"Environment=A=b\nExecStart=\nExecStart=/bin/false":       {UnitOverridden},
		"MemoryMax=1G\nUser=root":                                 {UnitWeakened, UnitOverridden},
	} {
		path := filepath.Join(t.TempDir(), "x.conf")
		if err := os.WriteFile(path, []byte("[Service]\n"+added+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		found := DropIns([]Unit{{Name: "a.service", Text: unit, Added: []string{path}}, {Name: "b.service", Text: unit, Added: []string{path}}, {Name: "c.service"}}, confines)
		if !equal(codes(found), want) {
			t.Errorf("%s: %v, want %v", added, codes(found), want)
		} else if found[0].Subject != "a.service and 1 more" {
			t.Error(found[0].Subject)
		}
		if added == "ProtectSystem=full" && found[0].Seen != path+` has ProtectSystem=full (the unit: "strict")` {
			t.Error(found[0].Seen)
		}
	}
	if found := DropIns([]Unit{{Name: "a.service", Added: []string{"/none"}}}, confines); !equal(codes(found), []Code{UnitOverridden}) {
		t.Errorf("a drop-in that is not there: %v", found)
	}
}

// What runs certbot where no timer does, and which timer there is to be started.
func TestCertbotTimer(t *testing.T) {
	crontab := filepath.Join(t.TempDir(), "crontab")
	for line, renews := range map[string]bool{
		"":                                   false,
		"# 0 3 * * * root certbot renew\n":   false,
		"0 3 * * * root certbot --version\n": false,
		"0 */12 * * * root test -x /usr/bin/certbot -a \\! -d /run/systemd/system && perl -e 'sleep int(rand(43200))' && certbot -q renew --no-random-sleep-on-renew\n": false, // Debian's
		"0 0,12 * * * root sleep 9 && sudo certbot renew -q\n":                                    true,
		"MAILTO=root\n\n@daily root /opt/certbot/bin/certbot --config-dir /etc/letsencrypt renew": true,
	} {
		if err := os.WriteFile(crontab, []byte(line), 0o644); err != nil {
			t.Fatal(err)
		}
		found := Certbot{Crontabs: []string{"/nonexistent", crontab}}.Judge()
		if renews != (len(found) == 0) {
			t.Errorf("%q: %+v", line, found)
		}
	}
	stopped := Certbot{Timers: map[string]kind.Health{"certbot-renew.timer": {There: true, Active: "inactive"}}}.Judge()
	if len(stopped) != 1 || !strings.Contains(stopped[0].Remedy, "systemctl enable --now certbot-renew.timer") {
		t.Errorf("Fedora's timer is stopped: %+v", stopped)
	}
}

// What keeps certbot from renewing a lineage, or from running the hook.
func TestCertbot(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "renewal"), 0o755); err != nil {
		t.Fatal(err)
	}
	up := map[string]kind.Health{"certbot.timer": {There: true, Active: "active", Enabled: true}}
	const good = "version = 2.1.0\n[renewalparams]\nauthenticator = standalone\n"
	const manual = "[renewalparams]\nauthenticator = manual\npref_challs = dns-01,\n"
	for name, test := range map[string]struct {
		timers           map[string]kind.Health
		renewal, command string
		ini              string
		want             []Code
	}{
		"well":                      {up, good, "/usr/bin/certbot -q renew --no-random-sleep-on-renew", "max-log-backups = 0\n", nil},
		"no timer":                  {nil, good, "", "", []Code{NothingRenews}},
		"masked":                    {map[string]kind.Health{"certbot.timer": {Masked: true, Active: "inactive"}}, good, "", "", []Code{NothingRenews}},
		"snap":                      {map[string]kind.Health{"snap.certbot.renew.timer": {Active: "active", Enabled: true}}, good, "", "", nil},
		"Fedora":                    {map[string]kind.Health{"certbot-renew.timer": {Active: "active", Enabled: true}}, good, "", "", nil},
		"not enabled":               {map[string]kind.Health{"certbot.timer": {Active: "active"}}, good, "", "", []Code{NothingRenews}},
		"unknown":                   {up, "", "", "", []Code{NothingRenews}},
		"not this one":              {up, good + "autorenew = False\n", "", "", []Code{NothingRenews}},
		"this one":                  {up, good + "autorenew = True\nconfig_dir = DIR/\n", "", "", nil},
		"elsewhere":                 {up, good + "config_dir = /srv/certbot\n", "", "", []Code{HookNotRun}},
		"command":                   {up, good, "certbot renew --no-directory-hooks", "", []Code{HookNotRun}},
		"other files":               {up, good, "certbot renew --config-dir=/srv/certbot", "", []Code{HookNotRun}},
		"other files, in two words": {up, good, "certbot --config-dir /srv/certbot renew", "", []Code{HookNotRun}},
		"none by command":           {up, good, "certbot renew --no-autorenew", "", []Code{NothingRenews}},
		"by hand":                   {up, manual, "", "", []Code{NothingRenews}},
		"by hand, with a hook":      {up, manual + "manual_auth_hook = /usr/local/bin/dns\n", "", "", nil},
		"by hand, a hook for all":   {up, manual, "", "manual-auth-hook = /usr/local/bin/dns\n", nil},
		"by hand, a hook of theirs": {up, manual, "certbot renew --manual-auth-hook /usr/local/bin/dns", "", nil},
		"settings":                  {up, good, "", "no-directory-hooks = true\n", []Code{HookNotRun}},
		"other spelling":            {up, good, "", "directory_hooks = False\n", []Code{HookNotRun}},
		"settings, undone":          {up, good, "", "no-directory-hooks = false\n", nil},
	} {
		files := map[string]string{"renewal/a.conf": strings.ReplaceAll(test.renewal, "DIR", dir), "cli.ini": test.ini}
		for file, text := range files {
			path := filepath.Join(dir, file)
			if os.Remove(path); text == "" {
				continue
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		c := Certbot{Dir: dir, Lineages: []string{"a"}, Timers: test.timers, Runs: map[string][]string{"certbot.service": strings.Fields(test.command)}, Settings: []string{filepath.Join(dir, "cli.ini")}}
		if found := c.Judge(); !equal(codes(found), test.want) {
			t.Errorf("%s: %+v", name, found)
		} else if test.timers["certbot.timer"].Masked != strings.Contains(fmt.Sprint(found), "systemctl unmask certbot.timer") {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

func TestClock(t *testing.T) {
	now := time.Now()
	if found := Clock(now, now.Add(time.Minute)); slices.Contains(codes(found), ClockBack) {
		t.Errorf("%+v", found)
	}
	if found := Clock(now, now.Add(time.Hour)); !slices.Contains(codes(found), ClockBack) {
		t.Errorf("%+v", found)
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	secret := func(name string, mode os.FileMode) File {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return File{Path: path, What: "private key", Secret: true}
	}
	link := File{Path: filepath.Join(dir, "link"), What: "private key", Secret: true}
	files := []File{secret("good", 0o640), secret("read", 0o644), secret("written", 0o620), {Path: filepath.Join(dir, "none")}, link}
	if err := os.Symlink("read", link.Path); err != nil {
		t.Fatal(err)
	}
	look := func() []Finding { // without where tests have their files
		return slices.DeleteFunc(Files(files), func(f Finding) bool { return f.Subject == "/tmp" || f.Subject == dir })
	}
	// What stands in a closed directory, nobody can read.
	found := look()
	if diff := cmp.Diff([]Code{FileWritable}, codes(found)); diff != "" {
		t.Errorf("in a closed directory: %s%+v", diff, found)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if found := Files(files[:1]); !slices.ContainsFunc(found, func(f Finding) bool { return f.Code == FileWritable && strings.HasPrefix(f.Remedy, "chmod go-w ") }) {
		t.Errorf("a directory that everybody may write: %+v", found)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(os.TempDir()); err != nil || st.Mode()&0o001 == 0 {
		t.Skip("the directories of tests are closed to others here")
	}
	found = look()
	if diff := cmp.Diff([]Code{FileExposed, FileWritable, FileExposed}, codes(found)); diff != "" {
		t.Errorf("%s%+v", diff, found)
	}
}

// host is a /proc with one process of the daemon, and one of somebody else.
func host(t *testing.T, instances, watches string, descriptors int) string {
	t.Helper()
	proc := t.TempDir()
	write := func(path, text string) {
		path = filepath.Join(proc, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("sys/fs/inotify/max_user_instances", instances+"\n")
	write("sys/fs/inotify/max_user_watches", watches+"\n")
	for _, pid := range []string{"17", "18"} {
		write(pid+"/comm", map[string]string{"17": "mailstead-imapd\n", "18": "other\n"}[pid])
		write(pid+"/limits", "Limit                     Soft Limit           Hard Limit           Units\nMax open files            20                   40                   files\n")
		for i := range descriptors {
			fd := fmt.Sprintf("%s/fd/%d", pid, i)
			if i == 0 {
				write(fmt.Sprintf("%s/fdinfo/0", pid), strings.Repeat("inotify wd:1 ino:2\n", 900))
				if err := errors.Join(os.MkdirAll(filepath.Join(proc, pid, "fd"), 0o755), os.Symlink("anon_inode:inotify", filepath.Join(proc, fd))); err != nil {
					t.Fatal(err)
				}
				continue
			}
			write(fd, "")
		}
	}
	return proc
}

func TestLimits(t *testing.T) {
	for _, test := range []struct {
		instances, watches string
		descriptors        int
		want               []Code
	}{
		{"128", "65536", 10, nil},
		{"128", "65536", 16, []Code{LimitDescriptors}},
		{"8", "65536", 1, []Code{LimitInotify}},
		{"128", "1024", 1, []Code{LimitInotify}},
		{"128", "512", 1, []Code{LimitInotify, LimitInotify}},
	} {
		found, looked := Limits(host(t, test.instances, test.watches, test.descriptors), "mailstead-imapd")
		if !equal(codes(found), test.want) || looked != 1 {
			t.Errorf("%+v: %+v of %d", test, found, looked)
		}
	}
	if _, looked := Limits(host(t, "128", "65536", 1), "mailstead-imapd", 99); looked != 0 {
		t.Error("a process that is not meant was looked at")
	}
}

func TestMail(t *testing.T) {
	s := kind.Scan{Partly: "much", Flaws: []kind.Flawed{
		{Flaw: kind.Incomplete, Count: 1, Where: []string{"no tmp"}},
		{Flaw: kind.StaleTmp, Count: 9, Where: []string{"tmp/a", "tmp/b"}},
		{Flaw: "made up", Count: 1},
	}}
	found := Mail("alice", "/home/alice/Maildir", s, false, "host.cue:1:1")
	if diff := cmp.Diff([]Code{MailBroken, MailStaleTmp, MailPartly}, codes(found)); diff != "" {
		t.Error(diff)
	}
	if want := "files in tmp that nobody has touched for 36 hours: 9 (tmp/a, tmp/b, ...)"; found[1].Seen != want {
		t.Errorf("%q, want %q", found[1].Seen, want)
	}
	if found := Mail("alice", "", s, true, ""); slices.Contains(codes(found), MailBroken) {
		t.Error("what the plan has said is said twice")
	}
}

// A file system is full by octets or by inodes, or soon; one that tells of neither is
// not.
func TestVolume(t *testing.T) {
	const gib = 1 << 30
	for _, test := range []struct {
		disk kind.Disk
		want []Code
	}{
		{kind.Disk{Size: 100 * gib, Free: 50 * gib, AllInodes: 1000, FreeInodes: 500}, nil},
		{kind.Disk{Size: 100 * gib, Free: 2 * gib}, nil},
		{kind.Disk{Size: 100 * gib, Free: gib - 1}, []Code{DiskLow}},
		{kind.Disk{Size: 2 * gib, Free: gib / 2}, nil},
		{kind.Disk{Size: 100 * gib, Free: 1 << 20}, []Code{DiskFull}},
		{kind.Disk{Size: 8 << 20, Free: 4 << 20}, nil},
		{kind.Disk{Size: 100 * gib, Free: 50 * gib, AllInodes: 1000, FreeInodes: 49}, []Code{DiskFull}},
		{kind.Disk{Size: 100 * gib, Free: 50 * gib, AllInodes: 10_000, FreeInodes: 400}, []Code{DiskLow}},
		{kind.Disk{Size: 100 * gib, Free: 50 * gib, ReadOnly: true}, []Code{DiskReadOnly}},
		{kind.Disk{ReadOnly: true}, nil},
	} {
		found := Volume{Disk: test.disk, What: "mail of alice (/home/alice/Maildir)", More: 2}.Judge()
		if !equal(codes(found), test.want) {
			t.Errorf("%+v: %v", test.disk, found)
		}
		if len(found) > 0 && found[0].Subject != "file system of mail of alice (/home/alice/Maildir) and 2 more" {
			t.Error(found[0].Subject)
		}
	}
}

// What the limits promise, beside what units and host have: by the users that there
// are, or by the table where anybody may come.
func TestPromise(t *testing.T) {
	const gib = 1 << 30
	well := Promise{Limits: limit.Default().Login, Set: true, Users: map[string]int{"1000:1000": 1}, RAM: gib,
		Logins: []Holding{{Unit: "login", Descriptors: 20_000, Memory: gib}}, Spawn: Holding{Unit: "spawn", Descriptors: 20_000, Memory: gib}}
	for _, test := range []struct {
		name   string
		change func(p *Promise)
		want   []string
	}{
		{"one user", func(*Promise) {}, nil},
		{"nothing is known", func(p *Promise) { *p = Promise{Limits: p.Limits, Users: map[string]int{"1:1": 9999}} }, nil},
		{"descriptors", func(p *Promise) { p.Limits.PerUser = 10_000 },
			[]string{"login: the limits promise 10000 sessions (users: 1, sessionsPerUser: 10000): 2 descriptors for each, and one for each of 1100 connections that are not logged in, are 21132, and it has 20000, enough for about 9464"}},
		{"anybody", func(p *Promise) { p.Anybody, p.Limits.Sessions = "5:5", 50_000 }, []string{
			"spawn: the limits promise 50000 sessions (sessions: 50000): a descriptor for each, and 9 for each user, in the worker that has most of them are 59032, and it has 20000, enough for about 16939",
			"spawn: the limits promise 50000 sessions (sessions: 50000): 18 KiB for each, 320 KiB for each user and 4.4 MiB for each worker are 1.2 GiB, and it has 1 GiB, enough for about 42816",
			"memory: the limits promise 50000 sessions (sessions: 50000): 32 KiB for each, and for each of 1100 that are not logged in, in the processes of listeners, and in workers 18 KiB for each, 320 KiB for each user and 4.4 MiB for each worker, are 2.7 GiB, and it has 1 GiB, enough for about 18333",
			"login: the limits promise 50000 sessions (sessions: 50000): 2 descriptors for each, and one for each of 1100 connections that are not logged in, are 101132, and it has 20000, enough for about 9888",
			"login: the limits promise 50000 sessions (sessions: 50000): 32 KiB for each, and for each of 1100 connections that are not logged in, are 1.6 GiB, and it has 1 GiB, enough for about 32062"}},
		{"a uid each", func(p *Promise) {
			for i := range 300 {
				p.Users[fmt.Sprint(i)] = 1
			}
			p.Limits.PerUser, p.RAM = 2, 2*gib
		}, []string{"spawn: the limits promise 602 sessions (users: 301, sessionsPerUser: 2): 18 KiB for each, 320 KiB for each user and 4.4 MiB for each worker are 1.4 GiB, and it has 1 GiB, enough for about 431"}},
		{"a proxy", func(p *Promise) { p.Logins[0].Proxy = true }, []string{
			"login: the limits promise 100000 sessions (sessions: 100000): 2 descriptors for each, and one for each of 1100 connections that are not logged in, are 201132, and it has 20000, enough for about 9943",
			"login: the limits promise 100000 sessions (sessions: 100000): 32 KiB for each, and for each of 1100 connections that are not logged in, are 3.1 GiB, and it has 1 GiB, enough for about 32411"}},
	} {
		p := well
		p.Users, p.Logins = maps.Clone(well.Users), slices.Clone(well.Logins)
		test.change(&p)
		var got []string
		for _, f := range p.Judge() {
			got = append(got, f.Subject+": "+f.Seen)
			if f.Code != LimitPromise || f.Severity != Warning {
				t.Errorf("%s: %+v", test.name, f)
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
	well.Set, well.Limits.PerUser = false, 10_000
	if found := well.Judge(); len(found) != 1 || found[0].Severity != Note {
		t.Errorf("what nobody has set: %+v", found)
	}
}

// What a unit is going to have is in its text.
func TestWanted(t *testing.T) {
	const gib = 1 << 30
	for text, want := range map[string]Holding{
		"[Service]\nLimitNOFILE=262144\nMemoryMax=75%\n":      {Unit: "a.service", Descriptors: 262144, Memory: gib / 100 * 75},
		"[Service]\nLimitNOFILE=infinity\nMemoryMax=infinity": {Unit: "a.service"},
		"": {Unit: "a.service"},
	} {
		if h := Wanted("a.service", text, gib); h != want {
			t.Errorf("%q: %+v", text, h)
		}
	}
}

// What a unit may have is what its process was given, if that is less.
func TestHold(t *testing.T) {
	proc := host(t, "128", "65536", 1)
	for have, want := range map[int64]int64{0: 20, 10: 10, 50: 20} {
		if h := Hold("a.service", kind.Health{PID: 17, Descriptors: have, Memory: 5}, proc); h != (Holding{Unit: "a.service", Descriptors: want, Memory: 5}) {
			t.Errorf("%d: %+v", have, h)
		}
	}
	if n := RAM("/proc"); n < 64<<20 {
		t.Errorf("this host has %d octets of memory", n)
	}
}

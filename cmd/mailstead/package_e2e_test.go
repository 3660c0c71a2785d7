package main_test

import (
	"bytes"
	"context"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// buildPackage makes the Debian package of this tree and gives its file.
func buildPackage(t *testing.T, env ...string) string {
	t.Helper()
	cmd := exec.Command("../../.ci/package/build", t.TempDir())
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// TestPackage is the life of a host whose programs come from the Debian package:
// installing starts nothing, an upgrade ends no session, and whatever becomes of the
// package, mail stays.
func TestPackage(t *testing.T) {
	t.Parallel()
	b := newBox(t, "package")
	page := blocksOf(t, "package.md")
	deb := buildPackage(t)
	sameAgain(t, deb, page[2])
	put := func(deb, name string) {
		t.Helper()
		if out, err := exec.Command("cp", deb, filepath.Join(b.root(), "root", name)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	put(deb, filepath.Base(deb))
	put(newerPackage(t, deb), "two.deb")
	b.sh("rm /usr/local/bin/mailstead*; useradd -m -s /bin/bash alice; echo alice:wonder | chpasswd")

	host := "getent passwd; getent group; systemctl list-unit-files --no-legend; systemctl list-units --all --no-legend 'mailstead*'"
	others := func() string {
		return b.sh(host + `; find /etc /home /usr/local /var/lib /run/systemd/system -xdev -mindepth 1 -not -path '/var/lib/dpkg*' -printf '%p %i %m %u %s %C@\n' | sort`)
	}
	before := others()
	b.runPage("", page[0])
	b.sh("dpkg --verify mailstead")
	contains(t, b.run("mailstead", "version"), "mailstead "+b.run("dpkg-query", "-W", "-f", "${Version}", "mailstead")+", ")
	if after := others(); before != after {
		t.Errorf("installing changed the host:\n%s", lineDiff(before, after))
	}
	b.sh("! dpkg-query -W -f '${Conffiles}' mailstead | grep .")
	for _, program := range []string{"mailstead", "mailstead-imapd", "mailstead-deliver"} {
		contains(t, b.try("", "sh", "-c", "ldd /usr/bin/"+program+" 2>&1").stdout, "not a dynamic executable")
	}
	b.sh("mailstead-pam --check && mailstead-imapd --help >/usage && zcat /usr/share/man/man8/mailstead-imapd.8.gz >/page")
	for line := range strings.Lines(b.sh("grep '^  mailstead-imapd ' /usage")) {
		contains(t, strings.ReplaceAll(b.sh("cat /page"), `\-`, "-"), strings.TrimSpace(line))
	}

	b.sh("mailstead init --host mail.example.org && sed -i 's/certbot: {}/selfSigned: {}/; s/users: {}/users: alice: {}/' /etc/mailstead/mailstead.cue && mailstead apply --yes")
	b.sh("mkdir /root/pebble && openssl x509 -in /var/lib/mailstead/bundles/mail.example.org.pem -out /root/pebble/root.pem")
	python(b, login+`c.append("INBOX", None, None, b"Subject: one\r\n\r\nbody\r\n")`)
	contains(t, b.run("mailstead", "status"), ", version "+b.run("dpkg-query", "-W", "-f", "${Version}", "mailstead")+", ")
	b.upgraded(page[1])
	b.removed()
}

// upgraded upgrades the package while somebody is connected.
func (b *box) upgraded(page []step) {
	b.t.Helper()
	out := python(b, login+`
import subprocess
pid = subprocess.check_output(["systemctl", "show", "-P", "MainPID", "mailstead-imapd"])
print(subprocess.check_output(["dpkg", "-i", "two.deb"], text=True))
assert c.noop()[0] == "OK"
assert subprocess.check_output(["systemctl", "show", "-P", "MainPID", "mailstead-imapd"]) == pid
d = Client("mail.example.org")
d.starttls(ctx)
d.login("alice", "wonder")
assert d.select()[1] == [b"1"]
`)
	contains(b.t, out, `goes on as the version before, until "mailstead apply"`)
	contains(b.t, b.exit(2, "mailstead", "plan", "--detailed-exitcode").stdout, "unit/mailstead-spawn.service", "restart")
	b.runPage("", page)
	contains(b.t, b.run("mailstead", "status"), "In step.")
	python(b, login+`assert c.select()[1] == [b"1"]`)
}

// removed takes the package away, brings it back and purges it.
func (b *box) removed() {
	b.t.Helper()
	kept := `find /home/alice/Maildir /etc/mailstead -type f -not -path '*/Maildir/mailstead*' -exec sha256sum {} + | sort`
	before := b.sh(kept)
	contains(b.t, b.run("dpkg", "-r", "mailstead"), "no longer served", "stay")
	b.sh("! systemctl -q is-active 'mailstead-*' && ! ss -tln | grep ':143 ' && ! systemctl is-enabled mailstead-imap.socket")
	b.sh("dpkg -i two.deb && ! systemctl -q is-active 'mailstead-*' && mailstead apply --yes")
	python(b, login+`assert c.select()[1] == [b"1"]`)
	contains(b.t, b.run("dpkg", "-P", "mailstead"), "all mail stay")
	if after := b.sh(kept); !strings.Contains(after, "/Maildir/") || before != after {
		b.t.Errorf("purging changed what is to stay:\n%s", lineDiff(before, after))
	}
}

// sameAgain builds the package once more, as the page says, under other circumstances.
func sameAgain(t *testing.T, deb string, page []step) {
	t.Helper()
	again := builtAsSaid(t, page, "077", "TZ=Asia/Kolkata", "LANG=tr_TR.UTF-8", "HOSTNAME=elsewhere")
	one, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(deb) != filepath.Base(again) || !bytes.Equal(one, two) {
		t.Errorf("built twice, %s and %s differ", deb, again)
	}
}

// builtAsSaid builds a package as a page says, under that umask, and gives its file.
func builtAsSaid(t *testing.T, page []step, umask string, env ...string) string {
	t.Helper()
	home := t.TempDir()
	caches, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	dirs := strings.Fields(string(caches))
	if err != nil || len(dirs) != 2 {
		t.Fatalf("go env: %q %v", caches, err)
	}
	runPage(t, func(ctx context.Context, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", "umask " + umask + `; exec "$@"`, "sh"}, args...)...)
		cmd.Dir = "../.."
		cmd.Env = append(append(os.Environ(), "HOME="+home, "GOCACHE="+dirs[0], "GOMODCACHE="+dirs[1]), env...)
		return cmd
	}, "", page)
	built, err := filepath.Glob(filepath.Join(home, "packages", "*.deb"))
	if err != nil || len(built) != 1 {
		t.Fatalf("packages: %q %v", built, err)
	}
	return built[0]
}

// TestPackageForeign: the package for arm64, made on another machine, is for arm64, and
// the same each time; its programs run.
func TestPackageForeign(t *testing.T) {
	if os.Getenv("MAILSTEAD_FOREIGN") == "" {
		t.Skip("needs gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user-static and Debian's mirror: set MAILSTEAD_FOREIGN=1")
	}
	page := blocksOf(t, "package.md")
	deb := builtAsSaid(t, page[0], "022")
	sameAgain(t, deb, page[0])
	out, err := exec.Command("dpkg-deb", "-f", deb, "Architecture", "Depends").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	contains(t, string(out), "Architecture: arm64\n", "libc6 (>= 2.", "libpam0g (>= ")
	tree := t.TempDir()
	if out, err := exec.Command("dpkg-deb", "-x", deb, tree).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for program, wants := range map[string][]string{
		"mailstead": nil, "mailstead-imapd": nil, "mailstead-deliver": nil, "mailstead-pam": {"libc.so.6", "libpam.so.0"},
	} {
		f, err := elf.Open(filepath.Join(tree, "usr/bin", program))
		if err != nil {
			t.Fatal(err)
		}
		libraries, err := f.ImportedLibraries()
		slices.Sort(libraries)
		if err != nil || f.Machine != elf.EM_AARCH64 || !slices.Equal(libraries, wants) {
			t.Errorf("%s is for %v, and wants %q: %v", program, f.Machine, libraries, err)
		}
		f.Close()
	}
	foreign := func(args ...string) string {
		t.Helper()
		args[0] = filepath.Join(tree, "usr/bin", args[0])
		out, err := exec.Command("qemu-aarch64-static", args...).CombinedOutput()
		if err != nil {
			t.Errorf("%q: %v: %s", args, err, out)
		}
		return string(out)
	}
	contains(t, foreign("mailstead", "version"), "arm64")
	foreign("mailstead", "validate", "../../examples/quickstart")
	contains(t, foreign("mailstead-imapd", "--help"), "mailstead-imapd ")
}

// newerPackage is the package with a daemon that is another file, though it does
// the same: a program may have anything at its end.
func newerPackage(t *testing.T, deb string) string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("sh", "-ec", `
dpkg-deb -R "$1" "$2/tree"
sed -i 's/^Version: .*/&.1/' "$2/tree/DEBIAN/control"
echo newer >>"$2/tree/usr/bin/mailstead-imapd"
sed -i '/mailstead-imapd$/d' "$2/tree/DEBIAN/md5sums"
dpkg-deb -Znone -b "$2/tree" "$2/two.deb"`, "sh", deb, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(dir, "two.deb")
}

package kind

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

// Users call the units of their own systemd what they like; whoever looks for the
// holder of a port is told no name of theirs.
func TestServicesIn(t *testing.T) {
	for cgroups, want := range map[string][]string{
		"0::/system.slice/courier-imap.service\n":                                                                 {"courier-imap.service"},
		"0::/system.slice/system-mailstead\\x2dlogin.slice/mailstead-login@imap.service\n":                        {"mailstead-login@imap.service"},
		"0::/machine.slice/systemd-nspawn@a.service/payload/system.slice/b.service\n":                             {"systemd-nspawn@a.service", "b.service"},
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/mailstead-login@imap.service\n":               nil,
		"0::/user.slice/user-1000.slice/user@1000.service/app.slice/ssh.service\n1:name=systemd:/x/ssh.service\n": nil,
		"0::/user.slice/user-1000.slice/session-3.scope\n":                                                        nil,
	} {
		if got := servicesIn(cgroups); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", cgroups, got, want)
		}
	}
}

// Who listens at another address of the same port is in nobody's way.
func TestHolders(t *testing.T) {
	for text, want := range map[string]string{
		"0100007F": "127.0.0.1", "00000000": "0.0.0.0", "00000000000000000000000000000000": "::",
		"0000000000000000FFFF00000100007F": "127.0.0.1", "B80D0120000000000000000001000000": "2001:db8::1",
	} {
		if got := procAddress(text); got != netip.MustParseAddr(want) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	self := func(h Holder) bool { return h.PID == os.Getpid() }
	for address, want := range map[string]bool{"": true, "::": true, "0.0.0.0": true, "127.0.0.2": true, "127.0.0.1": false, "::1": false} {
		if got := slices.ContainsFunc(Holders(address, l.Addr().(*net.TCPAddr).Port), self); got != want {
			t.Errorf("%q: %v, want %v", address, got, want)
		}
	}
}

// At boot apply sees no port of the host's: it says how to find out who has one.
func TestWhoHas(t *testing.T) {
	failed := errors.New("start mailstead-imaps.socket: it failed:\n  mailstead-imaps.socket: Failed to create listening socket ([::]:993): Address already in use")
	for listen, want := range map[string]string{
		"[Socket]\nListenStream=993\n":               `"ss -ltnp 'sport = :993'" says who has the port`,
		"[Socket]\nListenStream=[2001:db8::1]:993\n": `"ss -ltnp 'sport = :993'" says who has the port`,
		"[Service]\n": "",
	} {
		c := create(unitFor("/u", "mailstead-imaps.socket", listen, Up))
		got := whoHas(c, failed)
		if _, hint, _ := strings.Cut(got.Error(), "in use\n"); hint != want || !errors.Is(got, failed) {
			t.Errorf("%q: %q, want %q", listen, hint, want)
		}
		if other := errors.New("it took too long"); whoHas(c, other) != other {
			t.Errorf("%q: another fault is said to be of a port", listen)
		}
	}
}

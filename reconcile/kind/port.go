package kind

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"mailstead/reconcile"
)

// portTaken says who else listens where a socket of a service is to listen, ""
// if nobody does, or only the service itself, which will have ended by then. The
// address is a port or host:port.
func portTaken(address, service string) string {
	if !strings.Contains(address, ":") {
		address = ":" + address
	}
	l, err := net.Listen("tcp", address)
	if err == nil {
		l.Close()
		return ""
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		return "" // an address that may come later, or one that systemd judges better
	}
	_, port, _ := net.SplitHostPort(address)
	text := fmt.Sprintf("port %s is taken", port)
	n, err := strconv.Atoi(port)
	if err != nil {
		return text
	}
	pids := socketOwners(listeners4and6("", n))
	for _, pid := range pids {
		if inUnit(pid, service) {
			return ""
		}
	}
	if len(pids) > 0 {
		text += fmt.Sprintf(" by process %s (%s)", pids[0], processName(pids[0]))
		switch unit := unitOf(pids[0]); {
		case strings.HasPrefix(unit, "courier-imap"):
			text += ": \"mailstead cutover\" takes the host over from Courier"
		case unit != "":
			text += fmt.Sprintf(": run \"systemctl disable --now %s\" and apply again", unit)
		}
	}
	return text
}

// whoHas adds to why a socket has not started how to find out who has its port. systemd
// does not say, and at boot apply sees no network but its own, so that portTaken finds
// nobody.
func whoHas(c reconcile.Change, err error) error {
	if c.Want == nil || !strings.Contains(strings.ToLower(err.Error()), syscall.EADDRINUSE.Error()) {
		return err
	}
	var ports []string
	for _, a := range listenAddresses(c.Want.Get("content")) {
		ports = append(ports, "sport = :"+a[strings.LastIndexByte(a, ':')+1:])
	}
	if len(ports) == 0 {
		return err
	}
	return fmt.Errorf("%w\n\"ss -ltnp '%s'\" says who has the port", err, strings.Join(ports, " or "))
}

// Holder is a process that has a listening socket open.
type Holder struct {
	PID  int
	Name string // as it calls itself
	Unit string // the service that it is part of, "" if it is of none
}

// Holders gives the processes that have a socket open which listens where a
// listener of an address ("" is every one) is to, as far as one may look: only root
// sees those of others.
func Holders(address string, port int) (all []Holder) {
	inodes := listeners4and6(address, port)
	if len(inodes) == 0 {
		return nil
	}
	for _, pid := range socketOwners(inodes) {
		n, err := strconv.Atoi(pid)
		if err == nil {
			all = append(all, Holder{PID: n, Name: processName(pid), Unit: unitOf(pid)})
		}
	}
	return all
}

// unitOf gives the service that a process is part of, "" if it is of none.
func unitOf(pid string) string {
	if units := unitsOf(pid); len(units) > 0 {
		return units[0]
	}
	return ""
}

func unitsOf(pid string) []string {
	data, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil {
		return nil
	}
	return servicesIn(string(data))
}

// servicesIn gives the services in what cgroups(7) says of a process, from the
// outermost. Users call the units of their own systemd what they like: it has none.
func servicesIn(cgroups string) (units []string) {
	for line := range strings.Lines(cgroups) {
		for _, part := range strings.Split(strings.TrimSpace(line), "/") {
			switch {
			case strings.HasPrefix(part, "user@"):
				return nil
			case strings.HasSuffix(part, ".service") && unitName.MatchString(part):
				units = append(units, part)
			}
		}
	}
	return units
}

// listening tells whether any program listens on a TCP port of the host.
func listening(port int) bool { return len(listeners4and6("", port)) > 0 }

// listeners4and6 gives the inodes of the sockets that listen on a TCP port, and are
// in the way of one that listens there at an address ("" is every one).
func listeners4and6(address string, port int) (inodes []string) {
	const listen = "0A"
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			// "0: 0100007F:0050 00000000:0000 0A ... uid timeout inode ..."
			w := strings.Fields(s.Text())
			if len(w) < 10 || w[3] != listen {
				continue
			}
			ip, service, _ := strings.Cut(w[1], ":")
			if n, err := strconv.ParseUint(service, 16, 16); err == nil && int(n) == port && inTheWay(address, procAddress(ip)) {
				inodes = append(inodes, w[9])
			}
		}
		f.Close()
	}
	return inodes
}

// procAddress reads an address of /proc/net/tcp: words of 32 bits, each as a machine
// has it whose first octet is the lowest.
func procAddress(text string) netip.Addr {
	data, _ := hex.DecodeString(text)
	for i := 0; i+4 <= len(data); i += 4 {
		slices.Reverse(data[i : i+4])
	}
	a, _ := netip.AddrFromSlice(data)
	return a.Unmap()
}

// inTheWay tells whether a socket at an address keeps another from an address, at the
// same port. That of everything in IPv6 takes IPv4 along.
func inTheWay(address string, has netip.Addr) bool {
	own, err := netip.ParseAddr(address)
	if err != nil || own == netip.IPv6Unspecified() || has == netip.IPv6Unspecified() || !has.IsValid() {
		return true
	}
	return own == has || own.Is4() == has.Is4() && (own.IsUnspecified() || has.IsUnspecified())
}

// socketOwners gives the processes that have one of the sockets open, as far as
// one may look.
func socketOwners(inodes []string) (pids []string) {
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*") // the pattern is well-formed
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if err != nil {
			continue
		}
		inode, ok := strings.CutPrefix(strings.TrimSuffix(target, "]"), "socket:[")
		if pid := strings.Split(fd, "/")[2]; ok && slices.Contains(inodes, inode) && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// inUnit tells whether systemd runs a process as part of a service.
func inUnit(pid, service string) bool { return slices.Contains(unitsOf(pid), service) }

func processName(pid string) string {
	name, err := os.ReadFile("/proc/" + pid + "/comm")
	if err != nil {
		return "unknown"
	}
	return show(strings.TrimSpace(string(name)))
}

// show makes a name that a process has given itself fit for a terminal.
func show(name string) string { return strings.ToValidUTF8(strings.Map(printable, name), "?") }

func printable(r rune) rune {
	if !unicode.IsPrint(r) {
		return '?'
	}
	return r
}

// listenAddresses gives where a socket unit listens.
func listenAddresses(content string) (addresses []string) {
	for line := range strings.Lines(content) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.TrimSpace(key) == "ListenStream" {
			addresses = append(addresses, strings.TrimSpace(value))
		}
	}
	return addresses
}

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strconv"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/render"
)

const (
	unknownCell = "?" // what could not be read
	// selfSignedCell stands for whichever certificate was made when it was applied.
	selfSignedCell = "self-signed"
)

// side is a host seen from one side: the description, what was applied last, the
// disk or the daemon.
type side struct {
	unknown bool // nothing is known; otherwise what is not in cells is not there
	keys    []cellKey
	cells   map[cellKey]string
}

// cellKey names one thing that every side has a value of.
type cellKey struct {
	kind cellKind
	name string
}

// cellKind orders the rows of a status.
type cellKind int

const (
	configurationCell cellKind = iota
	listenerCell
	certificateCell
	usersCell
)

func (k cellKind) String() string {
	return [...]string{"configuration", "listener", "certificate", "users"}[k]
}

func (s *side) put(kind cellKind, name, value string) {
	key := cellKey{kind, name}
	if s.cells == nil {
		s.cells = map[cellKey]string{}
	}
	if _, ok := s.cells[key]; !ok {
		s.keys = append(s.keys, key)
	}
	s.cells[key] = value
}

func (s *side) cell(key cellKey) string {
	if s.unknown {
		return unknownCell
	}
	return s.cells[key]
}

// putConfig takes from the text of a configuration what a side says of it: its
// digest, and not what it calls itself, which who edits it by hand leaves as it is.
func (s *side) putConfig(text []byte) error {
	c, err := config.Parse(text)
	if err != nil {
		return err
	}
	s.put(configurationCell, "", digestOf(text))
	for _, l := range c.Listeners {
		s.put(listenerCell, l.Name, listenerText(net.JoinHostPort(l.Address, strconv.Itoa(l.Port)), l.TLS))
	}
	return nil
}

// desiredSide is what the description asks for. Listeners and certificates that
// wait are part of it.
func desiredSide(l *look) (side, error) {
	var s side
	for _, r := range l.want {
		text := []byte(r.Get(contentAttr))
		switch r.Ref {
		case reconcile.Ref{Kind: "daemon-config", Name: render.ConfigFile(l.host.Paths)}:
			if err := s.putConfig(text); err != nil {
				return s, fmt.Errorf("read the rendered configuration: %w", err)
			}
		case reconcile.Ref{Kind: "password-file", Name: render.UsersFile(l.host.Paths)}:
			s.put(usersCell, "", usersText(countUsers(text), digestOf(text)))
		}
	}
	for _, listener := range l.host.Listeners {
		key := cellKey{listenerCell, listener.Name}
		if _, ok := s.cells[key]; !ok {
			s.put(listenerCell, listener.Name, listenerText(net.JoinHostPort(listener.Address, strconv.Itoa(listener.Port)), string(listener.TLS)))
		}
	}
	for _, c := range l.host.TLS.Certificates {
		s.put(certificateCell, c.Name, wantedCertificate(l.facts.Certificates[c.Name]))
	}
	return s, nil
}

// wantedCertificate is the fingerprint that a certificate's source has, or why
// it has none.
func wantedCertificate(c reconcile.Certificate) string {
	switch {
	case c.Unreadable != "":
		return unknownCell
	case c.Missing != "":
		return "not issued"
	case c.Fault != "":
		return "unusable"
	case c.Fingerprint == "":
		return "to be made"
	}
	return c.Fingerprint
}

// diskSide is what the daemon would serve if it were started now.
func diskSide(l *look) side {
	var s side
	text, err := os.ReadFile(render.ConfigFile(l.host.Paths))
	if err == nil {
		err = s.putConfig(text)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return side{unknown: true}
	}
	users, err := os.ReadFile(render.UsersFile(l.host.Paths))
	switch {
	case err == nil:
		s.put(usersCell, "", usersText(countUsers(users), digestOf(users)))
	case !errors.Is(err, fs.ErrNotExist):
		s.put(usersCell, "", unknownCell)
	}
	for name, c := range l.facts.Certificates {
		if c.Installed != "" {
			s.put(certificateCell, name, c.Installed)
		} else if c.Unreadable != "" {
			s.put(certificateCell, name, unknownCell)
		}
	}
	return s
}

// appliedSide is the generation in force, and of each certificate what was
// installed last; both are root's to know.
func appliedSide(l *look) side {
	g := generationsOf(l.host.Paths.State)
	n, err := g.current()
	if n == 0 || err != nil {
		return side{unknown: true}
	}
	var s side
	text, err := os.ReadFile(g.path(n, renderedDir, render.ConfigFile(l.host.Paths)))
	if err == nil {
		err = s.putConfig(text)
	}
	users, uerr := os.ReadFile(g.path(n, renderedDir, render.UsersFile(l.host.Paths)))
	inv, ierr := reconcile.ReadInventory(l.host.Paths.State)
	if errors.Join(err, uerr, ierr) != nil {
		return side{unknown: true}
	}
	s.put(usersCell, "", usersText(countUsers(users), digestOf(users)))
	for _, c := range l.host.TLS.Certificates {
		value := selfSignedCell
		if r, ok := inv.Applied(kind.CertificateRef(c.Name)); !ok {
			value = ""
		} else if f := r.Get("fingerprint"); f != "" {
			value = f
		}
		s.put(certificateCell, c.Name, value)
	}
	return s
}

// runningSide is what the daemon says that it serves.
func runningSide(status control.Status) side {
	var s side
	s.put(configurationCell, "", status.Config)
	for _, l := range status.Listeners {
		s.put(listenerCell, l.Name, listenerText(l.Address, l.TLS))
	}
	for _, b := range status.Bundles {
		s.put(certificateCell, b.Name, b.Fingerprint)
	}
	s.put(usersCell, "", usersText(status.Users.Count, status.Users.Digest))
	return s
}

// listenerText writes an address and how TLS starts there; "*" is every address.
func listenerText(address, tls string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address + " " + tls
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "*"
	}
	return net.JoinHostPort(host, port) + " " + tls
}

// countUsers counts the users of a password file: a line each behind the first.
func countUsers(text []byte) int { return max(0, bytes.Count(text, []byte("\n"))-1) }

// usersText says how many users there are, and which list they are in.
func usersText(count int, digest string) string { return fmt.Sprintf("%d, %s", count, show(digest)) }

// digestOf is how a file is named: SHA-256 in lower-case hex.
func digestOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

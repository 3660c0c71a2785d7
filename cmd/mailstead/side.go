package main

import (
	"bytes"
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
	"mailstead/render"
)

// unknownCell is what could not be read.
const unknownCell = "?"

// side is a host seen from one side: the description, the disk or the daemon.
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

// putConfig takes from a configuration what a side says of it.
func (s *side) putConfig(c *config.Config) {
	s.put(configurationCell, "", c.Generation)
	for _, l := range c.Listeners {
		s.put(listenerCell, l.Name, listenerText(net.JoinHostPort(l.Address, strconv.Itoa(l.Port)), l.TLS))
	}
}

// desiredSide is what the description asks for. Listeners and certificates that
// wait are part of it.
func desiredSide(l *look) (side, error) {
	var s side
	for _, r := range l.want {
		text := []byte(r.Get(contentAttr))
		switch r.Ref {
		case reconcile.Ref{Kind: "daemon-config", Name: render.ConfigFile(l.host.Paths)}:
			c, err := config.Parse(text)
			if err != nil {
				return s, fmt.Errorf("read the rendered configuration: %w", err)
			}
			s.putConfig(c)
		case reconcile.Ref{Kind: "password-file", Name: render.UsersFile(l.host.Paths)}:
			s.put(usersCell, "", countUsers(text))
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
		var c *config.Config
		if c, err = config.Parse(text); err == nil {
			s.putConfig(c)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return side{unknown: true}
	}
	users, err := os.ReadFile(render.UsersFile(l.host.Paths))
	switch {
	case err == nil:
		s.put(usersCell, "", countUsers(users))
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

// runningSide is what the daemon says that it serves. It reads its users
// together with its configuration, and does not count them.
func runningSide(status control.Status, disk side) side {
	var s side
	s.put(configurationCell, "", status.Generation)
	for _, l := range status.Listeners {
		s.put(listenerCell, l.Name, listenerText(l.Address, l.TLS))
	}
	for _, b := range status.Bundles {
		s.put(certificateCell, b.Name, b.Fingerprint)
	}
	users := cellKey{usersCell, ""}
	if count, ok := disk.cells[users]; ok && disk.cell(cellKey{configurationCell, ""}) == status.Generation {
		s.put(usersCell, "", count)
	} else {
		s.put(usersCell, "", unknownCell)
	}
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
func countUsers(text []byte) string {
	return strconv.Itoa(max(0, bytes.Count(text, []byte("\n"))-1))
}

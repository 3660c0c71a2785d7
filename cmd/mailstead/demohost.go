package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"

	"mailstead/schema"
)

// loopback is where a demo host listens.
const loopback = "127.0.0.1"

// demoHost is a description made over for anybody's own machine: every path is
// below dir, one self-signed certificate has all names, and demo can log in.
// Accounts of the system are left out; their names are the second result. No other
// server is asked, and no mail is sent or taken.
func demoHost(host *schema.Host, listeners []schema.Listener, measured *schema.Metrics, dir, bin string) (*schema.Host, []string) {
	h := *host
	h.Listeners = listeners
	h.Paths = upPaths(dir, bin)
	if h.Metrics = measured; measured != nil && measured.Socket != "" {
		h.Metrics = &schema.Metrics{Origin: measured.Origin, Socket: filepath.Join(h.Paths.Run, "metrics")}
	}
	h.Mail.Root = filepath.Join(dir, "mail")
	h.TLS.Certificates = []schema.Certificate{selfSigned(host)}
	h.TLS.Default = host.Name
	h.TLS.DHParams, h.Directories, h.Outbox, h.Deliver = nil, nil, nil, nil
	return &h, onlyVirtual(&h)
}

// upPaths is where the parts of a host are that has a directory of its own.
func upPaths(dir, bin string) schema.Paths {
	return schema.Paths{
		State:       dir,
		Run:         filepath.Join(dir, "run"),
		Letsencrypt: filepath.Join(dir, "letsencrypt"),
		Units:       filepath.Join(dir, "units"),
		Bin:         bin,
	}
}

// ownListeners are those that serve the host's own mail; the second result names the
// others, which stand in front of other servers.
func ownListeners(all []schema.Listener) (own []schema.Listener, others []string) {
	for _, l := range all {
		if l.Proxy == nil {
			own = append(own, l)
		} else {
			others = append(others, l.Name)
		}
	}
	return own, others
}

// onlyVirtual keeps the virtual users of a host, moved to the root of its mail,
// and puts demo among them, with the folders that the description gives it.
func onlyVirtual(h *schema.Host) (left []string) {
	demo := schema.User{Name: demoUser, Origin: h.Origin, Folders: h.Folders}
	var users []schema.User
	for _, u := range h.Users {
		switch {
		case u.Name == demoUser:
			demo.Origin, demo.Folders = u.Origin, u.Folders
		case u.Virtual != nil:
			users = append(users, u)
		default:
			left = append(left, u.Name)
		}
	}
	demo.Virtual = &schema.VirtualUser{PasswordHash: demoHash}
	h.Users = append(users, demo)
	for i := range h.Users {
		h.Users[i].Maildir = filepath.Join(h.Mail.Root, h.Users[i].Name, "Maildir")
	}
	slices.SortFunc(h.Users, func(a, b schema.User) int { return cmp.Compare(a.Name, b.Name) })
	return left
}

// movePorts puts listeners on the loopback, with ports moved up by base.
func movePorts(listeners []schema.Listener, base int) ([]schema.Listener, error) {
	moved := slices.Clone(listeners)
	taken := map[int]string{}
	lowest, highest := 65535, 1
	for _, l := range listeners {
		lowest, highest = min(lowest, l.Port), max(highest, l.Port)
	}
	for i := range moved {
		l := &moved[i]
		l.Address, l.Port = loopback, l.Port+base
		if l.Port < 1 || l.Port > 65535 {
			return nil, hint(fmt.Errorf("listener %s: %d is no port", l.Name, l.Port), "--port-base can be from %d to %d", 1-lowest, 65535-highest)
		}
		if other, ok := taken[l.Port]; ok {
			return nil, fmt.Errorf("listeners %s and %s have the same port on different addresses, and there is one address here", other, l.Name)
		}
		taken[l.Port] = l.Name
	}
	return moved, nil
}

// selfSigned is one certificate with every name of the host, and localhost.
func selfSigned(host *schema.Host) schema.Certificate {
	names := []string{host.Name, "localhost"}
	for _, c := range host.TLS.Certificates {
		names = append(names, c.Names...)
	}
	slices.Sort(names)
	return schema.Certificate{
		Name:       host.Name,
		Origin:     host.Origin,
		Names:      slices.Compact(names),
		SelfSigned: &schema.SelfSigned{Days: 365},
	}
}

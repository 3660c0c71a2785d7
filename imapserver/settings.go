package imapserver

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/control"
	"mailstead/imapserver/handoff"
	"mailstead/imapserver/limit"
	"mailstead/imapserver/login"
	"mailstead/imapserver/spawn"
	"mailstead/imapserver/wire"
)

// maxBundle bounds the PEM file of a bundle; maxUsers that of the users.
const (
	maxBundle = 1 << 20
	maxUsers  = 128 << 20
)

// Settings is everything that the daemon serves by, read and checked as one.
type Settings struct {
	Config  *config.Config
	Users   []config.User  // by name, ascending
	Masters []config.User  // who may come in as any of them
	Bundles []login.Bundle // as Config.TLS.Bundles

	raw     rawSettings
	digests digests
	limits  limit.Login
	owned   owned
	sharing sharing
	rooted  rooted
}

// digests are SHA-256 of the two files as they were read, in lower-case hex.
type digests struct{ config, users string }

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// status begins a status with what was read.
func (s *Settings) status() control.Status {
	return control.Status{
		Version:    Version(),
		PID:        os.Getpid(),
		Generation: s.Config.Generation,
		Config:     s.digests.config,
		Users:      control.Users{Count: len(s.Users) + len(s.Masters), Digest: s.digests.users},
	}
}

// rawSettings is the files that Settings were read from.
type rawSettings struct {
	Config []byte   `json:"config"`
	Users  []byte   `json:"users"`
	PEM    [][]byte `json:"pem"`
	// Authorities is what the files of Listener.Clients and Listener.Proxy hold, by path.
	Authorities map[string][]byte `json:"authorities,omitempty"`
}

// Load reads config.json at path and the files that it names.
func Load(path string) (*Settings, error) {
	var raw rawSettings
	var err error
	if raw.Config, err = readBounded(path, config.MaxConfigSize); err != nil {
		return nil, err
	}
	c, err := config.Parse(raw.Config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if raw.Users, err = readBounded(c.Users, maxUsers); err != nil {
		return nil, err
	}
	var faults []error
	for _, b := range c.TLS.Bundles {
		pem, err := readBounded(b.File, maxBundle)
		faults = append(faults, err)
		raw.PEM = append(raw.PEM, pem)
	}
	raw.Authorities, err = readAuthorities(c)
	if err := errors.Join(append(faults, err)...); err != nil {
		return nil, err
	}
	return parseSettings(raw)
}

// authorities is the file that says whose certificates are accepted on a listener, or
// from the servers behind it; "" if none has to be read.
func authorities(l config.Listener) string {
	switch {
	case l.Clients != nil && l.Clients.PEM == nil:
		return l.Clients.CA
	case l.Proxy != nil && l.Proxy.PEM == nil:
		return l.Proxy.CA
	}
	return ""
}

// readAuthorities reads whose certificates are accepted.
func readAuthorities(c *config.Config) (map[string][]byte, error) {
	var all map[string][]byte
	for _, l := range c.Listeners {
		path := authorities(l)
		if path == "" {
			continue
		}
		pem, err := readBounded(path, maxBundle)
		if err != nil {
			return nil, fmt.Errorf("listener %s: %w", l.Name, err)
		}
		if all == nil {
			all = map[string][]byte{}
		}
		all[path] = pem
	}
	return all, nil
}

// NewSettings makes Settings of values instead of files. pem is in the order
// of c.TLS.Bundles.
func NewSettings(c *config.Config, users []config.User, pem [][]byte) (*Settings, error) {
	raw := rawSettings{PEM: pem}
	var err error
	if raw.Config, err = config.Encode(c); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := config.EncodeUsers(&b, c.Workers, users); err != nil {
		return nil, err
	}
	raw.Users = b.Bytes()
	return parseSettings(raw)
}

func parseSettings(raw rawSettings) (*Settings, error) {
	c, err := config.Parse(raw.Config)
	if err != nil {
		return nil, err
	}
	for _, l := range c.Listeners {
		if l.Clients != nil && l.Clients.PEM == nil {
			l.Clients.PEM = raw.Authorities[l.Clients.CA]
		}
		if l.Proxy != nil && l.Proxy.PEM == nil {
			l.Proxy.PEM = raw.Authorities[l.Proxy.CA]
		}
	}
	s := &Settings{Config: c, raw: raw, digests: digests{digest(raw.Config), digest(raw.Users)}, limits: limit.Default().With(c.Limits).Login}
	for u, err := range config.ParseUsers(bytes.NewReader(raw.Users), c.Workers) {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.Users, err)
		}
		if u.Master {
			s.Masters = append(s.Masters, u)
			continue
		}
		if err := checkUser(c, u); err != nil {
			return nil, fmt.Errorf("%s: user %q: %w", c.Users, u.Name, err)
		}
		s.Users = append(s.Users, u)
	}
	if len(raw.PEM) != len(c.TLS.Bundles) {
		return nil, fmt.Errorf("%d certificate files for %d bundles", len(raw.PEM), len(c.TLS.Bundles))
	}
	if c.Workers == config.WorkerPerUID {
		if err := s.checkRoots(); err != nil {
			return nil, err
		}
	}
	var faults []error
	for i, b := range c.TLS.Bundles {
		bundle, err := login.ParseBundle(b.Name, b.Names, raw.PEM[i])
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", b.File, err))
		}
		s.Bundles = append(s.Bundles, bundle)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return s, nil
}

// firstPerson is the least uid of a person's account; those below are the
// system's, of which only the one that owns virtual users' mail has any here.
const firstPerson = 1000

// checkUser finds what neither file shows alone.
func checkUser(c *config.Config, u config.User) error {
	if u.Hash == "" && c.PAM == nil {
		return errors.New("no hash, and no PAM service is configured")
	}
	if _, err := wire.Off(u.Off...); err != nil {
		return err
	}
	if c.Workers != config.WorkerPerUID {
		return nil
	}
	switch {
	case u.UID < spawn.MinUID || u.GID < spawn.MinUID:
		return fmt.Errorf("uid %d, gid %d: below %d", u.UID, u.GID, spawn.MinUID)
	case u.UID == c.Service.UID || u.UID == c.Roles.Login.UID || c.Web != nil && u.UID == c.Web.UID:
		return fmt.Errorf("uid %d is that of the service, which must not reach mail", u.UID)
	case u.Hash == "" && u.UID < firstPerson:
		return fmt.Errorf("uid %d: an account of the system does not log in", u.UID)
	}
	return nil
}

// user finds a user by name.
func (s *Settings) user(name string) (config.User, bool) {
	i, ok := slices.BinarySearchFunc(s.Users, name, func(u config.User, name string) int {
		return bytes.Compare([]byte(u.Name), []byte(name))
	})
	if !ok {
		return config.User{}, false
	}
	return s.Users[i], true
}

// session is what a worker is told of a session of u.
func (s *Settings) session(o *handoff.Open, u config.User) *handoff.Session {
	off := u.Off
	for _, l := range s.Config.Listeners {
		if l.Name == o.Listener {
			off = append(slices.Clip(off), l.Off...)
		}
	}
	session := &handoff.Session{
		Open: *o, Maildir: u.Maildir, Namespace: s.Config.Namespace, Without: off,
		Admin: s.Config.Admin, Comment: s.Config.Comment,
		Quota: (*handoff.Quota)(u.Quota), Discard: u.Discard, Keep: s.Config.Keep, Relaxed: s.Config.Relaxed, Outbox: s.outbox(u), First: s.first(u),
	}
	if !o.Brief { // somebody's client
		session.PerUser, session.PerUserSource = s.limits.PerUser, s.limits.PerUserSource
	}
	return session
}

// first is what a user of a directory finds after the first login: no plan has
// known of them, so it is made then, as the user. It is nil for those whom plans know.
func (s *Settings) first(u config.User) *handoff.First {
	if u.Directory == "" {
		return nil
	}
	f := &handoff.First{}
	for _, folder := range s.Config.Folders {
		f.Folders = append(f.Folders, handoff.Folder(folder))
	}
	return f
}

// outbox is how a user sends mail. The mail of virtual users has one uid, which
// says nothing of who it is: their name is the sender. Of a system user sendmail
// knows the address.
func (s *Settings) outbox(u config.User) *handoff.Outbox {
	o := s.Config.Outbox
	if o == nil {
		return nil
	}
	sender := ""
	if u.Hash != "" || s.Config.Owned(u) {
		if sender = u.Name; !strings.Contains(sender, "@") {
			sender += "@" + s.Config.Hostname
		}
	}
	return &handoff.Outbox{Mailbox: o.Mailbox, Socket: o.Socket, Sender: sender, Header: o.Header, Multiple: o.Multiple}
}

// checkReload says why the daemon cannot go over to s from old while it runs.
// An expired certificate is refused unless it is the one that is served
// already: serving it on is no worse, and must not stand in the way of a new
// user.
func (s *Settings) checkReload(old *Settings, now time.Time) error {
	var faults []error
	if s.Config.Workers == config.WorkerInline {
		faults = append(faults, s.checkListeners(old))
	}
	for field, same := range map[string]bool{
		"control": s.Config.Control == old.Config.Control,
		"service": s.Config.Service == old.Config.Service,
		"workers": s.Config.Workers == old.Config.Workers,
		"roles":   reflect.DeepEqual(s.Config.Roles, old.Config.Roles),
	} {
		if !same {
			faults = append(faults, fmt.Errorf("%s has changed: restart the service", field))
		}
	}
	served := map[string]bool{}
	for _, b := range old.Bundles {
		served[b.Fingerprint()] = true
	}
	for _, b := range s.Bundles {
		if err := b.Fault(now); err != nil && !served[b.Fingerprint()] {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// checkListeners wants the same sockets; only their TLS may change. Where logins
// are processes of their own, each brings its sockets along.
func (s *Settings) checkListeners(old *Settings) error {
	address := func(l config.Listener) string { return fmt.Sprint(l.Name, " ", l.Address, " ", l.Port) }
	have, want := map[string]bool{}, map[string]bool{}
	for _, l := range old.Config.Listeners {
		have[address(l)] = true
	}
	var faults []error
	for _, l := range s.Config.Listeners {
		if want[address(l)] = true; !have[address(l)] {
			faults = append(faults, fmt.Errorf("listener %s is new or has moved: restart the service", l.Name))
		}
	}
	for _, l := range old.Config.Listeners {
		if !want[address(l)] && !slices.ContainsFunc(s.Config.Listeners, func(n config.Listener) bool { return n.Name == l.Name }) {
			faults = append(faults, fmt.Errorf("listener %s is gone: restart the service", l.Name))
		}
	}
	return errors.Join(faults...)
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: more than %d octets", path, limit)
	}
	return data, nil
}

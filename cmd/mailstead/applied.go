package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailstead/reconcile"
	"mailstead/reconcile/desired"
	"mailstead/reconcile/target"
	"mailstead/schema"
)

// appliedFile is the file of the state directory with the host as it was last
// applied. The deploy hook goes by it: a description that is being edited, or is
// broken, does not keep a renewed certificate from being served.
const appliedFile = "applied.json"

const appliedVersion = 1

// applied is the content of appliedFile. A password hash hides itself from
// JSON, so those stand apart; the file is as secret as the password file.
type applied struct {
	Version  int               `json:"version"`
	Host     *schema.Host      `json:"host"`
	Rootless bool              `json:"rootless,omitempty"`
	Hashes   map[string]string `json:"hashes,omitempty"` // by name of the virtual user
}

// encodeApplied writes a host without the places in the description, so that a
// new comment there is not a new state of the host.
func encodeApplied(host *schema.Host, opts desired.Options) ([]byte, error) {
	return encodeHost(host, withoutOrigins(host), opts)
}

// encodeHost writes a host as it is to be shown, with the hashes that it has.
func encodeHost(host, shown *schema.Host, opts desired.Options) ([]byte, error) {
	a := applied{Version: appliedVersion, Host: shown, Rootless: opts.Rootless, Hashes: hashesOf(host)}
	data, err := json.MarshalIndent(a, "", " ")
	return append(data, '\n'), err
}

// hashesOf gives the password hashes of a host, which its JSON hides.
func hashesOf(host *schema.Host) map[string]string {
	hashes := map[string]string{}
	for _, u := range host.Users {
		if u.Virtual != nil {
			hashes[u.Name] = string(u.Virtual.PasswordHash)
		}
	}
	if l := host.Logins; l != nil {
		for _, m := range l.Masters {
			hashes[masterMark+m.Name] = string(m.Hash)
		}
	}
	if w := host.Web; w != nil {
		for _, a := range w.Admins {
			hashes[adminMark+a.Name] = string(a.Hash)
		}
	}
	return hashes
}

// putHashes is the inverse of hashesOf.
func putHashes(host *schema.Host, hashes map[string]string) {
	for _, u := range host.Users {
		if u.Virtual != nil {
			u.Virtual.PasswordHash = schema.Secret(hashes[u.Name])
		}
	}
	if l := host.Logins; l != nil {
		l.Masters = nil
		for _, name := range slices.Sorted(maps.Keys(hashes)) {
			if master, ok := strings.CutPrefix(name, masterMark); ok {
				l.Masters = append(l.Masters, schema.Master{Name: master, Hash: schema.Secret(hashes[name])})
			}
		}
	}
	if w := host.Web; w != nil {
		for i, a := range w.Admins {
			w.Admins[i].Hash = schema.Secret(hashes[adminMark+a.Name])
		}
	}
}

// masterMark and adminMark begin the name of a master, and of an admin of the web page,
// among the hashes, as that of no user does.
const (
	masterMark = "*"
	adminMark  = "/"
)

func withoutOrigins(host *schema.Host) *schema.Host {
	h := *host
	h.Origin = schema.Pos{}
	h.Listeners = unplaced(h.Listeners, func(l *schema.Listener) { l.Origin = schema.Pos{} })
	h.TLS.Certificates = unplaced(h.TLS.Certificates, func(c *schema.Certificate) { c.Origin = schema.Pos{} })
	folder := func(f *schema.Folder) { f.Origin = schema.Pos{} }
	h.Folders = unplaced(h.Folders, folder)
	if h.Outbox != nil {
		o := *h.Outbox
		o.Origin = schema.Pos{}
		h.Outbox = &o
	}
	if h.Web != nil {
		w := *h.Web
		w.Origin = schema.Pos{}
		h.Web = &w
	}
	if h.Deliver != nil {
		d := *h.Deliver
		d.Origin = schema.Pos{}
		if d.LMTP != nil {
			d.LMTP = &schema.LMTP{Socket: d.LMTP.Socket}
		}
		h.Deliver = &d
	}
	if h.Logins != nil {
		l := *h.Logins
		l.Origin = schema.Pos{}
		h.Logins = &l
	}
	h.Users = unplaced(h.Users, func(u *schema.User) {
		u.Origin = schema.Pos{}
		u.Folders = unplaced(u.Folders, folder)
	})
	return &h
}

// unplaced copies a list and changes the copy.
func unplaced[T any](list []T, forget func(*T)) []T {
	out := append([]T(nil), list...)
	for i := range out {
		forget(&out[i])
	}
	return out
}

// recordApplied keeps the host for the deploy hook. It writes, under the lock,
// only what differs.
func recordApplied(ctx context.Context, l *look, wait time.Duration) error {
	data, err := encodeApplied(l.host, l.opts)
	if err != nil {
		return fmt.Errorf("record what was applied: %w", err)
	}
	old, err := os.ReadFile(filepath.Join(l.host.Paths.State, appliedFile))
	same := err == nil && bytes.Equal(old, data)
	if same && target.HasPlanKey(l.host.Paths.State) {
		return nil
	}
	if l.lock == nil {
		if l.lock, err = reconcile.TakeLock(ctx, l.host.Paths.State, wait); err != nil {
			return notApplied(fmt.Errorf("record what was applied: %w", err))
		}
		defer l.unlock()
		if err := l.current(); err != nil {
			return err
		}
	}
	if err := target.MakePlanKey(l.host.Paths.State); err != nil || same {
		return err
	}
	if err := reconcile.ReplaceFile(filepath.Join(l.host.Paths.State, appliedFile), reconcile.Private(data)); err != nil {
		return fmt.Errorf("record what was applied: %w", err)
	}
	return nil
}

// noteUnrecorded says in a plan without changes that an apply has something to
// write all the same.
func (l *look) noteUnrecorded(plan *reconcile.Plan) {
	plan.Notes = append(plan.Notes, l.noteGenerations()...)
	path := filepath.Join(l.host.Paths.State, appliedFile)
	if _, err := os.Lstat(path); plan.Empty() && errors.Is(err, fs.ErrNotExist) {
		plan.Notes = append(plan.Notes, path+", by which the deploy hook goes, is not there: an apply writes it")
	}
}

// readApplied gives the host that was last applied with this state directory.
func readApplied(state string) (*schema.Host, desired.Options, error) {
	a, err := decodeApplied(filepath.Join(state, appliedFile))
	if err != nil {
		return nil, desired.Options{}, err
	}
	return a.host(), a.options(), nil
}

// options gives what sort of host it is.
func (a *applied) options() desired.Options { return desired.Options{Rootless: a.Rootless} }

// host gives the host with its hashes.
func (a *applied) host() *schema.Host {
	putHashes(a.Host, a.Hashes)
	return a.Host
}

func decodeApplied(path string) (*applied, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint(fmt.Errorf("nothing has been applied yet: there is no %s", path), "run %q first", "mailstead apply")
	}
	if err != nil {
		return nil, fmt.Errorf("read what was applied: %w", err)
	}
	return parseApplied(path, data)
}

// parseApplied reads what encodeApplied or encodeHost has written; path is for its errors.
func parseApplied(path string, data []byte) (*applied, error) {
	var a applied
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, fmt.Errorf("read what was applied: %s: %w", path, err)
	}
	if a.Version != appliedVersion || a.Host == nil {
		return nil, hint(fmt.Errorf("%s was written by another version of mailstead", path), "run %q with this one", "mailstead apply")
	}
	return &a, nil
}

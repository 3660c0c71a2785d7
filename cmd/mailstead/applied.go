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
	"reflect"
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
	Partly   bool              `json:"partly,omitempty"` // since then, a part of another description may have been applied

	HandedBack bool `json:"handed_back,omitempty"` // since then, Courier was to serve again
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

// withoutOrigins copies a host without its places in the description.
func withoutOrigins(host *schema.Host) *schema.Host {
	return unplaced(reflect.ValueOf(host)).Interface().(*schema.Host)
}

// unplaced copies a value without the places in it, however deep they are. What has
// none may be the same in the copy.
func unplaced(v reflect.Value) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	switch {
	case v.Type() == reflect.TypeFor[schema.Pos]():
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			out.Field(i).Set(unplaced(v.Field(i)))
		}
	case v.Kind() == reflect.Pointer && !v.IsNil():
		out.Set(reflect.New(v.Type().Elem()))
		out.Elem().Set(unplaced(v.Elem()))
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			out.Set(reflect.Append(out, unplaced(v.Index(i))))
		}
	default:
		out.Set(v)
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

// markApplied alters what is said of the host that was applied last, if one was.
// The lock is held.
func markApplied(state string, alter func(*applied)) error {
	path := filepath.Join(state, appliedFile)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil // there is nothing that the deploy hook would go by
	}
	a, err := decodeApplied(path)
	if err != nil {
		return err
	}
	alter(a)
	data, err := json.MarshalIndent(a, "", " ")
	if err == nil {
		err = reconcile.ReplaceFile(path, reconcile.Private(append(data, '\n')))
	}
	if err != nil {
		return fmt.Errorf("mark what was applied: %w", err)
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

// notYet says that something of the state of a host is not there. Only for the host that
// this machine is, an apply is what is missing: whoever names a directory tries something
// out in it, and has named another one.
func notYet(path string) error {
	err := fmt.Errorf("nothing has been applied yet: there is no %s", path)
	if filepath.Dir(path) == defaultState || path == defaultState {
		return hint(err, "run %q first; for what %q serves, give its directory with --state", "mailstead apply", "mailstead up")
	}
	return hint(err, "--state takes the directory of %q, or what \"paths: state\" is in a description that was applied", "mailstead up")
}

func decodeApplied(path string) (*applied, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notYet(path)
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

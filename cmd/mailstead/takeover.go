package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"mailstead/reconcile"
	"mailstead/reconcile/kind"
	"mailstead/schema/adopt"
)

// phase is how far a host is on the way from Courier to us, or back. It is written
// before what it says is begun, so that whoever comes after an interruption knows
// what may have been done.
type phase string

const (
	stoppingOld  phase = "stopping"  // Courier's units are being stopped and masked
	startingOwn  phase = "starting"  // they are; what Courier said of the mailboxes is written down; ours are being started
	servingOwn   phase = "served"    // ours serve, and the mailboxes are what they were
	returningOld phase = "returning" // ours are being stopped, and Courier's started
)

// takeover is the record of a cutover. It is there from before the first unit is
// stopped until Courier serves again.
type takeover struct {
	Version int            `json:"version"`
	Phase   phase          `json:"phase"`
	Units   []kind.OldUnit `json:"units"` // in the order in which they are stopped
}

const (
	takeoverVersion = 1
	takeoverDir     = "cutover" // in the state directory
	takeoverFile    = "record.json"
	beforeFile      = "before.ndjson" // what Courier's files said of each user's mail
	maxTakeover     = 1 << 30
)

// takeoverState is the directory of the record, with its own lock: a cutover takes
// longer than the apply in it, which takes the one of the state directory.
type takeoverState struct {
	dir  *reconcile.Dir
	lock *reconcile.Lock
}

// begun tells whether there is a record. It writes nothing.
func begun(state string) bool {
	_, err := os.Lstat(filepath.Join(state, takeoverDir, takeoverFile))
	return err == nil
}

// openTakeover waits for another one that is at work.
func openTakeover(ctx context.Context, state string, wait time.Duration) (*takeoverState, error) {
	path := filepath.Join(state, takeoverDir)
	lock, err := reconcile.TakeLock(ctx, path, wait)
	if err != nil {
		return nil, notApplied(err)
	}
	dir, err := reconcile.OpenDir(path, false)
	if err != nil {
		lock.Release()
		return nil, err
	}
	return &takeoverState{dir, lock}, nil
}

func (s *takeoverState) close() {
	s.dir.Close()
	s.lock.Release()
}

// read gives the record; nil where there is none.
func (s *takeoverState) read() (*takeover, error) {
	data, err := s.dir.ReadFile(takeoverFile, maxTakeover)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of the cutover: %w", err)
	}
	var t takeover
	if err := json.Unmarshal(data, &t); err != nil || t.Version != takeoverVersion {
		return nil, fmt.Errorf("%s is of another version of mailstead, or damaged", filepath.Join(s.dir.Path(), takeoverFile))
	}
	return &t, nil
}

// enter writes down the phase that begins.
func (s *takeoverState) enter(t *takeover, p phase) error {
	t.Version, t.Phase = takeoverVersion, p
	data, err := json.MarshalIndent(t, "", "  ")
	if err == nil {
		err = s.write(takeoverFile, append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("record the cutover: %w", err)
	}
	return nil
}

func (s *takeoverState) write(name string, data []byte) error {
	return s.dir.Replace(name, reconcile.Private(data))
}

// end forgets the cutover: Courier serves.
func (s *takeoverState) end() error {
	return errors.Join(s.dir.Remove(beforeFile), s.dir.Remove(takeoverFile), s.dir.Sync())
}

// userMail is what Courier's files say of a user's mail.
type userMail struct {
	User string      `json:"user"`
	Mail *adopt.Mail `json:"mail"`
}

func (s *takeoverState) writeBefore(list []userMail) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for _, u := range list {
		if err := e.Encode(u); err != nil {
			return err
		}
	}
	return s.write(beforeFile, b.Bytes())
}

func (s *takeoverState) readBefore() (list []userMail, err error) {
	data, err := s.dir.ReadFile(beforeFile, maxTakeover)
	for d := json.NewDecoder(bytes.NewReader(data)); err == nil && d.More(); {
		var u userMail
		if err = d.Decode(&u); err == nil {
			list = append(list, u)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read what the mailboxes were: %w", err)
	}
	return list, nil
}

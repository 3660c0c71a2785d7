package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/config"
	"mailstead/imapserver/maildir"
	"mailstead/imapserver/store"
	"mailstead/reconcile"
	"mailstead/schema"
)

// A look at what Courier cannot represent does not go on to the question about
// stopping Mailstead.
func TestHandbackHostCheck(t *testing.T) {
	state := t.TempDir()
	s, err := openTakeover(t.Context(), state, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.enter(&takeover{}, servingOwn); err != nil {
		t.Fatal(err)
	}
	s.close()
	cmd := newRoot()
	cmd.SetArgs([]string{"handback", "--check", "--state", state})
	if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "--check looks at one Maildir") {
		t.Error(err)
	}
}

// Dovecot is not told to start where nobody knows whose mail there is, nor while
// something may still start our units.
func TestHandbackToDovecotRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gets that far")
	}
	state := filepath.Join(t.TempDir(), "state")
	cmd := newRoot()
	cmd.SetArgs([]string{"handback", "--dovecot", "--state", state})
	if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "whose mail was served here is not known") {
		t.Error(err)
	}
	if _, err := os.Stat(state); err == nil {
		t.Error("it makes the directory")
	}
	lock, err := reconcile.TakeLock(t.Context(), state, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := (&handbackHost{paths: schema.Paths{State: state}}).run(ctx); err == nil || !strings.HasPrefix(err.Error(), "nothing was changed") {
		t.Error(err)
	}
	daemon := `{"version": 1, "generation": "` + strings.Repeat("0", 32) + `", "hostname": "mail.example.org", "control": "/c", "users": "/u", "tls": {"policy": "modern"}, "workers": "inline"}`
	if err := os.WriteFile(filepath.Join(state, "config.json"), []byte(daemon), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := (&handbackHost{paths: schema.Paths{State: state}}).served(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a list of users: %v", err)
	}
}

// The mail of users whom only a directory knows is found, and what nobody had a session
// in stays as it is.
func TestHandbackBelow(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root becomes somebody else")
	}
	const owner = 65533
	top, err := os.MkdirTemp("", "below") // in which that owner gets, unlike t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	home := filepath.Join(top, "example.org", "alice")
	served, other := filepath.Join(home, "Maildir"), filepath.Join(home, "old", "Maildir")
	cached, deep := filepath.Join(home, ".cache", "Maildir"), filepath.Join(home, "1/2/3/4/5/6/Maildir")
	for _, dir := range []string{served, other, cached, deep} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(dir), 0o755), maildir.MakeTree(dir, false)); err != nil {
			t.Fatal(err)
		}
	}
	var faults []error
	for _, dir := range []string{served, cached, deep} {
		a, err := store.Open(t.Context(), store.Options{Maildir: dir})
		if err != nil {
			t.Fatal(err)
		}
		faults = append(faults, a.Close())
	}
	if err := errors.Join(errors.Join(faults...), os.Chmod(top, 0o755), exec.Command("chown", "-R", "65533:65533", home).Run()); err != nil {
		t.Fatal(err)
	}
	list, err := mailBelow(config.May{MinUID: 1000, MaxUID: owner}, top, homeLevels)
	if want := []ownedMail{{"", home, mailOwner{owner, owner}, true, handbackTimeout}}; err != nil || !slices.Equal(list, want) {
		t.Fatalf("%+v, %v", list, err)
	}
	if none, err := mailBelow(config.May{MinUID: 1000, MaxUID: owner - 1}, top, homeLevels); err != nil || len(none) > 0 {
		t.Errorf("of nobody of the directory: %+v, %v", none, err)
	}
	h := &handbackHost{record: &takeover{}}
	if err := h.each(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{served: true, other: false, cached: false, deep: false} {
		if _, err := os.Stat(filepath.Join(dir, maildir.UIDDBFile)); (err == nil) != want {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if err := os.WriteFile(filepath.Join(served, maildir.OwnDir, "index.db"), []byte("spoilt"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(served, "cur"), 0, 0); err != nil {
		t.Fatal(err)
	}
	list = []ownedMail{{"", top, mailOwner{owner, owner}, true, belowTimeout}}
	if err := os.Chmod(filepath.Join(served, "cur"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := h.each(t.Context(), list); err == nil || !strings.Contains(err.Error(), served) {
		t.Errorf("a Maildir that cannot be handed back: %v", err)
	}
}

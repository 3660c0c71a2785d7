package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailstead/imapserver/maildir"
)

// neighbourhood is users whose Maildirs lie side by side.
func neighbourhood(t *testing.T, users ...string) (*Neighbours, string) {
	t.Helper()
	root := t.TempDir()
	dirs := map[string]string{}
	for _, user := range users {
		dirs[user] = filepath.Join(root, user)
		if err := maildir.MakeTree(dirs[user], false); err != nil {
			t.Fatal(err)
		}
	}
	n := NewNeighbours(slog.New(slog.DiscardHandler), func(ctx context.Context, dir string) (*Account, func(), error) {
		a, err := Open(ctx, Options{Maildir: dir})
		return a, func() { a.Close() }, err
	})
	n.Update(dirs)
	return n, root
}

// shares shows what a user shares, and the rights that bob has of it.
func shares(n *Neighbours, user string) string {
	var all []string
	for _, m := range n.Shared(user) {
		all = append(all, fmt.Sprintf("%s=%s", m.Name, m.ACL.Rights("bob", false)))
	}
	return strings.Join(all, " ")
}

func TestNeighbours(t *testing.T) {
	n, root := neighbourhood(t, "alice", "bob")
	alice := filepath.Join(root, "alice")
	check := func(want string) {
		t.Helper()
		if got := shares(n, "alice"); got != want {
			t.Errorf("alice shares %q, want %q", got, want)
		}
	}
	check("")
	for _, box := range []string{".Team", ".Team.Sub", ".Other"} {
		if err := maildir.MakeTree(filepath.Join(alice, box), true); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, "owner lr\nuser=bob lr\n", alice, ".Team", maildir.ACLFile)
	n.Forget("alice")
	check("Team=lr Team.Sub=lr")
	// A mailbox that comes is seen at once, by the directory's time.
	time.Sleep(20 * time.Millisecond)
	if err := maildir.MakeTree(filepath.Join(alice, ".Team.New"), true); err != nil {
		t.Fatal(err)
	}
	check("Team=lr Team.New=lr Team.Sub=lr")
	for user, want := range map[string]error{"alice": nil, "bob": ErrNotFound, "carol": ErrNotFound, "../alice": ErrNotFound, "": ErrNotFound} {
		_, release, err := n.Open(t.Context(), user, "bob")
		if !errors.Is(err, want) {
			t.Errorf("open %q: %v, want %v", user, err, want)
		}
		if err == nil {
			release()
		}
	}
	if _, _, err := n.Open(t.Context(), "alice", "carol"); !errors.Is(err, ErrNotFound) {
		t.Errorf("carol, who was given nothing, opens alice's mail: %v", err)
	}
	n.Update(nil)
	if check(""); n.Any() {
		t.Error("users are left")
	}
}

// Who shares something with whom is known without a look at those who do not: what changes
// through us at once.
func TestNeighboursWith(t *testing.T) {
	n, root := neighbourhood(t, "alice", "bob", "carol", "dan")
	check := func(reader, want string) {
		t.Helper()
		if all, err := n.With(t.Context(), reader); err != nil || strings.Join(all, " ") != want {
			t.Errorf("%s: %q, %v, want %q", reader, all, err, want)
		}
	}
	share := func(user, box, list string) {
		t.Helper()
		if err := maildir.MakeTree(filepath.Join(root, user, box), true); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		writeFile(t, list, root, user, box, maildir.ACLFile)
		n.Forget(user)
	}
	check("bob", "")
	share("alice", ".Team", "owner lr\nuser=bob lr\n-user=carol lr\nuser=dan\n")
	share("carol", ".All", "owner lr\nanyone l\n")
	check("bob", "alice carol")
	check("dan", "carol")
	share("alice", ".Team", "owner lr\nuser=dan lr\n")
	check("bob", "carol")
	check("dan", "alice carol")
	var long strings.Builder
	for i := range maxIDs + 1 {
		fmt.Fprintf(&long, "user=%d l\n", i)
	}
	share("dan", ".Long", long.String())
	check("bob", "carol dan")
	n.Update(map[string]string{"alice": filepath.Join(root, "alice"), "bob": filepath.Join(root, "bob"), "dan": filepath.Join(root, "carol")})
	check("bob", "dan")
	check("dan", "alice dan")
	if _, err := n.With(canceled(t), "bob"); err != nil {
		t.Errorf("nobody is to be looked at, and that fails: %v", err)
	}
	n.Update(map[string]string{"alice": filepath.Join(root, "alice")})
	if _, err := n.With(canceled(t), "bob"); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	n.Update(nil)
	check("bob", "")
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// What one user has does not fill the memory of all, and what cannot be read is
// not shared.
func TestHostileNeighbour(t *testing.T) {
	n, root := neighbourhood(t, "alice", "bob")
	var list strings.Builder
	for i := 0; list.Len() < maildir.MaxACL-20; i++ {
		fmt.Fprintf(&list, "user=%d l\n", i)
	}
	for i := range 40 {
		box := fmt.Sprintf(".%02d", i)
		if err := maildir.MakeTree(filepath.Join(root, "alice", box), true); err != nil {
			t.Fatal(err)
		}
		writeFile(t, list.String(), root, "alice", box, maildir.ACLFile)
	}
	total := 0
	for _, m := range n.Shared("alice") {
		total += len(m.ACL)
	}
	if total == 0 || total > maxGrants {
		t.Errorf("%d lines are kept", total)
	}
	if err := os.RemoveAll(filepath.Join(root, "alice")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nonexistent", filepath.Join(root, "alice")); err != nil {
		t.Fatal(err)
	}
	if got := shares(n, "alice"); got != "" {
		t.Errorf("a Maildir that is gone shares %s", got)
	}
}

package session

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailstead/imapserver/maildir"
	"mailstead/imapserver/store"
)

// neighboured is a client among so many users who share nothing, and bob, who shares Team.
func neighboured(t *testing.T, users int) *peer {
	t.Helper()
	s := newServer(t)
	root := t.TempDir()
	dirs := map[string]string{"bob": filepath.Join(root, "bob"), "alice": s.maildir}
	for i := range users {
		name := fmt.Sprint("user", i)
		dirs[name] = filepath.Join(root, name)
		if err := os.Mkdir(dirs[name], 0o700); err != nil {
			t.Fatal(err)
		}
	}
	team := filepath.Join(dirs["bob"], ".Team")
	err := maildir.MakeTree(dirs["bob"], false)
	if err == nil {
		err = maildir.MakeTree(team, true)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(team, maildir.ACLFile), []byte("owner lr\nuser=alice lr\n"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.params.Others = store.NewNeighbours(slog.New(slog.DiscardHandler), func(context.Context, string) (*store.Account, func(), error) {
		return nil, nil, store.ErrNotFound
	})
	s.params.Others.Update(dirs)
	return s.connect()
}

// What LIST of others' mailboxes costs is in proportion to those who share something with the
// user, not to all that there are.
func TestListOfManyNeighbours(t *testing.T) {
	few, many := neighboured(t, 10), neighboured(t, scaled(2000, 10_000))
	for _, pattern := range []string{"#shared.*", "#shared.bob.*", "#sh*"} {
		cost := func(c *peer) float64 {
			list := func() {
				for range 100 {
					if got := c.ok(`LIST "" %s`, pattern); !strings.Contains(got, `"#shared.bob.Team"`) || strings.Count(got, "* ") > 3 {
						t.Fatalf("%s: %q", pattern, got)
					}
				}
			}
			list() // the first looks at all of them
			return processorTime(list).Seconds()
		}
		if one, all := cost(few), cost(many); all > 3*one+0.01 {
			t.Errorf("%s: %.0f ms beside ten users, %.0f beside thousands", pattern, 1000*one, 1000*all)
		}
	}
}

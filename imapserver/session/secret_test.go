package session

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mailstead/imapserver/store"
	"mailstead/imapserver/wire"
)

// asks is how a command names mailboxes where it does not just end with one.
// "@" stands for the name.
var asks = map[string][]string{
	"LIST": {`LIST "" "#*"`, `LIST "@" "*"`, `LIST (SUBSCRIBED RECURSIVEMATCH) "" ("#shared.*" "#*") RETURN (CHILDREN)`,
		`LIST "" "#*" RETURN (MYRIGHTS STATUS (MESSAGES) METADATA (/shared/comment))`, `LIST "" "#shared.bob*" RETURN (CHILDREN)`},
	"LSUB":        {`LSUB "" "#*"`, `LSUB "" "#shared.%"`},
	"XLIST":       {`XLIST "" "#*"`, `XLIST "" "#shared.%"`},
	"RENAME":      {`RENAME "@" Mine`, `RENAME "@" "#shared.bob.Team.New"`, `RENAME Own "@"`, `RENAME "#shared.bob.Team" "@"`},
	"STATUS":      {`STATUS "@" (MESSAGES UIDNEXT SIZE)`},
	"APPEND":      {"APPEND \"@\" {5+}\r\nx: y\n"},
	"REPLACE":     {"REPLACE 1 \"@\" {5+}\r\nx: y\n"},
	"COPY":        {`COPY 1 "@"`},
	"MOVE":        {`MOVE 1 "@"`},
	"SETACL":      {`SETACL "@" alice lr`},
	"DELETEACL":   {`DELETEACL "@" alice`},
	"LISTRIGHTS":  {`LISTRIGHTS "@" alice`},
	"GETMETADATA": {`GETMETADATA "@" /shared/comment`, `GETMETADATA (DEPTH infinity) "@" /private`},
	"SETMETADATA": {`SETMETADATA "@" (/private/comment "x")`},
	"ESEARCH":     {`ESEARCH IN (mailboxes "@") ALL`, `ESEARCH IN (subtree "#shared.bob") ALL`},
	"NOTIFY":      {`NOTIFY SET (MAILBOXES "@" (MessageNew MessageExpunge))`},
	"LOGOUT":      {`NOOP`},
	"IDLE":        {`NOOP`},
	"NOOP":        {`NOOP`},
}

// targets are mailboxes of which one world has each and the other has not.
var targets = []string{
	"#shared.bob", "#shared.bob.Secret", "#shared.bob.Secret.Below", "#shared.bob.Team.Secret", "#shared.bob.Gone.Below",
	"#shared.carol", "#shared.carol.Secret", "#shared.bob.secret",
}

// TestSecret: a user learns nothing of mailboxes that he may not look up, nor of
// users who share nothing with him. Whether they are there or not, whatever he
// sends is answered alike.
func TestSecret(t *testing.T) {
	with, without := newSecretWorld(t, true), newSecretWorld(t, false)
	for _, w := range []*secretWorld{with, without} {
		connect(t, w.p).ok("APPEND Own {5+}\r\nx: y\n")
	}
	for _, row := range wire.Commands {
		if row.States&(wire.Authenticated|wire.Selected) == 0 {
			continue
		}
		name := strings.TrimPrefix(row.Name, "UID ")
		texts := asks[name]
		if texts == nil {
			texts = []string{name + ` "@"`}
		}
		for _, text := range texts {
			for _, target := range targets {
				command := strings.ReplaceAll(text, "@", target)
				if row.Name != name {
					command = "UID " + command
				}
				if there, nowhere := with.ask(t, command), without.ask(t, command); there != nowhere {
					t.Errorf("%q\nis answered, where it is there:\n%s\nand where it is not:\n%s", command, there, nowhere)
				}
			}
		}
	}
}

// secretWorld is alice's mail and bob's, who shares Team with her.
type secretWorld struct{ p Params }

// newSecretWorld makes one that has secrets, or has not.
func newSecretWorld(t testing.TB, secrets bool) *secretWorld {
	t.Helper()
	ctx := context.Background()
	root := t.TempDir()
	accounts, dirs := map[string]*store.Account{}, map[string]string{}
	for _, user := range []string{"alice", "bob", "carol"} {
		dir := filepath.Join(root, user)
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		a, err := store.Open(ctx, store.Options{Maildir: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close() })
		accounts[user], dirs[dir] = a, user
	}
	n := store.NewNeighbours(slog.New(slog.DiscardHandler), func(_ context.Context, dir string) (*store.Account, func(), error) {
		return accounts[dirs[dir]], func() {}, nil
	})
	maildirs := map[string]string{}
	for dir, user := range dirs {
		if user != "carol" || secrets {
			maildirs[user] = dir
		}
	}
	n.Update(maildirs)
	make := func(user string, names ...string) {
		for _, name := range names {
			if err := accounts[user].Create(ctx, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	make("alice", "Own")
	make("bob", "Team")
	if secrets {
		make("bob", "Secret", "Secret.Below", "Team.Secret", "Gone.Below")
		make("carol", "Secret")
	}
	give(t, accounts["bob"], "Team", "alice", "lrswite")
	if secrets {
		give(t, accounts["bob"], "Team.Secret", "alice", "")
		give(t, accounts["bob"], "Secret", "dave", "lrswitekxa") // someone else
	}
	return &secretWorld{Params{Account: accounts["alice"], User: "alice", Others: n, Log: slog.New(slog.DiscardHandler)}}
}

func give(t testing.TB, a *store.Account, mailbox, user, rights string) {
	t.Helper()
	err := a.ChangeACL(context.Background(), mailbox, func(acl store.ACL) (store.ACL, error) {
		return acl.With(store.IDUser+user, false, store.ParseRights(rights)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var validities = regexp.MustCompile(`\d{9,}`)

// ask gives the answers to a command in a session of its own, in which a mailbox
// with a message is selected, without what differs by chance. What it changes
// is changed in both worlds.
func (w *secretWorld) ask(t *testing.T, command string) string {
	c := connect(t, w.p)
	c.ok("SELECT Own")
	got := strings.Split(c.do("%s", command), "\n")
	got = append(got, strings.Split(c.do("UNSELECT"), "\n")...)
	c.conn.Close()
	return validities.ReplaceAllString(strings.Join(slices.Compact(got), "\n"), "N")
}

// What the test says of targets holds: with the rights, they are there.
func TestSecretIsThere(t *testing.T) {
	w := newSecretWorld(t, true)
	c := connect(t, w.p)
	c.ok("STATUS #shared.bob.Team (MESSAGES)")
	got := c.do("STATUS #shared.bob.Secret (MESSAGES)")
	if !strings.Contains(got, "NONEXISTENT") {
		t.Errorf("%s", got)
	}
	a, release, err := w.p.Others.Open(t.Context(), "bob", "alice")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	give(t, a, "Secret", "alice", "lr")
	w.p.Others.Forget("bob")
	c.ok("STATUS #shared.bob.Secret (MESSAGES)")
}

package main

import (
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"mailstead/render"
	"mailstead/schema"
)

// TestNewRules says which rules may remove more than what was applied last.
func TestNewRules(t *testing.T) {
	host := func(folders ...schema.Folder) *schema.Host {
		return &schema.Host{Users: []schema.User{{Name: "alice", Folders: folders}, {Name: "bob", Folders: folders, Elsewhere: "imap://b@x/"}}}
	}
	was := host(schema.Folder{Name: "Junk", PurgeAfter: 30}, schema.Folder{Name: "Old", PurgeAfter: 30}, schema.Folder{Name: "Same", PurgeAfter: 7}, schema.Folder{Name: "Trash"})
	want := host(schema.Folder{Name: "Junk", PurgeAfter: 29}, schema.Folder{Name: "Old", PurgeAfter: 31}, schema.Folder{Name: "Same", PurgeAfter: 7}, schema.Folder{Name: "Trash", PurgeAfter: 30})
	want.Users[0].PurgeInbox, want.Users[1].PurgeInbox = 365, 365
	got := newRules(was, want)
	if diff := cmp.Diff([]render.PurgeRule{{User: "alice", Folder: "INBOX", Days: 365, Inbox: true}, {User: "alice", Folder: "Junk", Days: 29}, {User: "alice", Folder: "Trash", Days: 30}}, got); diff != "" {
		t.Error(diff)
	}
}

// age makes the messages of an account, which nobody serves, some days older, or the one
// of them that has a place in the order of their UIDs: age MAILDIR DAYS [PLACE].
func age(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: age MAILDIR DAYS [PLACE]")
	}
	days, err := strconv.Atoi(args[1])
	ts.Check(err)
	place := 0
	if len(args) > 2 {
		place, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	conn, err := sqlite.OpenConn(filepath.Join(ts.MkAbs(args[0]), "mailstead", "index.db"), sqlite.OpenReadWrite)
	ts.Check(err)
	defer conn.Close()
	const of = "WHERE ?2 = 0 OR uid = (SELECT uid FROM message ORDER BY uid LIMIT 1 OFFSET ?2 - 1)"
	ts.Check(sqlitex.Execute(conn, "UPDATE message SET saved = saved - ?1 "+of, &sqlitex.ExecOptions{Args: []any{days * 24 * 60 * 60, place}}))
	if conn.Changes() == 0 {
		ts.Fatalf("no such message")
	}
}

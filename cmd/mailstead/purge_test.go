package main

import (
	"path/filepath"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// age makes the messages of an account, which nobody serves, some days older: age
// MAILDIR DAYS.
func age(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: age MAILDIR DAYS")
	}
	days, err := strconv.Atoi(args[1])
	ts.Check(err)
	conn, err := sqlite.OpenConn(filepath.Join(ts.MkAbs(args[0]), "mailstead", "index.db"), sqlite.OpenReadWrite)
	ts.Check(err)
	defer conn.Close()
	ts.Check(sqlitex.Execute(conn, "UPDATE message SET saved = saved - ?", &sqlitex.ExecOptions{Args: []any{days * 24 * 60 * 60}}))
}

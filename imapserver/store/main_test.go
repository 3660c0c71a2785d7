package store

import (
	"os"
	"testing"

	"zombiezen.com/go/sqlite"
)

// TestMain has a database open as long as tests run: where none is, SQLite gives all its
// memory back to the kernel, and thousands are opened here, one after the other.
func TestMain(m *testing.M) {
	if _, err := sqlite.OpenConn(":memory:"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

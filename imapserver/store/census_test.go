package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailstead/imapserver/maildir"
)

// censusOf are the rows of DESIGN.md's table of the order of writes: what a client
// says, and the command here.
var censusOf = []struct{ row, command string }{
	{"APPEND", "append"},
	{"APPEND with keywords", "append-keyword"},
	{"COPY", "copy"},
	{"MOVE", "move"},
	{"MOVE to another file system", "move-anew"},
	{"STORE of flags", "store"},
	{"STORE of keywords", "store-keyword"},
	{"EXPUNGE", "expunge"},
	{"EXPUNGE, kept", "keep-remove"},
	{"CREATE", "create"},
	{"DELETE, the first", "delete"},
	{"DELETE, kept", "delete-kept"},
	{"RENAME, with inferiors", "rename"},
	{"SUBSCRIBE", "subscribe"},
	{"SETACL", "rights"},
	{"SETMETADATA", "annotate"},
}

// TestCensus compares what each command does before it is acknowledged, call by
// call and SQLite's among them, with the table in DESIGN.md. The counters are below
// their marks; that the marks are raised is one in a thousand changes.
func TestCensus(t *testing.T) {
	t.Parallel()
	design, err := os.ReadFile("../../DESIGN.md")
	if err != nil {
		t.Fatal(err)
	}
	template := crashTemplate(t)
	for _, row := range censusOf {
		before := []string{"append", "copy", "create"}
		if row.command == "keep-remove" || row.command == "delete-kept" { // where it has kept something before
			before[2] = "keep"
		}
		c := recordCrash(t, crashStart{template: template}, named(append(before, row.command)...)...)
		var calls []string
		syncs, last := 0, ""
		for _, cut := range c.cuts {
			call := censusCall(cut.next)
			again := len(calls) > 0 && calls[len(calls)-1] == call && (cut.next.Call != "syncdir" || cut.next.Path == last)
			if cut.acked != 3 || call == "" || again {
				continue
			}
			last = cut.next.Path
			if strings.HasPrefix(call, "**") {
				syncs++
			}
			calls = append(calls, call)
		}
		line := fmt.Sprintf("| %s | %s | %d |\n", row.row, strings.Join(calls, ", "), syncs)
		if !strings.Contains(string(design), "\n"+line) {
			t.Errorf("DESIGN.md does not have\n%s", line)
		}
	}
}

// censusCall gives a call in the words of the table.
func censusCall(op maildir.Op) string {
	place := censusPlace(op.Path)
	switch op.Call {
	case "the next", "the first":
		return ""
	case "sync":
		return "**sync " + place + "**"
	case "syncdir":
		return "**sync directory " + place + "**"
	case "rename", "link":
		return op.Call + " " + place + " to " + censusPlace(op.To)
	case "removeall":
		return "remove " + place
	}
	return op.Call + " " + place
}

// censusPlace gives what a path is.
func censusPlace(path string) string {
	base, dir := filepath.Base(path), filepath.Base(filepath.Dir(path))
	switch {
	case strings.HasPrefix(base, indexFile):
		return "index"
	case strings.HasSuffix(base, ".notes"):
		return "notes"
	case strings.Contains(path, "/"+maildir.KeptDir+"/"):
		return maildir.KeptDir
	case dir == "tmp" || dir == "cur" || dir == "new":
		return dir
	case base == "cur" || base == "new" || base == "tmp":
		return base
	case dir == makingDir || dir == deletedDir:
		return dir
	case filepath.Base(filepath.Dir(filepath.Dir(path))) == makingDir:
		return base
	case base == "Maildir":
		return "top"
	case strings.HasPrefix(base, "."):
		return "mailbox"
	}
	name, _, temporary := strings.Cut(base, ".")
	if temporary {
		return "new " + name
	}
	return name
}

package schema

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestExcerptsBelowComment: what a comment speaks of hides nothing below it.
func TestExcerptsBelowComment(t *testing.T) {
	const line = `hosts: "mail.example.org": listeners: imap: {prot: 143}`
	for _, comment := range []string{"// bob's password: it's in the vault", "\t# the passwords: don't commit", `// password: hash: "$6$..." would do, but it's weak`} {
		if leftOpen([][]byte{[]byte(comment)}, []byte(line)) {
			t.Errorf("%s", comment)
		}
		if !leftOpen([][]byte{[]byte(`hash: """`), []byte(comment)}, []byte("geheim")) {
			t.Errorf("in a text: %s", comment)
		}
	}
}

// TestExcerptsOfOneLine: a JSON file is often one line, and each of its users may be
// wrong. What an excerpt takes does not grow with the line.
func TestExcerptsOfOneLine(t *testing.T) {
	const users = 1000
	var b strings.Builder
	for i := range users {
		fmt.Fprintf(&b, `"usér%04d": {"password": {"hash": "$2y$05$%053d"}}, `, i, i)
	}
	line := "{" + strings.TrimSuffix(b.String(), ", ") + "}"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "users.json"), []byte(line+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var at []Pos
	for i := strings.Index(line, `"hash"`); i >= 0 && i < len(line); i += len(line)/users + 1 {
		for !utf8.RuneStart(line[i]) {
			i++
		}
		at = append(at, Pos{"users.json", 1, i + 1})
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	list := Lines([]string{dir}, at)
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 32<<20 {
		t.Errorf("%d excerpts of a line of %d octets took %d MiB", len(at), len(line), used>>20)
	}
	masked := mask(line, secretValues)
	for i, e := range list {
		start := at[i].Col - 1
		want := Excerpt{Line: masked, Start: utf8.RuneCountInString(masked[:start]), Length: e.Length, Col: utf8.RuneCountInString(line[:start]) + 1, EndCol: e.EndCol}
		if want.shorten(); *e != want {
			t.Fatalf("at %d:\n%+v\nwant\n%+v", start, *e, want)
		}
	}
}

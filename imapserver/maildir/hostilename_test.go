package maildir

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// pieces are what names are made of that have led servers out of their trees, or
// two names to one directory.
var pieces = []string{
	"..", ".", "/", "../", "/etc", "cur", "new", "tmp", "INBOX", "inbox", "Inbox.", "&", "&-", "&AGE-", "&AOk-", "&AC8-", "&2D3eAA-", "-", "\x00",
	"\r\n", "\n", "\t", "\x7f", "\x80", "\xff", "\xc0\xae", "\xed\xa0\x80", "é", "e\u0301", "É", "\u2028", "\u0085", "😀", "日本", " ", "~", "%", "*",
	"\\", "\"", "{1}", "a", "A", "b", "mailstead", "maildirfolder", ":2,S", "#shared",
}

// TestHostileNames makes names of such pieces, 100,000 or as many as
// MAILSTEAD_NAMES says: a directory is one entry of the top Maildir, no two names
// have the same one, and it gives its name back.
func TestHostileNames(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 10_000
	}
	if s := os.Getenv("MAILSTEAD_NAMES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("MAILSTEAD_NAMES: %v", err)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	names := map[Encoding]map[string]string{UTF8: {}, ModifiedUTF7: {}} // by directory
	for range n {
		var b strings.Builder
		for range 1 + r.IntN(6) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		if r.IntN(50) == 0 {
			b.WriteString(strings.Repeat(pieces[r.IntN(len(pieces))], 100))
		}
		for enc, known := range names {
			dir, err := EncodeName(b.String(), enc)
			if err != nil {
				continue
			}
			checkDir(t, dir)
			name := b.String()
			if strings.EqualFold(name, Inbox) {
				name = Inbox
			}
			if back, err := DecodeName(dir, enc); err != nil || back != name {
				t.Fatalf("%v: %q is %q on disk, which is %q, %v", enc, name, dir, back, err)
			}
			if other, ok := known[dir]; ok && other != name {
				t.Fatalf("%v: %q and %q are both %q", enc, name, other, dir)
			}
			if len(known) < 1_000_000 {
				known[dir] = name
			}
		}
	}
}

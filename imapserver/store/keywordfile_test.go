package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// TestKeywordFile copies 167 of 6,814 messages beside the keyword file that made
// Courier take minutes for it: half a million lines of messages that are gone,
// and fifty keywords on each that is not. Nothing of it is read for the COPY.
func TestKeywordFile(t *testing.T) {
	const messages, stale, each = 6814, 500_000, 50
	dir := newMaildir(t)
	var words []string
	for i := range each {
		words = append(words, fmt.Sprintf("Word%02d", i))
	}
	keywords := strings.Join(words, " ")
	db := maildir.UIDDB{Validity: 5, Next: messages + 1}
	for i := range messages {
		base := fmt.Sprintf("1700000000.M%06dP1.host", i)
		db.Messages = append(db.Messages, maildir.UIDDBMessage{UID: uint32(i + 1), Base: base})
		if err := os.WriteFile(filepath.Join(dir, "cur", base+":2,S"), []byte("a: b\n\nc\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list := maildir.EncodeKeywords(func(yield func(string, string) bool) {
		for i := range stale {
			if !yield(fmt.Sprintf("1600000000.M%06dP1.host", i), words[0]) {
				return
			}
		}
		for _, m := range db.Messages {
			if !yield(m.Base, keywords) {
				return
			}
		}
	})
	if err := os.Mkdir(filepath.Join(dir, maildir.KeywordsDir), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		maildir.UIDDBFile: maildir.EncodeUIDDB(db),
		filepath.Join(maildir.KeywordsDir, maildir.KeywordsList): list,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := openUnwatched(t, dir)
	create(t, a, "Archive")
	v := selectBox(t, a, "INBOX", false)
	if v.Len() != messages || len(v.At(1).Flags) != 1+each {
		t.Fatalf("%d messages, %d flags of the first", v.Len(), len(v.At(1).Flags))
	}
	var seqs []SeqNum
	for i := range 167 {
		seqs = append(seqs, SeqNum(messages-i))
	}
	before := readSoFar(t)
	done, err := v.Copy(context.Background(), seqs, Target{Account: a, Mailbox: "Archive", Rights: AllRights})
	if err != nil || len(done.Dest) != len(seqs) {
		t.Fatalf("%d copies: %v", len(done.Dest), err)
	}
	if n := readSoFar(t) - before; n > len(list)/10 {
		t.Errorf("COPY read %d octets; the keyword file has %d", n, len(list))
	}
	copies := selectBox(t, a, "Archive", true)
	if m := copies.At(1); len(m.Flags) != 1+each || m.Flags[0] != imap.FlagSeen {
		t.Errorf("a copy has the flags %v", m.Flags)
	}
}

// readSoFar is how many octets this process has read. Tests that run beside
// others cannot use it.
func readSoFar(t *testing.T) (n int) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip("the kernel does not count what is read: ", err)
	}
	if _, err := fmt.Sscanf(string(data), "rchar: %d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

package transfer

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/emersion/go-imap/v2"
)

// TestBody makes CRLF of every line end, wherever the pieces end that it comes in.
func TestBody(t *testing.T) {
	for in, want := range map[string]string{
		"a\nb": "a\r\nb", "a\r\nb\r\n": "a\r\nb\r\n", "\n\r\n\n": "\r\n\r\n\r\n",
		"a\rb": "a\rb", "a\r": "a\r", "a\r\r\n": "a\r\r\n", "\x00": "\x00", "": "",
		strings.Repeat("0123456789\n", 200_000): strings.Repeat("0123456789\r\n", 200_000),
	} {
		var pieces []io.Reader
		if pieces = append(pieces, strings.NewReader(in)); len(in) < 100 {
			pieces = append(pieces, iotest.OneByteReader(strings.NewReader(in)), iotest.DataErrReader(strings.NewReader(in)))
		}
		for _, r := range pieces {
			b, err := readBody(r)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := b.writeTo(&got); err != nil || got.String() != want || b.size != int64(len(want)) {
				t.Errorf("%.40q: %.40q, %d octets, %v", in, got.String(), b.size, err)
			}
			if binary := strings.ContainsRune(in, 0) || strings.Contains(strings.ReplaceAll(in, "\r\n", ""), "\r"); b.binary != binary {
				t.Errorf("%.40q: binary is %v", in, b.binary)
			}
			b.close()
		}
	}
}

// TestDigest takes a last line without an end for one with it, and nothing else.
func TestDigest(t *testing.T) {
	of := func(text string) digest {
		b, err := readBody(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return b.digest()
	}
	if of("a\n\nb") != of("a\r\n\r\nb\r\n") {
		t.Error("the end of the last line makes a difference")
	}
	if of("a\n\nb\n\n") == of("a\n\nb\n") || of("a\x00") == of("a\x00\r\n") {
		t.Error("messages that differ have one digest")
	}
}

// TestNames gives every mailbox a name of its own that there may be.
func TestNames(t *testing.T) {
	ours := map[imap.MailboxAttr]string{imap.MailboxAttrSent: "Sent", imap.MailboxAttrTrash: "Trash"}
	boxes := []Mailbox{
		{Levels: []string{"INBOX"}}, {Levels: []string{"Inbox", "Lists"}}, {Levels: []string{"Sent Messages"}, Use: imap.MailboxAttrSent},
		{Levels: []string{"Archive", "2.0"}}, {Levels: []string{"Archive", "2_0"}}, {Levels: []string{"work"}}, {Levels: []string{"Work"}},
		{Levels: []string{" "}}, {Levels: []string{"a\xffb\n"}}, {Levels: []string{strings.Repeat("ä", 300)}},
		{Levels: []string{"INBOX", "Inbox"}}, {Levels: []string{"INBOX", "INBOX"}}, {Levels: []string{"a\u0085b\u2028c\u2029"}}, {Levels: []string{"work"}}, {Levels: []string{"work-2"}}, {Levels: []string{"work"}},
	}
	for into, want := range map[string][]string{
		"":    {"INBOX", "Lists", "Sent", "Archive.2_0", "Archive.2_0-2", "work", "Work", "_", "a_b_", strings.Repeat("ä", 100), "INBOX-2", "INBOX-2-2", "a_b_c_", "work-2", "work-2-2", "work-3"},
		"Old": {"Old", "Old.Lists", "Old.Sent Messages", "Old.Archive.2_0", "Old.Archive.2_0-2", "Old.work", "Old.Work", "Old._", "Old.a_b_", "Old." + strings.Repeat("ä", 100), "Old.Inbox", "Old.INBOX", "Old.a_b_c_", "Old.work-2", "Old.work-2-2", "Old.work-3"},
	} {
		p := &place{into: into, ours: ours, taken: names{}}
		for i, m := range boxes {
			if got := p.of(m); got != want[i] {
				t.Errorf("%q into %q: %q, not %q", m.Levels, into, got, want[i])
			}
		}
	}
}

// TestNamesAlike makes names of which a hostile source has many that are the same here.
func TestNamesAlike(t *testing.T) {
	const many = 5000
	made := testing.AllocsPerRun(1, func() {
		p := &place{taken: names{}}
		for range many {
			p.of(Mailbox{Levels: []string{"a"}})
		}
	})
	if made > 20*many {
		t.Errorf("%.0f allocations for %d names", made, many)
	}
}

// TestVirtual brings what only shows messages of other mailboxes to who names it alone.
func TestVirtual(t *testing.T) {
	for name, want := range map[string]bool{
		"": false, "*": false, "[Gmail]/*": false, "[Gmail]/All Mail": true, `\[Gmail\]/All Mail`: true, "[Gmail]/Spam": false,
	} {
		var o Options
		if name != "" {
			o.Include = []string{name}
		}
		if got := o.chosen(Mailbox{Name: "[Gmail]/All Mail", Virtual: true}) == ""; got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

// TestMatches has names and patterns as people write them.
func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, mailbox string
		want             bool
	}{
		{"inbox", "INBOX", true}, {"INBOX", "Inbox", true}, {"inbox/a", "INBOX/a", false}, {"work", "Work", false},
		{"*", "a", true}, {"*", "a/b", false}, {"a/*", "a/b", true}, {"a*b", "a*b", true}, {"?", "ä", true},
		{"[Gmail]/*", "[Gmail]/Spam", true}, {`\[Gmail\]/*`, "[Gmail]/Spam", true}, {"[Gmail]", "[Gmail]", true},
		{"[ab]c", "ac", true}, {"[ab]c", "c", false}, {"[", "[", true}, {"[*", "[x", true}, {`a\`, `a\`, true},
	} {
		if got := matches(c.pattern, c.mailbox); got != c.want {
			t.Errorf("%q and %q: %v", c.pattern, c.mailbox, got)
		}
	}
}

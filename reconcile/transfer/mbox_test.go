package transfer_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"mailstead/imapserver/dialogue"
	"mailstead/reconcile/transfer"
)

// mboxFile is a file as a source, and its path.
func mboxFile(t *testing.T, text string) (src *transfer.Mbox, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "Box.mbox")
	write(t, path, text)
	return &transfer.Mbox{Path: path}, path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// bodies are the texts of the messages of a mailbox here, as they are quoted by mail.
func bodies(t *testing.T, a *dialogue.Account, mailbox string) (all []string) {
	t.Helper()
	for _, m := range mail(t, a)[mailbox] {
		_, text, _ := strings.Cut(m, `\r\n\r\n`)
		all = append(all, strings.TrimSuffix(text, `"`))
	}
	slices.Sort(all)
	return all
}

// TestMboxSeparators parts messages where one begins, and not where a paragraph does.
func TestMboxSeparators(t *testing.T) {
	for line, parts := range map[string]bool{
		"From a@b Mon Jan  5 10:00:00 2026\nno field\n\n":                     true,
		"From a@b Mon Jan  5 10:00:00 2026 remote from c\nSubject: b\n\n":     true,
		"From a@b 5. ledna 2026 10:00\nReceived: b\n\n":                       true,
		"From -\nX-Mozilla-Status: 0001\n\n":                                  true,
		"From nobody\nReturn-Path:<a@b>\n\n":                                  true,
		"From what I hear, it works.\n\n":                                     false,
		"From what I hear, it works:\nSubject: this\n":                        false,
		"From 10:00 on\nit is open.\n":                                        false,
		"From a@b 5. ledna 2026 10:00\nhttp://example.org\n":                  false,
		"From " + strings.Repeat("long ", 400_000) + "at 10:00\nSubject: x\n": false,
	} {
		t.Run(line[:10], func(t *testing.T) {
			here := dialogue.Mailstead(t, dialogue.Setup{})
			src, _ := mboxFile(t, "From a@b Mon Jan  5 10:00:00 2026\nSubject: a\n\none\n\n"+line+"the rest\n\n")
			run(t, src.Open, here, filepath.Join(t.TempDir(), "journal"), transfer.Options{})
			got := bodies(t, here, "Box")
			if want := strings.ReplaceAll("one\n\n"+line+"the rest\n", "\n", `\r\n`); !parts && (len(got) != 1 || got[0] != want) {
				t.Errorf("%d messages: %.200q", len(got), got)
			}
			if parts && (len(got) != 2 || got[0] != `one\r\n` && got[1] != `one\r\n`) {
				t.Errorf("%d messages: %q", len(got), got)
			}
		})
	}
}

// TestMboxWritten has the file written anew between the look at it and the reading: no
// message comes that nobody sent, and the next run brings what there is.
func TestMboxWritten(t *testing.T) {
	here, dir := dialogue.Mailstead(t, dialogue.Setup{}), filepath.Join(t.TempDir(), "journal")
	message := func(s string) string {
		return "From a@b Mon Jan  5 10:00:00 2026\nSubject: " + s + "\n\n" + s + "\n\n"
	}
	src, path := mboxFile(t, message("one")+message("two")+message("three")+message("four"))
	if _, err := src.Mailboxes(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, path, message("one")+message("three")+message("four")) // as an expunge does
	j, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	reports, err := (&transfer.Transfer{Open: src.Open, Target: target(t, here, ""), Journal: j, Progress: silent{}, Pause: time.Millisecond}).Run(t.Context())
	j.Close()
	if err != nil || !strings.Contains(reports[0].Error, "Box.mbox is not any more what it was") || len(reports[0].Left) > 0 {
		t.Errorf("%+v, %v", reports, err)
	}
	if got := bodies(t, here, "Box"); !slices.Equal(got, []string{`one\r\n`}) {
		t.Errorf("%q", got)
	}
	run(t, (&transfer.Mbox{Path: path}).Open, here, dir, transfer.Options{})
	if got := bodies(t, here, "Box"); !slices.Equal(got, []string{`four\r\n`, `one\r\n`, `three\r\n`}) {
		t.Errorf("then %q", got)
	}
}

// TestMboxAppended has no empty line behind its last message until another one follows. What
// was the ID of such a message in earlier versions is known.
func TestMboxAppended(t *testing.T) {
	const from = "From a@b Mon Jan  5 10:00:00 2026"
	for name, c := range map[string]struct {
		last, then string
		blank      bool // the line is there already
	}{
		"LF":            {"Subject: b\n\ntwo\n", "\n", false},
		"CRLF":          {"Subject: b\r\n\r\ntwo\r\n", "\r\n", false},
		"no end":        {"Subject: b\n\ntwo", "\n\n", false},
		"other ends":    {"Subject: b\n\ntwo\r\n", "\n", false},
		"an empty line": {"Subject: b\n\ntwo\n\n", "", true},
		"its own":       {"Subject: b\n\ntwo\n\n", "\n", true},
		"no field end":  {"Subject: b\n", "\n", false},
		"no text":       {"Subject: b\n\n", "\n", true},
		"alike":         {"Subject: a\n\none\n", "\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			here, dir := dialogue.Mailstead(t, dialogue.Setup{}), filepath.Join(t.TempDir(), "journal")
			eol := "\n"
			if name == "CRLF" {
				eol = "\r\n"
			}
			text := from + eol + "Subject: a\n\none\n\n" + from + eol + c.last
			src, path := mboxFile(t, text)
			run(t, src.Open, here, dir, transfer.Options{})
			if got := bodies(t, here, "Box"); len(got) != 2 {
				t.Fatalf("%q", got)
			}
			bring := func(text string, messages int) {
				t.Helper()
				write(t, path, text)
				run(t, (&transfer.Mbox{Path: path}).Open, here, dir, transfer.Options{Flags: true})
				if got := bodies(t, here, "Box"); len(got) != messages {
					t.Errorf("%d messages, not %d: %q", len(got), messages, got)
				}
			}
			// As earlier versions have written it.
			is, was := sha256.Sum256([]byte(c.last+c.then)), sha256.Sum256([]byte(c.last))
			journal, data := journalOf(t, dir, "Box")
			before := string(data)
			now := regexp.MustCompile(hex.EncodeToString(is[:16])+"(-2)?\t").ReplaceAllString(before, hex.EncodeToString(was[:16])+"\t")
			if (now == before) != c.blank {
				t.Fatalf("the journal has %q", before)
			}
			if name == "alike" { // the first of the two had an empty line behind it
				now = strings.Replace(now, hex.EncodeToString(was[:16]), hex.EncodeToString(is[:16]), 1)
			}
			if name != "no end" { // which is that of no octets that are there then
				write(t, journal, now)
			}
			bring(text, 2)
			bring(text+c.then+from+"\nStatus: RO\nSubject: c\n\nthree\n", 3)
			// One more of what is there already is another message.
			bring(text+c.then+from+"\nStatus: RO\nSubject: c\n\nthree\n\n"+from+"\n"+c.last, 4)
		})
	}
}

// TestMboxAlike has a message follow one that it differs from by an empty line at its end.
func TestMboxAlike(t *testing.T) {
	const one = "From a@b Mon Jan  5 10:00:00 2026\nSubject: a\n\none\n\n"
	here, dir := dialogue.Mailstead(t, dialogue.Setup{}), filepath.Join(t.TempDir(), "journal")
	src, path := mboxFile(t, one)
	run(t, src.Open, here, dir, transfer.Options{})
	write(t, path, one+one+"\n")
	run(t, (&transfer.Mbox{Path: path}).Open, here, dir, transfer.Options{})
	if got := bodies(t, here, "Box"); !slices.Equal(got, []string{`one\r\n`, `one\r\n\r\n`}) {
		t.Errorf("%q", got)
	}
}

// TestMboxLead has what some programs write before the first message.
func TestMboxLead(t *testing.T) {
	const one = "From a@b Mon Jan  5 10:00:00 2026\nSubject: a\n\none\n"
	for _, lead := range []string{"\n", "\r\n\r\n\n", "\ufeff", "\ufeff\n"} {
		here, dir := dialogue.Mailstead(t, dialogue.Setup{}), filepath.Join(t.TempDir(), "journal")
		src, path := mboxFile(t, lead+one)
		run(t, src.Open, here, dir, transfer.Options{})
		write(t, path, one) // it is the same message without
		run(t, (&transfer.Mbox{Path: path}).Open, here, dir, transfer.Options{})
		if got := bodies(t, here, "Box"); !slices.Equal(got, []string{`one\r\n`}) {
			t.Errorf("%q: %q", lead, got)
		}
	}
}

// TestMboxOthers names what is in a directory of mbox files and is none of them, unless it is
// excluded, has no octets or is no mail by its name.
func TestMboxOthers(t *testing.T) {
	here, top := dialogue.Mailstead(t, dialogue.Setup{}), t.TempDir()
	const one = "From a@b Mon Jan  5 10:00:00 2026\nSubject: a\n\none\n"
	for name, text := range map[string]string{
		"Box.mbox": one, "Old.mbox.gz": "\x1f\x8b\x08\x00From", "mail.eml": "Subject: a\n\none\n", "short": "F", "notes": "From",
		"Empty": "", "Blank": "\ufeff\n\n", "Box.msf": "<(a)>", "popstate.dat": "x", ".x/table_of_contents": "\x01", "table_of_contents": "\x01", "Settings.json": "{}", "archive_browser.html": "<html>", ".lock": "1", ".dir/x": "1",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(top, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(top, name), text)
	}
	if err := errors.Join(os.Symlink("Box.mbox", filepath.Join(top, "Box")), os.Symlink(top, filepath.Join(top, "Dir")), unix.Mkfifo(filepath.Join(top, "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	reports := try(t, (&transfer.Mbox{Path: top}).Open, here)
	got := map[string]string{}
	for _, r := range reports {
		got[r.Mailbox] = r.Error
	}
	const link, none = " is a link, and links are not followed", ` does not begin with a line "From ", as an mbox does`
	want := map[string]string{
		"Box": "", "Box-2": "Box" + link, "Dir": "Dir" + link, "pipe": "pipe is no file",
		"Old.mbox.gz": "Old.mbox.gz" + none, "mail.eml": "mail.eml" + none, "short": "short" + none, "notes": "notes" + none,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	run(t, (&transfer.Mbox{Path: top}).Open, here, filepath.Join(t.TempDir(), "journal"), transfer.Options{Exclude: []string{"Box-2", "Dir", "pipe", "*.gz", "mail.eml", "short", "notes"}})
}

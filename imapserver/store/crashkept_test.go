package store

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

// crashKeep is for how long the rig keeps what is expunged.
const crashKeep = time.Hour

// crashKept are commands of an account that keeps what is expunged.
var crashKept = []crashCommand{
	{name: "keep", run: func(r *crashRun) error {
		r.a.SetKeep(crashKeep)
		_, err := r.a.keeping()
		return err
	}},
	{name: "keep-remove", run: func(r *crashRun) error {
		r.a.SetKeep(crashKeep)
		return r.v.Remove(r.ctx, SeqNum(r.v.Len()))
	}},
	{name: "keep-expunge", run: (*crashRun).keepExpunge},
	{name: "keep-expunge-anew", run: (*crashRun).keepExpunge, anew: true},
	{name: "keep-expunge-new", run: func(r *crashRun) error { return r.fromNew(r.keepExpunge) }},
	{name: "keep-discard", run: func(r *crashRun) error {
		r.a.SetKeep(crashKeep)
		return r.v.Discard(r.ctx, nil)
	}},
	// As for a copy: what nobody has synced is not ours until we have acknowledged
	// that it is kept.
	{name: "keep-unsynced", run: func(r *crashRun) error {
		r.c.hush(true)
		defer r.c.hush(false)
		if err := r.deliverUnsynced(); err != nil {
			return err
		}
		r.a.SetKeep(crashKeep)
		return r.v.Remove(r.ctx, SeqNum(r.v.Len()))
	}},
	{name: "undelete", run: (*crashRun).undelete},
	{name: "sweep", run: func(r *crashRun) error {
		r.a.SetKeep(1) // which is over at once
		if err := r.append("INBOX", imap.FlagDeleted); err != nil {
			return err
		}
		if err := r.v.Expunge(r.ctx, nil); err != nil {
			return err
		}
		r.c.shown(r)
		return sweep(r.a, crashKeep)
	}},
}

func (r *crashRun) keepExpunge() error {
	r.a.SetKeep(crashKeep)
	return r.v.Expunge(r.ctx, nil)
}

// undelete appends what is kept to the mailboxes that it was in, as the command of
// that name has the daemon do, from what is on disk.
func (r *crashRun) undelete() error {
	notes := make(map[string]maildir.KeptNote)
	files, err := filepath.Glob(filepath.Join(r.a.own, maildir.KeptDir, "*.notes"))
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err == nil {
			err = maildir.ReadKeptNotes(bytes.NewReader(data), func(n maildir.KeptNote) { notes[n.Name] = n })
		}
		if err != nil {
			return err
		}
	}
	kept := keptFiles(r.t, r.a)
	slices.Sort(kept)
	for _, file := range kept {
		n, noted := notes[filepath.Base(file)]
		if !noted {
			return fmt.Errorf("no note of %s", file)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var flags []imap.Flag
		for _, w := range strings.Fields(n.Keywords) {
			flags = append(flags, imap.Flag(w))
		}
		if _, _, err := tryAppend(r.a, n.Mailbox, strings.ReplaceAll(string(text), "\n", "\r\n"), time.Unix(n.Date, 0), flags...); err != nil {
			return err
		}
	}
	return nil
}

// observeKept gives what is kept and is to stay, and how often.
func observeKept(t *testing.T, a *Account) map[string]int {
	t.Helper()
	kept := make(map[string]int)
	inMailboxes, err := filepath.Glob(filepath.Join(a.own, maildir.KeptDir, "*-*", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(keptFiles(t, a), inMailboxes...) {
		named := filepath.Base(file)
		if dir := filepath.Base(filepath.Dir(filepath.Dir(file))); dir != maildir.KeptDir {
			named = dir // the mailbox was deleted as a whole
		}
		_, until, ok := maildir.ParseKeptName(named)
		if !ok || time.Until(until) < crashKeep/2 {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		kept[strings.ReplaceAll(string(text), "\n", "\r\n")]++
	}
	return kept
}

// compareKept holds that what is kept stays, and that nothing is kept but what was
// expunged, whole.
func compareKept(got, before, after crashState) error {
	for text, n := range before.kept {
		if got.kept[text] < n {
			return fmt.Errorf("%q is not kept any more", text)
		}
	}
	for text, n := range got.kept {
		if n > max(before.kept[text], after.kept[text]) {
			return fmt.Errorf("%q is kept %d times", text, n)
		}
	}
	return nil
}

// TestCrashKept cuts the power between any two calls of what keeps what is expunged,
// alone and after others: a message is in its mailbox or kept, whole; what is kept
// stays until its time; and what was brought back stays.
func TestCrashKept(t *testing.T) {
	t.Parallel()
	template := crashTemplate(t)
	count, sequences := crashCount{}, 0
	run := func(names ...string) {
		sequences++
		for _, f := range recordCrash(t, crashStart{template: template, ours: true}, named(names...)...).check(t, len(names)-1, &count) {
			t.Error(f)
		}
	}
	for i, cmd := range crashKept {
		if testing.Short() && i%3 > 0 {
			continue
		}
		run(cmd.name)
		if os.Getenv("MAILSTEAD_CRASH") == "" {
			continue
		}
		for _, other := range crashCommands {
			run(cmd.name, other.name)
			run(other.name, cmd.name)
		}
	}
	run("keep-expunge", "undelete")
	if !testing.Short() {
		run("keep-expunge", "sweep")
		run("keep", "keep-expunge")
	}
	t.Logf("%d sequences, %d states, %d different disks", sequences, count.states, count.disks)
}

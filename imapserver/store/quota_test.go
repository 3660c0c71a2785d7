package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailstead/imapserver/maildir"
)

func writeSizeFile(t *testing.T, dir, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, maildir.SizeFileName), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func readSizeFile(t *testing.T, dir string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, maildir.SizeFileName))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func wantUsage(t *testing.T, a *Account, octets, messages int64) {
	t.Helper()
	_, used, err := a.Quota()
	if want := (maildir.Usage{Octets: octets, Messages: messages}); err != nil || used != want {
		t.Errorf("usage %+v, %v; want %+v", used, err, want)
	}
}

// Where nobody counts, nobody begins to.
func TestNoQuota(t *testing.T) {
	a := openAccount(t, newMaildir(t))
	appendMessage(t, a, "INBOX", "a: b\r\n\r\nc\r\n")
	if err := a.SetQuota(maildir.Limits{}); err != nil {
		t.Error(err)
	}
	if _, _, err := a.Quota(); !errors.Is(err, ErrNoQuota) {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(a.dir, maildir.SizeFileName)); err == nil {
		t.Error("a maildirsize was made")
	}
}

// A file that is there sets the limits. It is written in Courier's form.
func TestQuotaOfFile(t *testing.T) {
	dir := newMaildir(t)
	writeSizeFile(t, dir, "40S,5C\n           0            0\n")
	a := openAccount(t, dir)
	const text = "a: b\r\n\r\n123\r\n" // 10 octets on disk
	appendMessage(t, a, "INBOX", text)
	want := "40S,5C\n           0            0\n          10            1\n"
	if got := readSizeFile(t, dir); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for range 3 {
		appendMessage(t, a, "INBOX", text)
	}
	wantUsage(t, a, 40, 4) // the limit may be hit exactly
	if _, _, err := tryAppend(a, "INBOX", text, time.Time{}); !errors.Is(err, ErrOverQuota) {
		t.Error(err)
	}
	wantUsage(t, a, 40, 4)
	// What other programs write counts at once.
	f, err := os.OpenFile(filepath.Join(dir, maildir.SizeFileName), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(f, "%12d %12d\n", -20, -2)
	f.Close()
	wantUsage(t, a, 20, 2)
}

// A file that says too much, or nothing that could be read, is made anew by a
// count; so is one that differs from the index.
func TestQuotaRecount(t *testing.T) {
	const text = "a: b\r\n\r\n123\r\n"
	for _, content := range []string{
		"100S\n", "100S", "100S\n 9 1\n 8 x\n", "100S\n 1 1 1\n", "100S\n-5 1\n", "100S\n 90 1\n 1 1\n",
		"100S\n 30 3", strings.Repeat("100S\n", 20000), "", "100S\n 99999999999999999999 1\n",
	} {
		dir := newMaildir(t)
		a := openAccount(t, dir)
		for range 3 {
			appendMessage(t, a, "INBOX", text)
		}
		writeSizeFile(t, dir, content)
		a = reopen(t, a)
		wantUsage(t, a, 30, 3)
		limits := "100S"
		if content == "" {
			limits = "0S"
		}
		if got, want := readSizeFile(t, dir), limits+"\n          30            3\n"; got != want {
			t.Errorf("from %.40q: %q, want %q", content, got, want)
		}
	}
}

func TestQuotaOverIsCounted(t *testing.T) {
	dir := newMaildir(t)
	a := openAccount(t, dir)
	if err := a.SetQuota(maildir.Limits{Messages: 2}); err != nil {
		t.Fatal(err)
	}
	appendMessage(t, a, "INBOX", "a: b\r\n")
	appendMessage(t, a, "INBOX", "a: b\r\n")
	paths, _ := filepath.Glob(dir + "/cur/*")
	if err := os.Remove(paths[0]); err != nil { // by someone who does not write it down
		t.Fatal(err)
	}
	appendMessage(t, a, "INBOX", "a: b\r\n")
	if got, want := readSizeFile(t, dir), "2C\n           5            1\n           5            1\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Messages go from each of two accounts to the other at once, and both are over quota,
// so that their mail is counted: neither waits for the other for ever.
func TestQuotaOfBoth(t *testing.T) {
	all := []*Account{openAccount(t, newMaildir(t)), openAccount(t, newMaildir(t))}
	var views []*View
	for _, a := range all {
		create(t, a, "In")
		if err := a.SetQuota(Limits{Messages: 2}); err != nil {
			t.Fatal(err)
		}
		appendMessage(t, a, "INBOX", mail1)
		appendMessage(t, a, "INBOX", mail1)
		views = append(views, selectBox(t, a, "INBOX", false))
	}
	for _, a := range all {
		a.quota.mu.Lock() // both get as far as to what they need this for
	}
	done := make(chan error, 2)
	for i, v := range views {
		go func() {
			_, err := v.Move(context.Background(), allSeqs(v), Target{Account: all[1-i], Mailbox: "In", Rights: AllRights})
			done <- err
		}()
	}
	held := func(a *Account) bool {
		free := a.quota.changes.TryLock()
		if free {
			a.quota.changes.Unlock()
		}
		return !free
	}
	for late := time.Now().Add(20 * time.Millisecond); time.Now().Before(late) && !(held(all[0]) && held(all[1])); {
		runtime.Gosched()
	}
	for _, a := range all {
		a.quota.mu.Unlock()
	}
	for range views {
		select {
		case err := <-done:
			if !errors.Is(err, ErrOverQuota) {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			panic("they wait for each other") // and would at their Close
		}
	}
}

// A file that cannot be what it should be keeps nobody from their mail.
func TestQuotaUnusable(t *testing.T) {
	dir := newMaildir(t)
	path := filepath.Join(dir, maildir.SizeFileName)
	if err := os.MkdirAll(path+"/x", 0o700); err != nil {
		t.Fatal(err)
	}
	a := openAccount(t, dir)
	appendMessage(t, a, "INBOX", "a: b\r\n")
	if _, _, err := a.Quota(); err == nil {
		t.Error("usage is known")
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	wantUsage(t, a, 5, 1)
}

// Whatever is done, the file says what a count would.
func TestQuotaLaw(t *testing.T) {
	ctx := context.Background()
	dir := newMaildir(t)
	a := openAccount(t, dir)
	for _, name := range []string{"Work", "Trash"} {
		if err := a.Create(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.SetQuota(maildir.Limits{Messages: 1000, Octets: 100000}); err != nil {
		t.Fatal(err)
	}
	names := []string{"INBOX", "Work", "Trash"}
	r := rand.New(rand.NewPCG(1, 2))
	longest := 0
	for i := range 600 {
		name, to := names[r.IntN(3)], names[r.IntN(3)]
		v, err := a.Select(ctx, name, false)
		if err != nil {
			t.Fatal(err)
		}
		var some []SeqNum
		for n := range v.Len() {
			if r.IntN(3) == 0 {
				some = append(some, SeqNum(n+1))
			}
		}
		target := Target{Account: a, Mailbox: to, Rights: AllRights}
		step := r.IntN(9)
		switch step {
		case 0, 1:
			appendMessage(t, a, name, strings.Repeat("x", 1+r.IntN(50))+"\r\n", []imap.Flag{imap.FlagSeen, imap.FlagDeleted}[r.IntN(2)])
		case 2:
			if v.Len() < 40 {
				_, err = v.Copy(ctx, some, target)
			}
		case 3:
			if name != to {
				_, err = v.Move(ctx, some, target)
			}
		case 4:
			err = v.Expunge(ctx, nil)
		case 5:
			err = v.Store(ctx, some, StoreAdd, []imap.Flag{imap.FlagDeleted})
		case 6:
			err = v.Store(ctx, some, StoreSet, []imap.Flag{imap.FlagSeen})
		case 7:
			if r.IntN(5) == 0 {
				err = errors.Join(a.Delete(ctx, "Work"), a.Create(ctx, "Work"))
			}
		case 8:
			if r.IntN(5) == 0 {
				err = errors.Join(a.Rename(ctx, "Trash", "x"), a.Rename(ctx, "Work", "Trash"), a.Rename(ctx, "x", "Work"))
			}
		}
		v.Close()
		if err != nil {
			t.Fatalf("step %d (%d): %v", i, step, err)
		}
		counted, err := maildir.CountAll(a.dir, a.ops)
		_, used, qerr := a.Quota()
		if err != nil || qerr != nil || counted != used {
			t.Fatalf("step %d (%d on %s, to %s): the file says %+v, a count %+v: %v %v", i, step, name, to, used, counted, err, qerr)
		}
		longest = max(longest, len(readSizeFile(t, dir)))
	}
	if longest > maildir.SizeFileFull {
		t.Errorf("the file was %d octets long", longest)
	}
}

// TestQuotaReplaces: a message that takes the place of another needs room only for what it
// is more, in one account. As long as both are there, both are counted.
func TestQuotaReplaces(t *testing.T) {
	ctx := context.Background()
	dir := newMaildir(t)
	writeSizeFile(t, dir, "5000S,1C\n")
	a, b := openAccount(t, dir), openAccount(t, newMaildir(t))
	appendMessage(t, a, "INBOX", mail1)
	appendMessage(t, b, "INBOX", mail1)
	v, other := selectBox(t, a, "INBOX", false), selectBox(t, b, "INBOX", false)
	_, before, err := a.Quota()
	if err != nil {
		t.Fatal(err)
	}
	replace := func(w *View) error {
		d, err := a.NewDraft(ctx, "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		d.Replaces(w, 1)
		if _, err := d.Write([]byte(mail1)); err != nil {
			t.Fatal(err)
		}
		_, _, err = d.Commit(ctx, nil, time.Time{})
		return err
	}
	if err := replace(other); !errors.Is(err, ErrOverQuota) {
		t.Errorf("in place of what is in another account: %v", err)
	}
	if err := replace(v); err != nil {
		t.Fatal(err)
	}
	wantUsage(t, a, 2*before.Octets, 2)
	if err := v.Remove(ctx, 1); err != nil {
		t.Fatal(err)
	}
	wantUsage(t, a, before.Octets, 1)
	if err := replace(v); !errors.Is(err, ErrOverQuota) {
		t.Errorf("in place of what is gone: %v", err)
	}
}

package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mailstead/imapserver/maildir"
)

// TestAppendMany: the messages of one command are all durable before the first of them
// can be seen, or none is seen.
func TestAppendMany(t *testing.T) {
	const many = 2*maxUnsynced + 6
	for _, broken := range []int{0, 5, maxUnsynced + 1, many} { // which sync fails
		dir := newMaildir(t)
		var mu sync.Mutex
		var synced, placed, early int
		ops := &maildir.Ops{Trace: func(op maildir.Op) error {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case op.Call == "sync" && filepath.Dir(op.Path) == filepath.Join(dir, "tmp"):
				if synced++; synced == broken {
					return syscall.EIO
				}
			case op.Call == "rename" && filepath.Dir(op.Path) == filepath.Join(dir, "tmp"):
				placed++
				if synced < many {
					early++
				}
			}
			return nil
		}}
		a, err := Open(context.Background(), Options{Maildir: dir, unwatched: true, ops: ops})
		if err != nil {
			t.Fatal(err)
		}
		err = appendMany(a, many)
		if broken == 0 && (err != nil || placed != many || early > 0) {
			t.Errorf("%v; %d of %d messages are there, %d too early", err, placed, many, early)
		}
		if broken > 0 && (!errors.Is(err, syscall.EIO) || placed > 0) {
			t.Errorf("sync %d failed: %v; %d messages are there", broken, err, placed)
		}
		if left := files(t, dir, "tmp"); len(left) > 0 {
			t.Errorf("tmp has %d files", len(left))
		}
		a.Close()
	}
}

// TestAppendMore: messages of one command that cannot all be there are refused before the
// disk is full of them, by the limits as they are by then, and what does not count is not
// counted.
func TestAppendMore(t *testing.T) {
	dir := newMaildir(t)
	a := openUnwatched(t, dir)
	create(t, a, "Trash")
	if err := a.SetQuota(Limits{Messages: 3}); err != nil {
		t.Fatal(err)
	}
	more := func(name string) (n int, err error) {
		first, err := a.NewDraft(context.Background(), name)
		for d := first; err == nil && n < 9; n++ {
			defer d.Abort()
			io.WriteString(d, mail1)
			if err = d.Finish(nil, time.Time{}); err == nil {
				d, err = first.Another()
				defer d.Abort()
			}
		}
		return n, err
	}
	if n, err := more("INBOX"); n != 4 || !errors.Is(err, ErrOverQuota) {
		t.Errorf("message %d: %v", n, err)
	}
	if n, err := more("Trash"); n != 9 || err != nil {
		t.Errorf("of the trash, message %d: %v", n, err)
	}
	writeSizeFile(t, dir, "5C\n")
	if n, err := more("INBOX"); n != 6 || !errors.Is(err, ErrOverQuota) {
		t.Errorf("with room for more, message %d: %v", n, err)
	}
	if left := files(t, dir, "tmp"); len(left) > 0 {
		t.Errorf("tmp has %d files", len(left))
	}
}

// appendMany does what a client does that goes on after an error, and asks twice.
func appendMany(a *Account, n int) (err error) {
	var drafts []*Draft
	for i := range n {
		var d *Draft
		if i == 0 {
			d, err = a.NewDraft(context.Background(), "INBOX")
		} else {
			d, err = drafts[0].Another()
		}
		if err != nil {
			return err
		}
		defer d.Abort()
		drafts = append(drafts, d)
		io.WriteString(d, strings.Replace(mail1, "Subject: ", fmt.Sprint("Subject: ", i, " "), 1))
		err = errors.Join(err, d.Finish(nil, time.Time{}))
	}
	_, _, committed := CommitAll(context.Background(), drafts)
	if committed != nil {
		_, _, committed = CommitAll(context.Background(), drafts)
		if committed == nil {
			return errors.New("what has failed is done when it is asked for again")
		}
	}
	return errors.Join(err, committed)
}

// TestAppendCR: a CR that ends no line is the message's, in whatever pieces it comes, and the
// size is that of what is then read.
func TestAppendCR(t *testing.T) {
	a := openUnwatched(t, newMaildir(t))
	for text, want := range map[string]string{
		"a: b\r\n\r\nc\rd\r\n":       "a: b\r\n\r\nc\rd\r\n",
		"a: b\r\n\r\nc\r\rd\r":       "a: b\r\n\r\nc\r\rd\r\n", // of a CR before a CRLF nobody could tell later
		"a: b\r\n\r\nc\r\r\nd\r\r\n": "a: b\r\n\r\nc\r\nd\r\n",
		"\r":                         "\r\n",
		"a: b\n\nc\n":                "a: b\r\n\r\nc\r\n",
	} {
		for piece := 1; piece <= 3; piece++ {
			d, err := a.NewDraft(t.Context(), "INBOX")
			if err != nil {
				t.Fatal(err)
			}
			for rest := text; rest != ""; rest = rest[min(piece, len(rest)):] {
				if _, err := d.Write([]byte(rest[:min(piece, len(rest))])); err != nil {
					t.Fatal(err)
				}
			}
			if _, _, err := d.Commit(t.Context(), nil, time.Time{}); err != nil {
				t.Fatal(err)
			}
			v := selectBox(t, a, "INBOX", true)
			n := SeqNum(v.Len())
			size, err := v.Size(t.Context(), n)
			if got := read(t, v, n); got != want || size != int64(len(want)) || err != nil {
				t.Errorf("%q in pieces of %d: %q, size %d, %v", text, piece, got, size, err)
			}
			v.Close()
		}
	}
}

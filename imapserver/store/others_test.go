package store

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/maildir"
)

// outsider is a mailbox at which other programs are at work too.
type outsider struct {
	t        *testing.T
	dir      string
	a        *Account
	v        *View
	validity uint32
	log      *bytes.Buffer
}

// newOutsider has ten messages in cur, of which all with an odd UID are read.
func newOutsider(t *testing.T) *outsider {
	o := &outsider{t: t, dir: newMaildir(t), log: new(bytes.Buffer)}
	for i := range 10 {
		flags := ""
		if i%2 == 0 {
			flags = "S"
		}
		writeFile(t, fmt.Sprintf("Subject: %d\n\nx\n", i+1), o.dir, "cur", fmt.Sprintf("%d.M%dP1.host:2,%s", 1700000000+i, i, flags))
	}
	log := slog.New(slog.NewTextHandler(o.log, nil))
	o.a = openWith(t, Options{Maildir: o.dir, Log: log, unwatched: true})
	o.v = selectBox(t, o.a, "INBOX", false)
	o.validity = o.v.UIDValidity()
	o.log.Reset()
	return o
}

func (o *outsider) name(uid int, flags string) string {
	return filepath.Join(o.dir, "cur", fmt.Sprintf("%d.M%dP1.host:2,%s", 1700000000+uid-1, uid-1, flags))
}

func (o *outsider) rename(from, to string) {
	o.t.Helper()
	if err := os.Rename(from, to); err != nil {
		o.t.Fatal(err)
	}
}

// sees polls, and holds what is told against what is expected; then opens the
// account anew, and expects the same messages as before.
func (o *outsider) sees(want ...Update) {
	o.t.Helper()
	got := poll(o.t, o.v)
	got = append(got, poll(o.t, o.v)...) // what is gone takes a second look
	if diff := cmp.Diff(want, got); diff != "" {
		o.t.Errorf("told of (-want +got) %s", diff)
	}
	for n := range o.v.Len() {
		if got := read(o.t, o.v, SeqNum(n+1)); !strings.HasPrefix(got, "Subject: ") {
			o.t.Errorf("message %d is %q", n+1, got)
		}
	}
	before := lines(o.v)
	o.a = reopen(o.t, o.a)
	o.v = selectBox(o.t, o.a, "INBOX", false)
	if o.v.UIDValidity() != o.validity {
		o.t.Errorf("uidvalidity %d, was %d", o.v.UIDValidity(), o.validity)
	}
	if diff := cmp.Diff(before, lines(o.v)); diff != "" {
		o.t.Errorf("opened anew: %s", diff)
	}
}

// logged holds that there was a line with that text for a surprise, and no more.
func (o *outsider) logged(text string) {
	o.t.Helper()
	got := o.log.String()
	if text == "" && got != "" || strings.Count(got, "\n") > 1 || !strings.Contains(got, text) {
		o.t.Errorf("want one line with %q; logged %s", text, got)
	}
	o.log.Reset()
}

// TestOthers has other programs do to a mailbox what they do, while a session
// has it open.
func TestOthers(t *testing.T) {
	flags := func(uid imap.UID) Update { return Update{Kind: UpdateFlags, Seq: SeqNum(uid), UID: uid} }
	t.Run("mutt", func(t *testing.T) { // flags, and mail moved from new
		o := newOutsider(t)
		o.rename(o.name(2, ""), o.name(2, "RS"))
		deliver(t, o.dir, "1800000000.exim", "Subject: 11\n\nx\n")
		o.rename(filepath.Join(o.dir, "new", "1800000000.exim"), filepath.Join(o.dir, "cur", "1800000000.exim:2,"))
		o.sees(Update{Kind: UpdateExists, Seq: 11}, flags(2))
		o.logged("")
	})
	t.Run("mbsync", func(t *testing.T) { // numbers every message, and changes flags as it goes
		o := newOutsider(t)
		ids := func() (all []string) {
			for n := range o.v.Len() {
				a, err := o.v.Arrival(t.Context(), SeqNum(n+1))
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, a.EmailID)
			}
			return all
		}
		were := ids()
		for uid := 1; uid <= 10; uid++ {
			old := o.name(uid, map[bool]string{true: "S", false: ""}[uid%2 == 1])
			base, suffix := maildir.SplitName(filepath.Base(old))
			if uid == 4 {
				suffix = ":2,PS"
			}
			o.rename(old, filepath.Join(o.dir, "cur", fmt.Sprintf("%s,U=%d%s", base, 100+uid, suffix)))
		}
		o.sees(flags(4))
		o.logged("another program has renamed messages; they are known by their new names")
		for uid := 1; uid <= 10; uid++ { // it begins anew, with other numbers
			for _, name := range files(t, o.dir, "cur") {
				if base, suffix := maildir.SplitName(name); strings.HasSuffix(base, fmt.Sprint(",U=", 100+uid)) {
					o.rename(filepath.Join(o.dir, "cur", name), filepath.Join(o.dir, "cur", maildir.UniqueName(base)+fmt.Sprint(",U=", uid)+suffix))
				}
			}
		}
		o.sees()
		if diff := cmp.Diff(were, ids()); diff != "" {
			t.Errorf("EMAILID is another: %s", diff)
		}
	})
	t.Run("Exim", func(t *testing.T) {
		o := newOutsider(t)
		deliver(t, o.dir, "1800000000.H1P1.host,S=15", "Subject: 11\n\nx\n")
		o.sees(Update{Kind: UpdateExists, Seq: 11})
		o.logged("")
	})
	t.Run("cron", func(t *testing.T) { // find -delete
		o := newOutsider(t)
		for _, uid := range []int{3, 7} {
			if err := os.Remove(o.name(uid, "S")); err != nil {
				t.Fatal(err)
			}
		}
		o.sees(Update{Kind: UpdateExpunge, Seq: 7, UID: 7}, Update{Kind: UpdateExpunge, Seq: 3, UID: 3})
		o.logged("another program has removed messages")
	})
	t.Run("quota tool", func(t *testing.T) { // two names that tell nothing apart
		o := newOutsider(t)
		o.rename(o.name(1, "S"), filepath.Join(o.dir, "cur", "1700000000.M0P1.host,S=15:2,S"))
		writeFile(t, "Subject: twin\n\nx\n", o.dir, "cur", "1700000000.M0P1.host,S=18:2,S")
		got := append(poll(t, o.v), poll(t, o.v)...)
		if len(got) != 2 || o.v.Len() != 11 {
			t.Errorf("%d messages; told of %+v", o.v.Len(), got)
		}
	})
	t.Run("rsync", func(t *testing.T) { // a restore: other inodes, times set back
		o := newOutsider(t)
		backup := filepath.Join(t.TempDir(), "backup")
		copyTree(t, backup, filepath.Join(o.dir, "cur"))
		then := time.Now().Add(-24 * time.Hour)
		for _, name := range files(t, backup) {
			path := filepath.Join(o.dir, "cur", name)
			tmp := filepath.Join(o.dir, "cur", "."+name+".Xy12zK")
			if name == filepath.Base(o.name(5, "S")) {
				os.Remove(path) // it had been lost
				o.sees(Update{Kind: UpdateExpunge, Seq: 5, UID: 5})
			}
			if err := os.WriteFile(tmp, []byte(content(t, backup, name)), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(tmp, then, then); err != nil {
				t.Fatal(err)
			}
			o.rename(tmp, path)
		}
		if err := os.Chtimes(filepath.Join(o.dir, "cur"), then, then); err != nil {
			t.Fatal(err)
		}
		o.log.Reset()
		o.sees(Update{Kind: UpdateExists, Seq: 10}) // what was expunged comes back as a new message
		if uid := o.v.UIDAt(10); uid <= 10 {
			t.Errorf("the message that came back has the uid %d", uid)
		}
		o.logged("")
	})
}

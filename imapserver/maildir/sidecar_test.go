package maildir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mailstead/imapserver/oracle"
)

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParseUIDDBFixture(t *testing.T) {
	data := testdata(t, "courier/uiddb")
	db, err := ParseUIDDB(data)
	if err != nil {
		t.Fatal(err)
	}
	if db.Validity != 795444995 || db.Next != 36 || len(db.Messages) == 0 {
		t.Errorf("uidvalidity %d, next %d, %d messages", db.Validity, db.Next, len(db.Messages))
	}
	if m := db.Messages[1]; m.UID != 4 || m.Base != "1795445009.M151586P17110V000000000000FE00I00000000009B6989_3.mx1.example.test,S=432" {
		t.Errorf("second message is %+v", m)
	}
	if got := EncodeUIDDB(db); !bytes.Equal(got, data) {
		t.Errorf("written again it is %q", got)
	}
}

func TestParseUIDDB(t *testing.T) {
	const head = "1 77 9\n"
	for _, tt := range []struct {
		in   string
		want string // as EncodeUIDDB writes it
	}{
		{"1 795445006 8\n", "1 795445006 8\n"},
		{"  1  77\t9 more fields\n", head},
		{"1 77 9 mailstead\n1 a\n", "1 77 9 mailstead\n1 a\n"},
		{head + "3 c\n1 a\n2 b\n", head + "1 a\n2 b\n3 c\n"},
		{head + "3 c\n1 a", head + "1 a\n3 c\n"}, // no LF at the end
		{"1 77 9\r\n1 a\r\n", head + "1 a\n"},
		{head + "\n1\nx\n-1 y\n0 z\n 2 b\n", head + "2 b\n"},
		{head + "1 a b:c\n", head + "1 a b:c\n"},
		{head + "1 a:2,FS\n", head + "1 a\n"},
		{head + "1 a\n1 b\n2 a\n3 c\n4 c\n", head + "2 a\n3 c\n"}, // neither a UID nor a name twice
		{head + "12 a\n", "1 77 13\n12 a\n"},                      // next is too low
		{head + "4294967296 a\n18446744073709551611 b\n", head},
		{head + "4294967294 a\n", "1 77 4294967295\n4294967294 a\n"},
		{head + "5 \n6 a\x00b\n", head + "6 a\x00b\n"},
	} {
		db, err := ParseUIDDB([]byte(tt.in))
		if got := string(EncodeUIDDB(db)); err != nil || got != tt.want {
			t.Errorf("%q is read as %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{
		"", "\n", "1", "1 77", "1 77 9", "2 77 9\n", "x 77 9\n", "1 0 9\n", "1 77 0\n", "1 x 9\n", "1 -5 9\n",
		"1 4294967296 9\n", "1 77 4294967296\n", "1 77 9\n4294967295 a\n", "3 V1795445275 N35 Gc53d\n",
	} {
		if db, err := ParseUIDDB([]byte(in)); !errors.Is(err, ErrUIDDB) {
			t.Errorf("%q is read as %+v, %v", in, db, err)
		}
	}
}

func FuzzParseUIDDB(f *testing.F) {
	f.Add(testdata(f, "courier/uiddb"))
	for _, s := range []string{"1 77 9\n1 a\n1 b\n", "1 77 9\r\n4294967295 a\n", " 1 1 1\n 9 a:2,S\n9 a"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		oracle.Cost(t, len(data), func() { ParseUIDDB(data) })
		db, err := ParseUIDDB(data)
		if err != nil {
			return
		}
		names := make(map[string]bool)
		last := uint32(0)
		for _, m := range db.Messages {
			if m.UID <= last || m.UID >= db.Next || m.Base == "" || names[m.Base] {
				t.Fatalf("%q: message %+v after uid %d, next %d", data, m, last, db.Next)
			}
			last = m.UID
			names[m.Base] = true
		}
		if db.Validity == 0 {
			t.Errorf("%q: uidvalidity 0", data)
		}
		db.Dropped = 0
		again, err := ParseUIDDB(EncodeUIDDB(db))
		if diff := cmp.Diff(db, again, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("%q: written and read again: %v %s", data, err, diff)
		}
	})
}

func TestParseKeywords(t *testing.T) {
	got := ParseKeywords([]byte("Work\n$Forwarded\n\nm1:1\nm2:0 1\nm3:2 x -1 0\nm4\nm5:\nm6:1:0\r\n"))
	want := map[string][]string{"m1": {"$Forwarded"}, "m2": {"Work", "$Forwarded"}, "m3": {"Work"}, "m5": nil, "m6": nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	lists := ParseKeywords(testdata(t, "courier/keywords.list"))
	if got := lists["1795445009.M153813P17110V000000000000FE00I00000000009B69AE_7.mx1.example.test,S=3822"]; !slices.Equal(got, []string{"$Junk", "Later"}) {
		t.Errorf("keywords of the fixture: %q", got)
	}
}

func FuzzParseKeywords(f *testing.F) {
	f.Add(testdata(f, "courier/keywords.list"))
	f.Add([]byte("\n\na:0 1 18446744073709551616\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		oracle.Cost(t, len(data), func() { ParseKeywords(data) })
		names := make(map[string]bool)
		for line := range strings.Lines(string(data)) {
			names[strings.TrimRight(line, "\r\n")] = true
		}
		for base, list := range ParseKeywords(data) {
			for _, k := range list {
				if !names[k] || k == "" {
					t.Errorf("%q: %q has the keyword %q", data, base, k)
				}
			}
		}
	})
}

// TestReadKeywords has every kind of file, and the order in which they count.
func TestReadKeywords(t *testing.T) {
	f := newFolder(t)
	if k, err := f.ReadKeywords(); err != nil || len(k.Lists) != 0 {
		t.Errorf("without a directory: %v, %v", k, err)
	}
	dir := filepath.Join(f.Path(), KeywordsDir)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		":list":             "Listed\n\nonly:0\nfolded:0\nfresh:0\nemptied:0\n",
		".5984817.folded":   "Newer\n",
		".984817.folded":    "Older\n",
		".99999999.fresh":   "Older\n",
		"fresh":             "A\nB\n",
		"emptied":           "",
		".tmp.1795445009.x": "Scratch\n",
		".x.y":              "Junk\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"only": {"Listed"}, "folded": {"Newer"}, "fresh": {"A", "B"}, "emptied": {}}
	got, err := f.ReadKeywords()
	if diff := cmp.Diff(want, got.Lists); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if want := map[string]bool{"folded": true, "fresh": true, "emptied": true}; !maps.Equal(got.Changed, want) {
		t.Errorf("changed are %v", got.Changed)
	}
	if err := f.ClearKeywords(); err != nil {
		t.Error(err)
	}
	left, err := f.ReadKeywords()
	if diff := cmp.Diff(ParseKeywords([]byte("Listed\n\nonly:0\nfolded:0\nfresh:0\nemptied:0\n")), left.Lists); err != nil || diff != "" {
		t.Errorf("once cleared: %v %s", err, diff)
	}
}

// TestEncodeKeywords writes a :list and reads it again.
func TestEncodeKeywords(t *testing.T) {
	data := EncodeKeywords(func(yield func(base, keywords string) bool) {
		_ = yield("m1", "Work $Junk") && yield("m2", "") && yield("odd:name", "Work") && yield("m3", "$Junk")
	})
	if string(data) != "Work\n$Junk\n\nm1:0 1\nm3:1\n" {
		t.Errorf("written as %q", data)
	}
	want := map[string][]string{"m1": {"Work", "$Junk"}, "m3": {"$Junk"}}
	if diff := cmp.Diff(want, ParseKeywords(data)); diff != "" {
		t.Error(diff)
	}
	if data := EncodeKeywords(func(yield func(base, keywords string) bool) { yield("m", "") }); data != nil {
		t.Errorf("without keywords it is %q", data)
	}
}

func TestSubscriptions(t *testing.T) {
	data := testdata(t, "courier/subscribed")
	s := ParseSubscriptions(data, UTF8)
	want := []string{"INBOX", "Sent", "Trash", "Projects.Alpha", "Projects.Alpha.Sub", "Entwürfe 2024", "日本語", "Gone"}
	if diff := cmp.Diff(want, s.Names()); diff != "" {
		t.Error(diff)
	}
	if got, err := EncodeSubscriptions(s, UTF8); err != nil || !bytes.Equal(got, data) {
		t.Errorf("written again it is %q, %v", got, err)
	}
	if s.Set("Sent", true) || s.Set("None", false) || !s.Set("New.Üb", true) || !s.Set("Sent", false) {
		t.Error("Set tells changes wrongly")
	}
	if s.Has("Sent") || !s.Has("New.Üb") {
		t.Errorf("has %q", s.Names())
	}
	got, err := EncodeSubscriptions(s, ModifiedUTF7)
	lines := strings.Split(string(got), "\n")
	if err != nil || lines[1] != "INBOX.Trash" || lines[4] != "INBOX.Entw&APw-rfe 2024" ||
		lines[7] != "#shared.bob.Team" || lines[8] != "INBOX.New.&ANw-b" {
		t.Errorf("in modified UTF-7 it is %q, %v", got, err)
	}
	if diff := cmp.Diff(s.Names(), ParseSubscriptions(got, ModifiedUTF7).Names()); diff != "" {
		t.Error(diff)
	}
	odd := "inbox\ninbox.Sent\r\n\nINBOX.\nINBOX.Sent\nFoo\nINBOX.INBOX\nINBOX.a/b\nINBOX.x"
	s = ParseSubscriptions([]byte(odd), UTF8)
	if diff := cmp.Diff([]string{"INBOX", "Sent", "x"}, s.Names()); diff != "" {
		t.Error(diff)
	}
	if got, _ := EncodeSubscriptions(s, UTF8); string(got) != "INBOX\nINBOX.Sent\nINBOX.\nFoo\nINBOX.INBOX\nINBOX.a/b\nINBOX.x\n" {
		t.Errorf("written again it is %q", got)
	}
	s.Set("a/b", true)
	if _, err := EncodeSubscriptions(s, UTF8); err == nil {
		t.Error("a name that is none is written")
	}
}

// TestManySubscriptions: the owner may have any number, and what they cost grows no faster.
func TestManySubscriptions(t *testing.T) {
	var courier, dovecot bytes.Buffer
	for n := range 50_000 {
		fmt.Fprintf(&courier, "INBOX.%d\n", n)
		fmt.Fprintf(&dovecot, "%d\n", n)
	}
	oracle.Cost(t, courier.Len(), func() {
		s := ParseSubscriptions(courier.Bytes(), UTF8)
		for _, name := range s.Names()[:s.Len()/2] {
			s.Set(name, false)
		}
		if s.Len() != 25_000 || len(s.Names()) != 25_000 || s.Has("24999") || !s.Has("25000") {
			t.Errorf("%d are left", s.Len())
		}
	})
	oracle.Cost(t, dovecot.Len(), func() {
		if s, dropped := ParseDovecotSubscriptions(dovecot.Bytes()); s.Len() != 50_000 || dropped != 0 {
			t.Errorf("%d, %d dropped", s.Len(), dropped)
		}
	})
}

func TestSpecialUse(t *testing.T) {
	uses := []SpecialUse{{"sent", "Sent"}, {"trash", "Entwürfe 2024"}, {"junk", "A.B C"}}
	data, err := EncodeSpecialUse(uses)
	if err != nil || string(data) != "sent Sent\ntrash Entwürfe 2024\njunk A.B C\n" {
		t.Errorf("written as %q, %v", data, err)
	}
	if diff := cmp.Diff(uses, ParseSpecialUse(data)); diff != "" {
		t.Error(diff)
	}
	if got := ParseSpecialUse([]byte("sent\nsend x\nsent a/b\nSent x\n\ndrafts D")); !slices.Equal(got, []SpecialUse{{"drafts", "D"}}) {
		t.Errorf("of a damaged file: %v", got)
	}
	for _, u := range []SpecialUse{{"all", "x"}, {"", "x"}, {"sent", ""}, {"sent", "a\nb"}} {
		if data, err := EncodeSpecialUse([]SpecialUse{u}); err == nil {
			t.Errorf("%+v is written as %q", u, data)
		}
	}
}

func TestReadSidecar(t *testing.T) {
	f := newFolder(t)
	if _, err := f.ReadSidecar("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := f.ReadSidecar("cur"); !errors.Is(err, ErrIrregular) {
		t.Errorf("a directory: %v", err)
	}
	big := filepath.Join(f.Path(), "big")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, maxSidecar+1); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadSidecar("big"); err == nil || !strings.Contains(err.Error(), fmt.Sprint(maxSidecar)) {
		t.Errorf("a file that is too long: %v", err)
	}
}

// TestReplaceSidecar replaces a file whole, and keeps its mode.
func TestReplaceSidecar(t *testing.T) {
	f := newFolder(t)
	n := NewNamer()
	for _, data := range []string{"one\n", "two\n"} {
		if err := f.ReplaceSidecar(BesideCur, UIDDBFile, n, []byte(data)); err != nil {
			t.Fatal(err)
		}
		if got, err := f.ReadSidecar(UIDDBFile); err != nil || string(got) != data {
			t.Errorf("it says %q, %v", got, err)
		}
		if err := os.Chmod(filepath.Join(f.Path(), UIDDBFile), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := f.StatSidecar(BesideCur, UIDDBFile); err != nil || st.Mode != 0o644 || st.Size != 4 {
		t.Errorf("%+v, %v", st, err)
	}
	if err := f.ReplaceSidecar(InKeywords, KeywordsList, n, []byte("x")); err != nil {
		t.Error(err)
	}
	if err := f.RemoveSidecars(InKeywords, KeywordsList, "none"); err != nil {
		t.Error(err)
	}
	if left := names(t, f, Tmp); len(left) > 0 {
		t.Errorf("tmp has %q", left)
	}
}

// TestLockCourier: one holder at a time; who is no more holds nothing.
func TestLockCourier(t *testing.T) {
	f := newFolder(t)
	n := NewNamer()
	unlock, err := f.LockCourier(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	node, err := nodename()
	if err != nil {
		t.Fatal(err)
	}
	path := f.name(Tmp, courierLock)
	if data, err := os.ReadFile(path); err != nil || string(data) != fmt.Sprintf("%d:%s", os.Getpid(), node) {
		t.Errorf("the lock says %q, %v", data, err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
	for name, lock := range map[string]struct {
		text string
		age  time.Duration
		free bool
	}{
		"dead":           {"999999999:" + node, 0, true},
		"elsewhere":      {"1:elsewhere", 0, false},
		"long elsewhere": {"1:elsewhere", 2 * lockAge, true},
		"empty":          {"", 0, false},
		"long empty":     {"", 2 * lockAge, true},
		"alive":          {fmt.Sprintf("%d:%s", os.Getppid(), node), 2 * lockAge, false},
		"our own":        {fmt.Sprintf("%d:%s", os.Getpid(), node), 0, true},
	} {
		if err := os.WriteFile(path, []byte(lock.text), 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-lock.age)
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		unlock, err := f.LockCourier(short, n)
		if (err == nil) != lock.free {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			unlock()
		}
		cancel()
		os.Remove(path)
	}
	if left := names(t, f, Tmp); len(left) > 0 {
		t.Errorf("tmp has %q", left)
	}
}

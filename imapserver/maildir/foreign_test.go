package maildir

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mailstead/imapserver/oracle"
)

func TestParseDovecotUIDList(t *testing.T) {
	db, err := ParseDovecotUIDList(testdata(t, "dovecot/uidlist"))
	if err != nil {
		t.Fatal(err)
	}
	if db.Validity != 1795445275 || db.Next != 35 || len(db.Messages) == 0 || db.Dropped != 0 {
		t.Errorf("uidvalidity %d, next %d, %d messages, %d dropped", db.Validity, db.Next, len(db.Messages), db.Dropped)
	}
	if m := db.Messages[1]; m.UID != 4 || m.Base != "1795445288.M371441P27834.mx2.example.test,S=395,W=405" {
		t.Errorf("second message is %+v", m)
	}
	const head = "3 V77 N9 Gc53d\n"
	for _, tt := range []struct {
		in      string
		want    string // as EncodeUIDDB writes it
		dropped int
	}{
		{"1 77 9\n1 a\n", "1 77 9\n1 a\n", 0},
		{"3 N9 V77\n", "1 77 9\n", 0},
		{head + "1 :a\n2 W12 Pxy :b c:2,FS\n", "1 77 9\n1 a\n2 b c\n", 0},
		{head + "12 :a\n10 :b", "1 77 13\n10 b\n12 a\n", 0}, // the heading is stale
		{head + "1 a\nx :a\n0 :b\n2 :\n\n", "1 77 9\n", 5},
		{head + "1 :a\n1 :b\n20 :a\n21 :a\n", "1 77 22\n20 a\n", 3},
		{head + "1 Xfuture Zmore :a :b\n", "1 77 9\n1 a :b\n", 0},
	} {
		db, err := ParseDovecotUIDList([]byte(tt.in))
		if got := string(EncodeUIDDB(db)); err != nil || got != tt.want || db.Dropped != tt.dropped {
			t.Errorf("%q is read as %q (%d dropped), %v; want %q (%d)", tt.in, got, db.Dropped, err, tt.want, tt.dropped)
		}
	}
	for _, in := range []string{
		"", "\n", "3", "3 V77 N9", "2 V77 N9\n", "3 V77\n", "3 N9\n", "3 V0 N9\n", "3 Vx N9\n", "3 V77 N4294967296\n",
		"1 77\n", head + "4294967295 :a\n",
	} {
		if db, err := ParseDovecotUIDList([]byte(in)); !errors.Is(err, ErrUIDList) {
			t.Errorf("%q is read as %+v, %v", in, db, err)
		}
	}
}

// checkUIDs holds that no UID and no name occurs twice, and that next is above
// all of them.
func checkUIDs(t *testing.T, data []byte, db UIDDB) {
	names := make(map[string]bool)
	last := uint32(0)
	for _, m := range db.Messages {
		if m.UID <= last || m.UID >= db.Next || m.Base == "" || names[m.Base] {
			t.Fatalf("%q: message %+v after uid %d, next %d", data, m, last, db.Next)
		}
		last = m.UID
		names[m.Base] = true
	}
	if db.Validity == 0 || db.Next == 0 {
		t.Errorf("%q: uidvalidity %d, next %d", data, db.Validity, db.Next)
	}
}

func FuzzParseDovecotUIDList(f *testing.F) {
	f.Add(testdata(f, "dovecot/uidlist"))
	f.Add([]byte("3 V77 N9\n4294967295 :a\n1 :a\n1 :b"))
	f.Add([]byte("1 77 9\n3 a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		oracle.Cost(t, len(data), func() { ParseDovecotUIDList(data) })
		if db, err := ParseDovecotUIDList(data); err == nil {
			checkUIDs(t, data, db)
		}
	})
}

// TestDamagedUIDs flips every bit and cuts everywhere: what is read stays sound,
// and a UID that stands in a line that is whole is not given out again.
func TestDamagedUIDs(t *testing.T) {
	parsers := map[string]func([]byte) (UIDDB, error){"courier/uiddb": ParseUIDDB, "dovecot/uidlist": ParseDovecotUIDList}
	for name, parse := range parsers {
		whole := testdata(t, name)
		sound, err := parse(whole)
		if err != nil {
			t.Fatal(err)
		}
		for at := range whole {
			if db, err := parse(whole[:at]); err == nil {
				checkUIDs(t, whole[:at], db)
				if db.Validity != sound.Validity || db.Next < sound.Next {
					t.Errorf("%s cut at %d: uidvalidity %d, next %d", name, at, db.Validity, db.Next)
				}
			}
			for bit := range 8 {
				data := bytes.Clone(whole)
				data[at] ^= 1 << bit
				db, err := parse(data)
				if err != nil {
					continue
				}
				checkUIDs(t, data, db)
				if last := sound.Messages[len(sound.Messages)-2].UID; db.Next <= last {
					t.Errorf("%s with bit %d of %d flipped: next %d, and a message has %d", name, bit, at, db.Next, last)
				}
			}
		}
	}
}

func TestDovecotKeywords(t *testing.T) {
	k, dropped := ParseDovecotKeywords(testdata(t, "dovecot/keywords"))
	if k[0] != "NonJunk" || k[25] != "kw21" || dropped != 0 {
		t.Errorf("%q, %d dropped", k, dropped)
	}
	names, unknown := k.Of(":2,FSaz,bc")
	if !slices.Equal(names, []string{"NonJunk", "kw21"}) || unknown != 0 {
		t.Errorf("letters are %q, %d unknown", names, unknown)
	}
	k, dropped = ParseDovecotKeywords([]byte("0 A\n0 B\n26 C\n99999999999 D\nx E\n2\n\n3 two words\n25 Z"))
	if want := (DovecotKeywords{0: "A", 3: "two words", 25: "Z"}); k != want || dropped != 5 {
		t.Errorf("of a damaged file: %q, %d dropped", k, dropped)
	}
	if names, unknown := k.Of(":2,STbc"); names != nil || unknown != 2 {
		t.Errorf("letters that stand for nothing: %q, %d", names, unknown)
	}
}

func FuzzParseDovecotKeywords(f *testing.F) {
	f.Add(testdata(f, "dovecot/keywords"), ":2,FSabz")
	f.Fuzz(func(t *testing.T, data []byte, suffix string) {
		var names []string
		var unknown int
		oracle.Cost(t, len(data)+len(suffix), func() {
			k, _ := ParseDovecotKeywords(data)
			names, unknown = k.Of(suffix)
		})
		if len(names)+unknown > len(suffix) {
			t.Errorf("%q has %q", suffix, names)
		}
		for _, n := range names {
			if n == "" || !bytes.Contains(data, []byte(n)) {
				t.Errorf("%q: keyword %q", data, n)
			}
		}
	})
}

func TestDovecotSubscriptions(t *testing.T) {
	s, dropped := ParseDovecotSubscriptions(testdata(t, "dovecot/subscriptions"))
	want := []string{"INBOX", "Sent", "Trash", "Projects.Alpha", "Projects.Alpha.Sub", "Entwürfe 2024", "日本語"}
	if diff := cmp.Diff(want, s.Names()); diff != "" || dropped != 0 {
		t.Errorf("%d dropped %s", dropped, diff)
	}
	s, dropped = ParseDovecotSubscriptions([]byte("inbox\nINBOX.Sent\nSent\nProjects.Alpha\nEntw&APw-rfe\nR&-D\n\n.x\na/b\nü\n"))
	want = []string{"INBOX", "Sent", "Projects.Alpha", "Entwürfe", "R&D", "ü"}
	if diff := cmp.Diff(want, s.Names()); diff != "" || dropped != 2 {
		t.Errorf("version 1: %d dropped %s", dropped, diff)
	}
}

func FuzzParseDovecotSubscriptions(f *testing.F) {
	f.Add(testdata(f, "dovecot/subscriptions"))
	f.Add([]byte("INBOX.Sent\n.x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		oracle.Cost(t, len(data), func() { ParseDovecotSubscriptions(data) })
		oracle.Cost(t, len(data), func() { ParseDovecotKeywords(data) })
		s, _ := ParseDovecotSubscriptions(data)
		for _, name := range s.Names() {
			if err := checkName(name); err != nil {
				t.Errorf("%q: %q is subscribed: %v", data, name, err)
			}
		}
	})
}

func TestParseMbsync(t *testing.T) {
	uids, err := ParseMbsyncUIDs(testdata(t, "mbsync/uidvalidity"))
	if want := (MbsyncUIDs{1795445289, 29}); err != nil || uids != want {
		t.Errorf("%+v, %v", uids, err)
	}
	for _, in := range []string{"", "1\n", "1\n2", "0\n2\n", "x\n2\n", "1\nx\n", "1\n4294967295\n", "1\n-1\n"} {
		if uids, err := ParseMbsyncUIDs([]byte(in)); !errors.Is(err, ErrMbsync) {
			t.Errorf("%q is read as %+v, %v", in, uids, err)
		}
	}
	s, err := ParseMbsyncState(testdata(t, "mbsync/state"))
	if err != nil || s.FarValidity != 1795445275 || s.NearValidity != 1795445289 || s.FarNext != 35 || s.Dropped != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if s.Far[2] != 4 || s.Far[3] != 0 || s.Far[4] != 6 {
		t.Errorf("far UIDs are %v", s.Far)
	}
	const head = "FarUidValidity 7\nNearUidValidity 8\nMaxPulledUid 3\n"
	s, err = ParseMbsyncState([]byte(head + "Future 1\n\n1 1 S\n5 2 \n5 3 \n6 2 \n0 4 \n9 0 \nx 1\n8\n10 x \n20 2"))
	if err != nil || s.FarNext != 11 || s.Dropped != 6 || len(s.Far) != 1 || s.Far[1] != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, in := range []string{"", head, "\n\n", "FarUidValidity 7\n\n1 1 \n", "FarUidValidity x\nNearUidValidity 8\n\n", "MaxPulledUid 4294967295\n\n"} {
		if s, err := ParseMbsyncState([]byte(in)); !errors.Is(err, ErrMbsync) {
			t.Errorf("%q is read as %+v, %v", in, s, err)
		}
	}
}

func FuzzParseMbsyncState(f *testing.F) {
	f.Add(testdata(f, "mbsync/state"))
	f.Add([]byte("FarUidValidity 7\nNearUidValidity 8\n\n1 1 S\n1 2 \n2 1 \n4294967294 0 \n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		oracle.Cost(t, len(data), func() { ParseMbsyncState(data) })
		s, err := ParseMbsyncState(data)
		if err != nil {
			return
		}
		seen := make(map[uint32]bool)
		for near, far := range s.Far {
			if near == 0 || far == 0 || far >= s.FarNext || seen[far] {
				t.Errorf("%q: near %d, far %d, next %d", data, near, far, s.FarNext)
			}
			seen[far] = true
		}
	})
}

func FuzzParseMbsyncUIDs(f *testing.F) {
	f.Add(testdata(f, "mbsync/uidvalidity"))
	f.Fuzz(func(t *testing.T, data []byte) {
		oracle.Cost(t, len(data), func() { ParseMbsyncUIDs(data) })
		if u, err := ParseMbsyncUIDs(data); err == nil && (u.Validity == 0 || u.Next == 0) {
			t.Errorf("%q: %+v", data, u)
		}
	})
}

func TestNameFields(t *testing.T) {
	for base, want := range map[string]struct {
		unique string
		uid    uint32
	}{
		"1.M1P1.host":             {"1.M1P1.host", 0},
		"1.M1P1.host,S=5":         {"1.M1P1.host", 0},
		"1.host,S=5,W=7,U=12":     {"1.host", 12},
		"1.host,U=12,S=5":         {"1.host", 12},
		"1.host,U=0":              {"1.host", 0},
		"1.host,U=x":              {"1.host,U=x", 0},
		"1.host,U=4294967296":     {"1.host", 0},
		"1.host,foo":              {"1.host,foo", 0},
		"1.host,S=":               {"1.host,S=", 0},
		",S=5":                    {",S=5", 0},
		"1.host,U=3:odd":          {"1.host,U=3:odd", 0},
		"1.ho,U=3st":              {"1.ho,U=3st", 0},
		"1.a,S=1,S=2,U=3,U=4":     {"1.a", 4},
		strings.Repeat(",S=1", 3): {",S=1", 0},
	} {
		if got := UniqueName(base); got != want.unique {
			t.Errorf("the unique part of %q is %q", base, got)
		}
		if got := MbsyncUID(base); got != want.uid {
			t.Errorf("the UID in %q is %d", base, got)
		}
	}
	if !Forwarded(":2,PS") || Forwarded(":2,S,P") || Forwarded("P") {
		t.Error("P is seen where it is not, or not where it is")
	}
}

func TestParseDovecotACL(t *testing.T) {
	acl, dropped := ParseDovecotACL(testdata(t, "dovecot/acl"))
	data, err := EncodeACL(acl)
	const want = "owner aceilrstwx\ngroup=staff lrs\nuser=bob ilrstw\n-user=carol sw\nadministrators aceilrstwx\n"
	if err != nil || string(data) != want || dropped != 0 {
		t.Errorf("%q, %v, %d dropped", data, err, dropped)
	}
	acl, dropped = ParseDovecotACL([]byte("owner lr\nauthenticated l :lookup read\nanyone r\n\"user=a b\" l\ngroup-override=g l\nuser=x\n\n# y z\n-user=k k\n"))
	data, err = EncodeACL(acl)
	if want := "owner alr\nanyone lr\n-user=k c\n"; err != nil || !strings.HasPrefix(string(data), want) || dropped != 3 {
		t.Errorf("%q, %v, %d dropped", data, err, dropped)
	}
}

func FuzzParseDovecotACL(f *testing.F) {
	f.Add(testdata(f, "dovecot/acl"))
	f.Add([]byte("owner lr\n-authenticated l :x\n\"user=a b\" l\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		oracle.Cost(t, len(data), func() { ParseDovecotACL(data) })
		acl, _ := ParseDovecotACL(data)
		encoded, err := EncodeACL(acl)
		if err != nil {
			return // too long
		}
		if again := ParseACL(encoded); !again.Of(IDOwner, false).Has(RightLookup | RightAdmin) {
			t.Errorf("%q takes from the owner what cannot be taken: %v", data, again)
		}
	})
}
